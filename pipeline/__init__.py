"""The library of transship: moving and converting container images.

Refuses to be imported as a top-level ``pipeline``: a second copy of each class
under another name would break identity checks and Luigi's task registry.
"""

if not __name__.startswith("transship."):
    raise ImportError("import transship.pipeline, not pipeline")

__version__ = "0.1.0"
