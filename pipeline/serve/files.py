"""The files of a folder or of an uncompressed tar, by name; nothing outside either is reachable."""

import os
from pathlib import Path
from typing import Protocol

from transship.pipeline.compression import Compression
from transship.pipeline.errors import ContentError, NotFoundError, TransportError, shown
from transship.pipeline.serve.contents import Extent
from transship.pipeline.transports.files import open_regular
from transship.pipeline.transports.spool import packing
from transship.pipeline.transports.tar import Archive


class Files(Protocol):
    """Files by their relative name, with ``/`` between folders."""

    def find(self, name: str, *, follow: bool = False) -> Extent | None:
        """Return where the file ``name`` lies, None where there is none; of an archive ``follow`` its own links.

        Raises:
            ContentError: a link of an archive not to be followed, or that goes in a circle.
        """


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


class Tar:
    """An uncompressed tar; its directory is read once, at the start.

    Raises:
        ContentError: it is no tar, is compressed, or is damaged.
        TransportError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        # Who names it may name a link to it.
        path = path.resolve()
        with open_regular(path) as stream:
            if packing(stream.read(4)) is not Compression.NONE:
                raise ContentError(f"{path}: compressed, cannot be served in place", advice="decompress it first")
        self._archive = Archive(path)
        # Its index stays; the bytes are read by whoever opens an extent.
        self._archive.close()

    def find(self, name: str, *, follow: bool = False) -> Extent | None:
        """Return the member ``name``, as `Files.find` says."""
        try:
            member = self._archive.find(name, follow=follow)
        except NotFoundError:
            return None
        return Extent(self._archive.path, member.offset, member.size)


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
