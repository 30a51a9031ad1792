"""Reading of an image what ``inspect`` shows: few requests, no layers."""

from typing import NamedTuple

from transship.pipeline.errors import ContentError, once_found
from transship.pipeline.inspection.summary import refuse_artifact
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.platform import Platform
from transship.pipeline.manifest.views import Image, Index, Manifest
from transship.pipeline.pull import Pull
from transship.pipeline.transport import Source


class Seen(NamedTuple):
    """The instance chosen, and the bytes of its config; empty for a v2s1 image, which has none."""

    image: Manifest
    config: bytes


def look(source: Source, root: Manifest, wanted: Platform) -> Seen:
    """Return the instance of ``root`` for ``wanted`` (``root`` itself where it is no index), and its verified config.

    Raises:
        NotFoundError: an index has no such instance, or it is not there.
        ContentError: an index in an index, an artifact, a config over 4 MiB, damaged bytes.
        TransportError: the medium failed, or has no such config.
    """
    image = source.manifest(root.select(wanted).digest) if isinstance(root, Index) else root
    if isinstance(image, Index):
        raise ContentError(f"index {root.digest}: it names another index where an image is expected")
    if not isinstance(image, Image):
        return Seen(image, b"")
    refuse_artifact(image)
    if image.config.size > MAX_DOCUMENT:
        raise ContentError(f"config {image.config.digest}: {image.config.size} bytes, over the limit of {MAX_DOCUMENT}")
    pieces = []
    with once_found(), Pull(source, image.config, hashed=False) as pull:
        while piece := pull.read(MAX_DOCUMENT):
            pieces.append(piece)
    return Seen(image, b"".join(pieces))
