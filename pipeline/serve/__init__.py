"""A read-only registry over images on disk: the pull part of the OCI distribution-spec.

What `serve` gives out is not hashed on the way, but for manifests: a puller checks digests itself.
"""
