"""The tar of a bundle as one stream, unpacked where it is packed, and where in the files a byte of it lies."""

from bisect import bisect_right
from collections.abc import Callable, Generator
from typing import Final

from transship.pipeline.bundle.volumes import Fault, Files
from transship.pipeline.compression import Compression
from transship.pipeline.errors import ContentError
from transship.pipeline.overlap import ahead
from transship.pipeline.transports.frames import Frames, SeekTable, seek_table, unpack_frame
from transship.pipeline.transports.medium import Medium, read_at
from transship.pipeline.transports.spool import packing

_AHEAD: Final = 8


class Stream:
    """Reads the tar through; `faults` grows as it goes on."""

    def __init__(self, files: Files) -> None:
        """Begin; raises `ContentError` where it is packed and where its frames lie cannot be said."""
        self.files = files
        self.offset = 0
        self._table: SeekTable | None = None
        packed = packing(read_at(files, 0, 4))
        if packed is not Compression.NONE or files.volumes[0].name.partition(".tar")[2].startswith(".zst"):
            self._table = seek_table(files, "it")
            if self._table is None:
                raise ContentError("its frames of zstd have no table of where they lie, or a damaged one")
        through = ahead(files.pieces(), _AHEAD)
        self._pieces = self._unpacked(through, self._table) if self._table else through
        self._rest = memoryview(b"")

    @property
    def size(self) -> int:
        """Bytes of the tar."""
        return self._table.plain[-1] if self._table else self.files.size

    def medium(self) -> Medium:
        """Return the tar as a medium, for what is read again."""
        return Frames(self.files, self._table, "bundle") if self._table else self.files

    def at(self, offset: int) -> str:
        """Return the name of the file in which byte ``offset`` of the tar lies."""
        if self._table is None:
            return self.files.at(offset)
        number = min(bisect_right(self._table.plain, offset), len(self._table.plain) - 1) - 1
        return self.files.at(self._table.packed[number])

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes; fewer at the end alone."""
        parts: list[bytes] = []
        self.through(count, lambda piece: parts.append(bytes(piece)))
        return b"".join(parts)

    def through(self, count: int, take: Callable[[memoryview], object]) -> None:
        """Hand the next ``count`` bytes to ``take``, in pieces; fewer at the end alone."""
        while count:
            if not self._rest:
                self._rest = memoryview(next(self._pieces, b""))
                if not self._rest:
                    return
            some = self._rest[:count]
            self._rest = self._rest[len(some) :]
            self.offset += len(some)
            count -= len(some)
            take(some)

    def drain(self) -> int:
        """Read to the end; return how many bytes came."""
        before = self.offset
        self.through(1 << 62, lambda _: None)
        return self.offset - before

    def close(self) -> None:
        """End the thread that reads ahead; idempotent."""
        self._pieces.close()

    def _unpacked(self, pieces: Generator[bytes, None, None], table: SeekTable) -> Generator[bytes, None, None]:
        try:
            waiting = bytearray()
            for number, end in enumerate(table.packed[1:]):
                length = end - table.packed[number]
                while len(waiting) < length and (piece := next(pieces, b"")):
                    waiting += piece
                plain = table.plain[number + 1] - table.plain[number]
                try:
                    yield unpack_frame(bytes(waiting[:length]), plain, f"frame {number}")
                except ContentError as error:
                    self.files.frames.append(Fault(self.files.at(table.packed[number]), error.message))
                    yield bytes(plain)
                del waiting[:length]
            for _ in pieces:
                # The table, which has been read: it is hashed as all the rest.
                pass
        finally:
            pieces.close()
