"""The index.json of a layout in an archive, parsed once however many images of it are opened."""

from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.transports.lately import Lately
from transship.pipeline.transports.layout import (
    INDEX,
    MARKER,
    MAX_INDEX,
    MAX_MARKER,
    check_marker,
    choose,
    parse_index,
)
from transship.pipeline.transports.layout_referrers import LayoutReferrers, ReadManifest
from transship.pipeline.transports.tar import Archive


class ArchiveIndex:
    """The entries of one archive, which does not change."""

    def __init__(self, archive: Archive) -> None:
        """Read them; raises as `archive_index`."""
        self._where = str(archive.path)
        check_marker(archive.read(archive.find(MARKER), MAX_MARKER), self._where)
        self._view = parse_index(archive.read(archive.find(INDEX), MAX_INDEX), self._where)
        self.named: dict[str, dict[Digest, Descriptor]] = {}
        """The manifests of each name."""
        for entry in self._view.manifests:
            if entry.media_type in MANIFESTS:
                self.named.setdefault(entry.name, {}).setdefault(entry.digest, entry)
        self._referrers: LayoutReferrers | None = None

    def choose(self, name: str, position: int | None) -> Descriptor:
        """Return the entry that ``name`` or ``position`` means, as `layout.choose` does."""
        found = self.named.get(name, {}) if name and position is None else {}
        return next(iter(found.values())) if len(found) == 1 else choose(self._view, name, position, self._where)

    def referrers(self, read: ReadManifest) -> LayoutReferrers:
        """Return what hangs on the manifests of the archive, which ``read`` returns; it is asked the first time alone.

        Raises what ``read`` does.
        """
        if self._referrers is None:
            made = LayoutReferrers(self._view.manifests, read)
            # Found now: later the archive that is read from may be closed.
            made.subjected(self._view.digest)
            self._referrers = made
        return self._referrers


_lately: Final = Lately[ArchiveIndex]()


def archive_index(archive: Archive) -> ArchiveIndex:
    """Return the index of an open archive.

    Raises:
        NotFoundError: it has none.
        ContentError: it is malformed, or the layout of another version.
        TransportError: the disk refused.
    """
    return _lately.get(archive.medium.identity, lambda: ArchiveIndex(archive))
