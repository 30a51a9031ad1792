"""The files of a folder or of an uncompressed tar, by name; nothing outside either is reachable."""

import stat
from pathlib import Path
from typing import Protocol

from transship.pipeline.compression import Compression
from transship.pipeline.errors import ContentError, NotFoundError, shown
from transship.pipeline.serve.contents import Extent
from transship.pipeline.transports.files import open_regular
from transship.pipeline.transports.spool import packing
from transship.pipeline.transports.tar import Archive


class Files(Protocol):
    """Files by their relative name, with ``/`` between folders."""

    def find(self, name: str) -> Extent | None:
        """Return where the file ``name`` lies, None where there is no such regular file."""


class Folder:
    """A folder; links are followed as long as they stay inside."""

    def __init__(self, path: Path) -> None:
        self._root = path.resolve()

    def find(self, name: str) -> Extent | None:
        """Return the file ``name`` below the folder, None where there is none or it lies outside."""
        try:
            path = (self._root / name).resolve()
            found = path.stat()
        except (OSError, ValueError):
            return None
        if not path.is_relative_to(self._root) or not stat.S_ISREG(found.st_mode):
            return None
        return Extent(path, 0, found.st_size)


class Tar:
    """An uncompressed tar; its directory is read once, at the start.

    Raises:
        ContentError: it is no tar, is compressed, or is damaged.
        TransportError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        with open_regular(path) as stream:
            if packing(stream.read(4)) is not Compression.NONE:
                raise ContentError(f"{path}: compressed, cannot be served in place", advice="decompress it first")
        self._archive = Archive(path)
        # Its index stays; the bytes are read by whoever opens an extent.
        self._archive.close()

    def find(self, name: str) -> Extent | None:
        """Return the member ``name``, following links inside the archive; raises where they go in a circle."""
        try:
            member = self._archive.find(name, follow=True)
        except NotFoundError:
            return None
        return Extent(self._archive.path, member.offset, member.size)


def read(files: Files, name: str, limit: int) -> bytes:
    """Return all of the file ``name``.

    Raises:
        NotFoundError: there is none.
        ContentError: it is longer than ``limit``.
        TransportError: it cannot be read.
    """
    extent = files.find(name)
    if extent is None:
        raise NotFoundError(f"no file {shown(name)!r}")
    return extent.read(limit)
