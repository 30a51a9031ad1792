"""What archives are read from: bytes by their position, of one file, of volumes or of what frames hold.

Nothing that reads an archive knows which. Reading is safe across threads: no reader moves another.
"""

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from transship.pipeline.errors import TransportError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class InFile(NamedTuple):
    """``length`` bytes of an open file, from byte ``offset`` on."""

    stream: io.FileIO
    offset: int
    length: int


class Medium(Protocol):
    """Bytes by position, read-only; they do not change while they are read."""

    @property
    def size(self) -> int:
        """How many bytes there are."""

    @property
    def identity(self) -> tuple[int, ...]:
        """What tells these bytes from others."""

    def readinto(self, view: memoryview, offset: int) -> int:
        """Fill ``view`` from byte ``offset`` on, or a part of it; return how many bytes, 0 at the end alone.

        Raises:
            ContentError: what is packed there is damaged.
            TransportError: it was closed, or a volume changed since it was found.
            OSError: the disk failed.
        """

    def in_files(self, offset: int, count: int) -> Iterator[InFile]:
        """Yield where ``count`` bytes lie in files, in their order; nothing where they are packed.

        Each file is open until the next one is asked for. Raises as `readinto` does.
        """

    def close(self) -> None:
        """Close what is open; idempotent."""


class FileMedium:
    """One file, open and seekable; closed with this."""

    def __init__(self, stream: io.FileIO, where: str) -> None:
        """Take ``stream``; ``where`` names it in messages. Raises `OSError`."""
        self._stream = stream
        self._where = where
        self._identity = identity(stream.fileno())

    @property
    def size(self) -> int:
        """Its size when it was opened."""
        return self._identity[2]

    @property
    def identity(self) -> tuple[int, ...]:
        """As `identity` says."""
        return self._identity

    def readinto(self, view: memoryview, offset: int) -> int:
        """Fill ``view``, as `Medium.readinto` says."""
        if self._stream.closed:
            raise TransportError(f"{self._where}: read after it was closed")
        return os.preadv(self._stream.fileno(), [view], offset)

    def in_files(self, offset: int, count: int) -> Iterator[InFile]:
        """Yield the one place."""
        yield InFile(self._stream, offset, count)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class Window(io.RawIOBase):
    """A part of a medium as a stream."""

    def __init__(self, medium: Medium, offset: int, size: int) -> None:
        super().__init__()
        self._medium = medium
        self._offset = offset
        self._left = size

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill ``buffer``; 0 at the end of the part."""
        view = memoryview(buffer).cast("B")[: self._left]
        count = self._medium.readinto(view, self._offset) if view else 0
        self._offset += count
        self._left -= count
        return count


def read_at(medium: Medium, offset: int, count: int) -> bytes:
    """Return ``count`` bytes from byte ``offset`` on, fewer at the end alone; raises as `Medium.readinto`."""
    count = max(0, min(count, medium.size - offset))
    found = bytearray(count)
    view, done = memoryview(found), 0
    while done < count and (some := medium.readinto(view[done:], offset + done)):
        done += some
    return bytes(view[:done])


def identity(handle: int) -> tuple[int, ...]:
    """Return what tells one content of an open file from another; the third is its size."""
    state = os.fstat(handle)
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
