"""The tar of a bundle as one stream, unpacked where it is packed, and where in the files a byte of it lies."""

from bisect import bisect_right
from collections.abc import Callable, Generator
from typing import Final

from transship.pipeline.bundle.volumes import Fault, Files, Gap, Piece
from transship.pipeline.compression import Compression
from transship.pipeline.errors import ContentError
from transship.pipeline.overlap import ahead
from transship.pipeline.transports.frames import Frames, SeekTable, seek_table, unpack_frame
from transship.pipeline.transports.medium import Medium, read_at
from transship.pipeline.transports.spool import packing

_AHEAD: Final = 8


class Reader:
    """Reads pieces through by counts; `offset` grows as it goes on. Nothing of a `Gap` is made up but what is asked."""

    def __init__(self, pieces: Generator[Piece, None, None]) -> None:
        self.offset = 0
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._gap = 0

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes, zeros for what is missing; fewer at the end alone."""
        parts: list[bytes] = []
        self.through(count, lambda piece: parts.append(bytes(piece)), lambda length: parts.append(bytes(length)))
        return b"".join(parts)

    def all_of(self, count: int, what: str) -> bytes:
        """Return the next ``count`` bytes; raises `ContentError` where some of them are missing."""
        parts: list[bytes] = []
        if not self.through(count, lambda piece: parts.append(bytes(piece))):
            raise ContentError(f"{what} is not all there")
        return b"".join(parts)

    def through(
        self, count: int, take: Callable[[memoryview], object], skip: Callable[[int], object] = lambda _: None
    ) -> bool:
        """Hand the next ``count`` bytes to ``take``, in pieces, or how many are missing to ``skip``.

        Return whether all of them were there.
        """
        whole = True
        while count:
            if not self._rest and not self._gap and not self._next():
                return False
            some = min(count, len(self._rest) or self._gap)
            self.offset += some
            count -= some
            if self._rest:
                taken, self._rest = self._rest[:some], self._rest[some:]
                take(taken)
            else:
                self._gap -= some
                whole = False
                skip(some)
        return whole

    def drain(self) -> int:
        """Read to the end; return how many bytes came."""
        before = self.offset
        while self._rest or self._gap or self._next():
            self.through(len(self._rest) or self._gap, lambda _: None)
        return self.offset - before

    def close(self) -> None:
        """End the thread that reads ahead; idempotent."""
        self._pieces.close()

    def _next(self) -> bool:
        piece = next(self._pieces, None)
        if isinstance(piece, Gap):
            self._gap = piece.length
        else:
            self._rest = memoryview(piece or b"")
        return piece is not None


class Stream(Reader):
    """The tar of a bundle; what is wrong with its files or frames is noted there as it goes on."""

    def __init__(self, files: Files) -> None:
        """Begin; raises `ContentError` where it is packed and where its frames lie cannot be said."""
        self.files = files
        self._table: SeekTable | None = None
        packed = packing(read_at(files, 0, 4))
        if packed is not Compression.NONE or files.volumes[0].name.partition(".tar")[2].startswith(".zst"):
            self._table = seek_table(files, "it")
            if self._table is None:
                raise ContentError("its frames of zstd have no table of where they lie, or a damaged one")
        through = ahead(files.pieces(), _AHEAD)
        super().__init__(_unpacked(Reader(through), self._table, files) if self._table else through)

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


def _unpacked(packed: Reader, table: SeekTable, files: Files) -> Generator[Piece, None, None]:
    try:
        for number, end in enumerate(table.packed[1:]):
            plain = table.plain[number + 1] - table.plain[number]
            try:
                raw = packed.all_of(end - table.packed[number], f"frame {number}")
                yield unpack_frame(raw, plain, f"frame {number}")
            except ContentError as error:
                files.frames.append(Fault(files.at(table.packed[number]), error.message))
                yield Gap(plain)
        # The table, which has been read: it is hashed as all the rest.
        packed.drain()
    finally:
        packed.close()
