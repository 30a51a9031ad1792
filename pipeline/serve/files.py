"""The files of a folder or of an uncompressed tar, by name; nothing outside either is reachable."""

import stat
import tarfile
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from transship.pipeline.errors import ContentError, NotFoundError, TransportError, shown
from transship.pipeline.serve.contents import Extent

MAX_MEMBERS: Final = 1 << 20
_MAX_LINKS: Final = 8


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


class Archive:
    """An uncompressed tar; its directory is read once, at the start.

    Raises:
        ContentError: it is no tar, compressed, or has over a million members.
        TransportError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: dict[str, Extent] = {}
        self._links: dict[str, str] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    self._add(member)
        except tarfile.TarError as error:
            raise ContentError(
                f"{path}: not an uncompressed tar: {shown(str(error))}", advice="decompress it first, to serve in place"
            ) from error
        except OSError as error:
            raise TransportError(f"{path}: cannot read it: {error.strerror}") from error

    def find(self, name: str) -> Extent | None:
        """Return the member ``name``, following links inside the archive."""
        for _ in range(_MAX_LINKS):
            if name in self._members or name not in self._links:
                return self._members.get(name)
            name = self._links[name]
        return None

    def _add(self, member: tarfile.TarInfo) -> None:
        if len(self._members) + len(self._links) >= MAX_MEMBERS:
            raise ContentError(f"{self._path}: over {MAX_MEMBERS} members")
        name = _normal(member.name)
        if member.isreg() and not member.issparse():
            self._links.pop(name, None)
            self._members[name] = Extent(self._path, member.offset_data, member.size)
        elif member.issym() or member.islnk():
            beside = PurePosixPath(name).parent if member.issym() else PurePosixPath()
            self._members.pop(name, None)
            self._links[name] = _normal(str(beside / member.linkname))


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


def _normal(name: str) -> str:
    parts: list[str] = []
    for part in name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return "/".join(parts)
