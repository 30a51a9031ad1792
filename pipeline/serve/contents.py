"""What the registry serves from: named manifests, and blobs as ranges of files.

A blob that lies uncompressed inside an archive is served in place, by its offset.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from transship.pipeline.transports.medium import FileMedium, Medium, read_at


@dataclass(frozen=True, slots=True)
class Extent:
    """``length`` bytes from byte ``offset`` on: of the file at ``path``, or of the ``medium`` that is open there."""

    path: Path
    offset: int
    length: int
    medium: Medium | None = None

    def read(self, limit: int) -> bytes:
        """Return all of the bytes.

        Raises:
            ContentError: they are more than ``limit``.
            TransportError: the file cannot be read.
        """
        if self.length > limit:
            raise ContentError(f"{self.path}: {self.length} bytes, over the limit of {limit}")
        with self.open() as medium, at_disk(self.path):
            return read_at(medium, self.offset, self.length)

    @contextmanager
    def open(self) -> Iterator[Medium]:
        """Open the file for as long as this lasts; what has become a link since is not followed.

        Raises:
            TransportError: the file cannot be read.
        """
        if self.medium is not None:
            yield self.medium
            return
        with open_regular(self.path) as stream:
            yield FileMedium(stream, str(self.path))


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

    def close(self) -> None:
        """Close what is open; idempotent."""


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
