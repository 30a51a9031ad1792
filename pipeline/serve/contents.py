"""What the registry serves from: named manifests, and blobs as ranges of files.

A blob that lies uncompressed inside an archive is served in place, by its offset.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from transship.pipeline.digest import Digest, check
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, TransportError
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.serve import naming
from transship.pipeline.serve.naming import Group
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


class Part(Protocol):
    """The images of one file or folder, which do not change while they are served."""

    @property
    def group(self) -> Group:
        """The images under the names that they have there."""

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


class Contents:
    """All that is served: what one part has not, another may have."""

    def __init__(self, parts: Sequence[Part]) -> None:
        """Take ``parts``, closed with this.

        Raises:
            UsageError: two have one name for different images.
        """
        self._parts = parts
        self.names = naming.table([part.group for part in parts])
        """Repository -> tag -> the manifest it leads to; only well-formed names (see `naming`)."""

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest of ``digest``, of the first part where it is sound; as `Part.manifest` says."""
        wrong: ContentError | TransportError | None = None
        for part in self._parts:
            try:
                found = part.manifest(digest)
            except (ContentError, TransportError) as error:
                wrong = wrong or error
                continue
            if found is not None:
                return found
        if wrong is not None:
            raise wrong
        return None

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the blob of ``digest`` lies in the first part that has it, None where none has."""
        return next((found for part in self._parts if (found := part.blob(digest)) is not None), None)

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return what refers to ``subject`` in any part, each once."""
        return list(dict.fromkeys(digest for part in self._parts for digest in part.referrers(subject)))

    def close(self) -> None:
        """Close all parts; idempotent."""
        for part in self._parts:
            part.close()


def read_manifest(extent: Extent | None, digest: Digest) -> Manifest | None:
    """Return the manifest in ``extent``; raises as `Part.manifest` does."""
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
