"""zstd in frames that are read one by one: a table at the end says where each begins.

Source: zstd's contrib/seekable_format/zstd_seekable_compression_format.md. The checksums that a table may have are
not asked: each frame may have one of its own, and what is read is hashed by whoever reads it.
"""

import os
import struct
import sys
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from transship.pipeline.compression.decoding import refuse_bomb
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.transports.medium import InFile, Medium, read_at

MAX_FRAMES: Final = 1 << 20
"""Those of a tar of 1 TiB as they are made here; their table takes 40 MB while it is read."""
MAX_FRAME: Final = 16 << 20
"""Bytes in a frame that is read on its own; what has larger ones is unpacked as a whole."""
_LEAST_FRAME: Final = 4096
"""Bytes in a frame on average, where there are more than `_FREE_FRAMES`."""
_FREE_FRAMES: Final = 4096
_FOOTER: Final = struct.Struct("<IBI")
_FOOTER_MAGIC: Final = 0x8F92EAB1
_HEADER: Final = struct.Struct("<II")
_HEADER_MAGIC: Final = 0x184D2A5E
_SUMS: Final = 0x80
_RESERVED: Final = 0x7C
_KEPT: Final = 48 << 20
"""Bytes of frames that somebody is in the midst of."""
_WINDOW_LOG: Final = 27


class SeekTable(NamedTuple):
    """Where frames begin, and what they hold: one number more than there are frames, the last where they end."""

    packed: "array[int]"
    plain: "array[int]"


def encode_table(sizes: Sequence[tuple[int, int]]) -> bytes:
    """Return the table for frames of these sizes, packed and plain."""
    entries = b"".join(_HEADER.pack(*size) for size in sizes)
    footer = _FOOTER.pack(len(sizes), 0, _FOOTER_MAGIC)
    return _HEADER.pack(_HEADER_MAGIC, len(entries) + len(footer)) + entries + footer


def seek_table(medium: Medium, where: str) -> SeekTable | None:
    """Return the table of ``medium``; None where it has none, or has frames too large to be read on their own.

    Raises:
        ContentError: it does not fit the file, or says that it is a bomb.
        OSError: the disk failed.
    """
    footer = read_at(medium, medium.size - _FOOTER.size, _FOOTER.size) if medium.size > _FOOTER.size else b""
    if len(footer) < _FOOTER.size:
        return None
    count, flags, magic = _FOOTER.unpack(footer)
    if magic != _FOOTER_MAGIC:
        return None
    if flags & _RESERVED or count > MAX_FRAMES:
        raise _lies(where, f"{count} frames, flags {flags:#x}")
    entry = 12 if flags & _SUMS else 8
    start = medium.size - _FOOTER.size - count * entry - _HEADER.size
    if start < 0:
        raise _lies(where, f"{count} frames, more than there is room for")
    header = read_at(medium, start, _HEADER.size)
    if len(header) < _HEADER.size or _HEADER.unpack(header) != (_HEADER_MAGIC, count * entry + _FOOTER.size):
        raise _lies(where, f"does not begin at byte {start}")
    return _table(read_at(medium, start + _HEADER.size, count * entry), entry, start, where)


def _table(raw: bytes, entry: int, end: int, where: str) -> SeekTable | None:
    numbers = array("I", raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    step = entry // 4
    packed, plain = numbers[::step], numbers[1::step]
    if not all(packed) or not all(plain):
        # Who reads through would read what such a frame holds all the same.
        raise _lies(where, "a frame of no bytes")
    table = SeekTable(*(array("Q", accumulate(sizes, initial=0)) for sizes in (packed, plain)))
    if table.packed[-1] != end:
        raise _lies(where, f"its frames end at byte {table.packed[-1]}, the file's at {end}")
    if table.plain[-1] < _LEAST_FRAME * (len(plain) - _FREE_FRAMES):
        raise _lies(where, f"{len(plain)} frames of {table.plain[-1]} bytes together, each takes its time")
    try:
        refuse_bomb(end, table.plain[-1])
    except ContentError as error:
        raise ContentError(f"{where}: {error.message.removeprefix('layer ')}") from error
    return None if len(plain) and max(plain) > MAX_FRAME else table


class Frames:
    """What frames of zstd hold, as a medium."""

    def __init__(self, medium: Medium, table: SeekTable, where: str) -> None:
        """Read frames of ``medium``, closed with this, by its ``table``; ``where`` names it in messages."""
        self._medium = medium
        self._table = table
        self._where = where
        self._mark = object()

    @property
    def size(self) -> int:
        """Bytes of all that the frames hold."""
        return self._table.plain[-1]

    @property
    def identity(self) -> tuple[int, ...]:
        """As that of the packed bytes."""
        return self._medium.identity

    def readinto(self, view: memoryview, offset: int) -> int:
        """Fill ``view`` from one frame, as `Medium.readinto` says."""
        if not 0 <= offset < self.size:
            return 0
        number = bisect_right(self._table.plain, offset) - 1
        begin = offset - self._table.plain[number]
        frame = self._frame(number)
        some = memoryview(frame)[begin : begin + len(view)]
        view[: len(some)] = some
        if begin + len(some) == len(frame):
            # Most are read through, once.
            _kept.drop((self._mark, number))
        return len(some)

    def in_files(self, _offset: int, _count: int) -> Iterator[InFile]:
        """Yield nothing: no file has these bytes."""
        yield from ()

    def close(self) -> None:
        """Close what the frames lie in."""
        self._medium.close()

    def _frame(self, number: int) -> bytes:
        found = _kept.get((self._mark, number))
        if found is None:
            packed, plain = self._table
            with _unpacking:
                raw = read_at(self._medium, packed[number], packed[number + 1] - packed[number])
                found = unpack_frame(raw, plain[number + 1] - plain[number], f"{self._where}: frame {number}")
            _kept.keep((self._mark, number), found)
        return found


class _Kept:
    """Frames that were unpacked and not read to their end, of all files together: there may be many, and large ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._frames: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        with self._lock:
            found = self._frames.get(key)
            if found is not None:
                self._frames.move_to_end(key)
            return found

    def keep(self, key: Hashable, frame: bytes) -> None:
        with self._lock:
            if key not in self._frames:
                self._frames[key] = frame
                self._bytes += len(frame)
            while self._bytes > self._most and len(self._frames) > 1:
                self._bytes -= len(self._frames.popitem(last=False)[1])

    def drop(self, key: Hashable) -> None:
        with self._lock:
            self._bytes -= len(self._frames.pop(key, b""))


_kept: Final = _Kept(_KEPT)
# As many at once as there are cores: what is not kept yet is in memory too.
_unpacking: Final = threading.BoundedSemaphore(os.cpu_count() or 1)


def unpack_frame(raw: "bytes | memoryview", size: int, where: str) -> bytes:
    """Return what a frame holds; raises `ContentError` where it is damaged, or does not hold ``size`` bytes."""
    import pyzstd  # noqa: PLC0415 - few archives are packed so

    decoder = pyzstd.ZstdDecompressor(option={pyzstd.DParameter.windowLogMax: _WINDOW_LOG})
    try:
        found = decoder.decompress(raw, size + 1)
    except pyzstd.ZstdError as error:
        raise ContentError(f"{where} is not sound zstd: {error}") from error
    if len(found) != size or not decoder.eof or decoder.unused_data:
        raise ContentError(f"{where} does not hold the {size} bytes that the table says")
    return found


def _lies(where: str, what: str) -> ContentError:
    return ContentError(
        f"{shown(where, 400)}: its table of frames does not fit: {what}", advice="if it is sound, unpack it first"
    )
