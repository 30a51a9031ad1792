"""Writing a tar that has the same bytes every time: members sorted, modes, owners and times fixed."""

import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from transship.pipeline.compression import Compression
from transship.pipeline.disk import at_disk, copy_range, sync_directory
from transship.pipeline.errors import ConflictError, ContentError, NotFoundError
from transship.pipeline.transports.rooms import Rooms
from transship.pipeline.transports.spool import packing
from transship.pipeline.transports.tar import BLOCK

Content: TypeAlias = "bytes | Path | None"

END: Final = bytes(2 * BLOCK)
"""What a tar ends with."""
_PIECE: Final = 1 << 20


@dataclass(slots=True)
class TarWriter:
    """Collects members and writes them at once, sorted; modes, owners and times are fixed."""

    path: Path
    _contents: dict[str, tuple[Content, int]] = field(default_factory=dict)
    _rooms: Rooms | None = None

    def begin(self, sizes: Mapping[str, int]) -> Rooms:
        """Begin the archive with room for members of these ``sizes``, replacing what was begun; they are the first."""
        self.drop()
        self._rooms = Rooms(self.path, sizes)
        return self._rooms

    def drop(self) -> None:
        """Give up what was begun; idempotent."""
        if self._rooms is not None:
            self._rooms.drop()
            self._rooms = None

    def add(self, name: str, content: Content, size: int = 0) -> None:
        """Add bytes, a file of ``size`` bytes that stays as it is until `write`, or None: its room; idempotent."""
        self._contents[name] = (content, len(content) if isinstance(content, bytes) else size)

    def has(self, name: str, size: int) -> bool:
        """Say whether ``name`` was added with ``size`` bytes."""
        return name in self._contents and self._contents[name][1] == size

    @property
    def size(self) -> int:
        """How many bytes the archive has."""
        return sum(BLOCK + size + -size % BLOCK for _, size in self._contents.values()) + len(END)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of the archive, `size` in all, where nothing has a room.

        Raises:
            TransportError: the disk refused.
            ContentError: a file is shorter than was said.
        """
        for name in sorted(self._contents):
            content, size = self._contents[name]
            yield header(name, size)
            if isinstance(content, Path):
                yield from read_pieces(content, size)
            else:
                yield content or b""
            yield bytes(-size % BLOCK)
        yield END

    def write(self) -> None:
        """Write the archive beside its path and rename it there, durable on return.

        Raises:
            TransportError: the disk refused; what was at the path is still there.
        """
        rooms = self._rooms or self.begin({})
        try:
            with at_disk(self.path):
                with io.FileIO(rooms.handle, "w", closefd=False) as stream:
                    for name in sorted(self._contents):
                        _append(stream, rooms, name, *self._contents[name])
                    _write_all(stream, END)
                os.fsync(rooms.handle)
                # Still claimed: nobody sweeps it away before it has its name.
                os.rename(rooms.scratch, self.path)
                sync_directory(self.path.parent)
        finally:
            self.drop()


def refuse_foreign(path: Path) -> None:
    """Refuse a destination that a sink must not replace.

    Raises:
        ConflictError: something is at ``path`` that is no archive and not empty.
        NotFoundError: its folder is not there.
    """
    if not path.parent.is_dir():
        raise NotFoundError(f"{path.parent}: no such folder", advice="make it first")
    if not os.path.lexists(path):
        return
    if not path.is_file():
        raise ConflictError(f"{path} is there and is no regular file", advice="name another file")
    with at_disk(path), path.open("rb") as stream:
        block = stream.read(BLOCK)
    if block and packing(block) is Compression.NONE and not _is_header(block):
        raise ConflictError(
            f"{path} is there and is no archive of images; it is left as it is", advice="move it away or name another"
        )


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def header(name: str, size: int) -> bytes:
    """Return what stands before the bytes of a member; one of a long name has a header of its own."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o444
    return member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def header_size(name: str) -> int:
    """Return the bytes of the `header` of a member of that name."""
    length = len(name.encode("utf-8", "surrogateescape"))
    # Of the long name a header, its bytes and a zero.
    return BLOCK if length <= tarfile.LENGTH_NAME else 2 * BLOCK + -(-(length + 1) // BLOCK) * BLOCK


def read_pieces(path: Path, size: int) -> Iterator[bytes]:
    """Yield the ``size`` bytes of a file in pieces of at most 1 MiB.

    Raises:
        ContentError: it is shorter.
        TransportError: the disk refused.
    """
    left = size
    with at_disk(path), path.open("rb", buffering=0) as stream:
        while left and (piece := stream.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
    if left:
        raise ContentError(f"{path}: ends {left} bytes before its size", advice="run again")


def _append(stream: io.FileIO, rooms: Rooms, name: str, content: Content, size: int) -> None:
    _write_all(stream, header(name, size))
    if content is None:
        if not rooms.holds(name, size, stream.tell()):
            raise AssertionError(f"{name} is not where it was to be")
        stream.seek(size, io.SEEK_CUR)
    elif isinstance(content, bytes):
        _write_all(stream, content)
    else:
        with content.open("rb", buffering=0) as source:
            copy_range(source.fileno(), stream.fileno(), size)
    _write_all(stream, bytes(-size % BLOCK))


def _write_all(stream: io.FileIO, raw: bytes) -> None:
    rest = memoryview(raw)
    while rest:
        rest = rest[stream.write(rest) :]
