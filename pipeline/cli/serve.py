"""``transship serve``: a read-only registry over files."""
