"""What an image is, in the words of ``skopeo inspect``: the summary, its JSON, and a template over it."""
