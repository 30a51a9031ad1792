"""What the registry serves from: named manifests, and blobs as ranges of files.

A blob that lies uncompressed inside an archive is served in place, by its offset.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transship.pipeline.digest import Digest, check
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.transports.files import open_regular


@dataclass(frozen=True, slots=True)
class Extent:
    """``length`` bytes of the file at ``path``, from byte ``offset`` on."""

    path: Path
    offset: int
    length: int

    def read(self, limit: int) -> bytes:
        """Return all of the bytes.

        Raises:
            ContentError: they are more than ``limit``.
            TransportError: the file cannot be read.
        """
        if self.length > limit:
            raise ContentError(f"{self.path}: {self.length} bytes, over the limit of {limit}")
        with self.open() as stream, at_disk(self.path):
            return stream.read(self.length)

    def open(self) -> io.FileIO:
        """Open the file at the first of the bytes; what has become a link since is not followed.

        Raises:
            TransportError: the file cannot be read.
        """
        return open_regular(self.path, self.offset)


class Contents(Protocol):
    """A set of images that does not change while it is served."""

    @property
    def names(self) -> "Mapping[str, Mapping[str, Descriptor]]":
        """Repository -> tag -> the manifest it leads to; only well-formed names (see `naming`)."""

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest of ``digest``, None where there is none; a blob of another kind is none.

        Raises:
            ContentError: it does not hash to ``digest``.
            TransportError: it cannot be read.
        """

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the blob of ``digest`` lies, None where it is not there."""

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return the manifests that refer to ``subject``."""


def read_manifest(extent: Extent | None, digest: Digest) -> Manifest | None:
    """Return the manifest in ``extent``; raises as `Contents.manifest` does."""
    if extent is None or extent.length > MAX_DOCUMENT:
        return None
    raw = extent.read(MAX_DOCUMENT)
    try:
        view = parse(raw)
    except ContentError:
        check(raw, digest, "manifest")
        return None
    if view.digest != digest:
        check(raw, digest, "manifest")
    return view
