"""The files of a folder or of a tar, by name; nothing outside either is reachable."""

import os
from pathlib import Path
from typing import Protocol

from transship.pipeline.errors import NotFoundError, TransportError, shown
from transship.pipeline.serve.contents import Extent
from transship.pipeline.transports.bundle import refuse_other_length
from transship.pipeline.transports.bundle_file import BundleFile
from transship.pipeline.transports.files import open_regular
from transship.pipeline.transports.medium import FileMedium, Medium
from transship.pipeline.transports.tar import Archive


class Files(Protocol):
    """Files by their relative name, with ``/`` between folders."""

    def find(self, name: str, *, follow: bool = False) -> Extent | None:
        """Return where the file ``name`` lies, None where there is none; of an archive ``follow`` its own links.

        Raises:
            ContentError: a link of an archive not to be followed, or that goes in a circle.
        """

    def refuse_cut(self, bundle: BundleFile, own: int) -> None:
        """Raise `ContentError` where they are not as long as ``bundle`` says, whose bundle.json has ``own`` bytes."""

    def close(self) -> None:
        """Close what is open; idempotent."""


class Folder:
    """A folder; no file in it that is a link is there, nor one that a linked folder has outside."""

    def __init__(self, path: Path) -> None:
        self._root = path.resolve()

    def find(self, name: str, *, follow: bool = False) -> Extent | None:
        """Return the file ``name`` below the folder, None where there is none or it lies outside."""
        folder, _, last = name.rpartition("/")
        try:
            path = (self._root / folder).resolve() / last
            with open_regular(path) as stream:
                size = os.fstat(stream.fileno()).st_size
        except (OSError, ValueError, TransportError):
            return None
        return Extent(path, 0, size) if path.parent.is_relative_to(self._root) else None

    def refuse_cut(self, bundle: BundleFile, own: int) -> None:
        """Do nothing: each blob has a length of its own."""

    def close(self) -> None:
        """Do nothing: no file stays open."""


class Tar:
    """A tar, plain or in frames of zstd, in one file or in volumes; indexed once, at the start.

    Raises:
        ContentError: it is no tar, is packed as a whole, or is damaged.
        TransportError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        # Who names it may name a link to it.
        self._archive = Archive(path.resolve(), in_place=True)
        self._medium: Medium | None = self._archive.medium
        if isinstance(self._medium, FileMedium):
            # Its index stays; the bytes are read by whoever opens an extent.
            self._archive.close()
            self._medium = None

    def find(self, name: str, *, follow: bool = False) -> Extent | None:
        """Return the member ``name``, as `Files.find` says."""
        try:
            member = self._archive.find(name, follow=follow)
        except NotFoundError:
            return None
        return Extent(self._archive.path, member.offset, member.size, self._medium)

    def refuse_cut(self, bundle: BundleFile, own: int) -> None:
        """Refuse it, as `read_bundle` does."""
        refuse_other_length(self._archive, bundle, own)

    def close(self) -> None:
        """Close what is open; idempotent."""
        self._archive.close()


def read(files: Files, name: str, limit: int, where: str, *, follow: bool = False) -> bytes:
    """Return all of the file ``name``, found as `Files.find` says; ``where`` says in messages of what it is a part.

    Raises:
        NotFoundError: there is none.
        ContentError: it is longer than ``limit``.
        TransportError: it cannot be read.
    """
    extent = files.find(name, follow=follow)
    if extent is None:
        raise NotFoundError(f"{where}: no file {shown(name)!r}")
    return extent.read(limit)
