"""The Luigi DAG of transship: six tasks an image, each with an on-disk checkpoint.

Refuses to be imported as a top-level ``tasks``: Luigi would see each task class twice.
"""

if not __name__.startswith("transship."):
    raise ImportError("import transship.tasks, not tasks")
