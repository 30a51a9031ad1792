"""``transship manifest-digest``: the digest of a manifest in a file."""

import argparse
from pathlib import Path

from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, once_found
from transship.pipeline.inspection.summary import digest_of
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.views import Manifest, parse


def perform(options: argparse.Namespace) -> int:
    """Print it; return 0."""
    print(digest_of(read_manifest(options.file), "sha256"))
    return 0


def read_manifest(file: str) -> Manifest:
    """Return the manifest in a file.

    Raises:
        ContentError: it is none, or over 4 MiB.
        TransportError: the file cannot be read.
    """
    path = Path(file)
    # Not only a regular file: `manifest-digest /dev/stdin` ends many a pipe.
    with once_found(), at_disk(path), path.open("rb") as stream:
        raw = stream.read(MAX_DOCUMENT + 1)
    if len(raw) > MAX_DOCUMENT:
        raise ContentError(f"{path}: over the limit of {MAX_DOCUMENT} bytes")
    return parse(raw, what=str(path))
