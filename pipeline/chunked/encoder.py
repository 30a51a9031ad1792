"""Packs a tar as zstd:chunked: a frame for each file, larger ones in parts, then the table of contents.

The bytes depend on the tar and the level alone. Memory does not grow with the files' sizes; a file
costs some ten bytes, which is how large its entry is once packed.
"""

import hashlib
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from transship.pipeline.chunked.checksum import START, crc64
from transship.pipeline.chunked.contents import Chunk, Contents
from transship.pipeline.chunked.tar_entry import (
    BLOCK,
    EXTENSIONS,
    LONG_NAME,
    MAX_EXTENSION,
    PAX,
    ZEROS,
    Entry,
    Extensions,
    flag_and_size,
    parse_pax,
    read_entry,
    refused,
)
from transship.pipeline.errors import shown
from transship.pipeline.overlap import InOrder

CHUNK: Final = 1 << 20
"""Bytes of the parts of a large file; the layer's bytes depend on it."""
_HEADERS: Final = 1 << 20
"""Bytes of headers without content that share a frame."""
_JOB_BYTES: Final = 512 << 10
_JOB_FRAMES: Final = 256

_Steps = Generator[int, bytes, None]


@dataclass(slots=True)
class _Item:
    """What the tar-split data and the table get in one go, once ``missing`` chunks have their place."""

    segment: bytes
    entry: Entry | None = None
    missing: int = 0
    chunks: list[Chunk] = field(default_factory=list)
    end: int = 0
    digest: str = ""
    crc: int = START


class _Frame(NamedTuple):
    """Bytes for a frame of their own; of a file's part the item that hears of it.

    ``whole`` says that the part is all of the file: its digests are the file's.
    """

    raw: bytes
    item: _Item | None = None
    whole: bool = False


class _Made(NamedTuple):
    """A frame packed, with digest (hex) and CRC-64 of what is in it if that is a file's."""

    packed: bytes
    digest: str
    crc: int


class ChunkedEncoder:
    """Feed it a tar, then end it; what it yields is the layer. `annotations` are known after `end`.

    Raises from `feed` and `end`:
        ContentError: no tar, or one that the table of contents cannot describe.
    """

    def __init__(self, level: int) -> None:
        """``level`` is zstd's, 1 to 20."""
        from pyzstd import CParameter, compress  # noqa: PLC0415

        self.annotations: dict[str, str] = {}
        self._options: dict[int, int] = {CParameter.compressionLevel: level, CParameter.checksumFlag: 1}
        self._compress = compress
        self._contents = Contents(level)
        self._packing: InOrder[list[_Frame], list[_Made]] = InOrder(self._packed)
        self._sent: deque[list[_Frame]] = deque()
        self._frames: list[_Frame] = []
        self._frames_size = self._offset = 0
        self._items: deque[_Item] = deque()
        self._headers: list[bytes] = []
        self._headers_size = 0
        self._names: set[int] = set()
        self._fed: deque[memoryview] = deque()
        self._fed_size = 0
        self._steps = self._walk()
        self._wanted = next(self._steps)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes of the tar."""
        if data:
            self._fed.append(memoryview(data))
            self._fed_size += len(data)
        while self._fed_size >= self._wanted:
            self._wanted = self._steps.send(self._taken(self._wanted))
            if self._frames_size >= _JOB_BYTES or len(self._frames) >= _JOB_FRAMES:
                yield from self._submitted()

    def end(self) -> Iterator[bytes]:
        """Take that the tar has ended."""
        with suppress(StopIteration):
            self._steps.send(self._taken(self._fed_size))
            while True:
                self._steps.send(b"")
        yield from self._submitted()
        for made in self._packing.rest():
            yield self._placed(made)
        if not self._offset:
            # A layer of no bytes is a tar too; what is only skipped is not a zstd stream to all decoders.
            empty = self._compress(b"", self._options)
            self._offset = len(empty)
            yield empty
        self._tell()
        last, self.annotations = self._contents.end(self._offset)
        yield last

    def _walk(self) -> _Steps:
        """Go through the tar: each step asks for so many bytes and is sent them, or what is left at the end."""
        padding = b""
        while True:
            segment, entry = yield from self._headed(padding)
            self._header(segment)
            if entry is None:
                break
            item = _Item(segment, entry)
            self._items.append(item)
            if entry.size:
                yield from self._content(entry, item)
            lacking = -entry.size % BLOCK
            padding = (yield lacking) if lacking else b""
            if len(padding) < lacking:
                raise refused("its tar is cut short")
        self._items.append(_Item(segment))
        yield from self._tail()

    def _headed(self, padding: bytes) -> Generator[int, bytes, tuple[bytes, Entry | None]]:
        """Return the bytes of the next header, after ``padding`` and with its extensions; None at the end."""
        segment = [padding]
        extended = Extensions({})
        while True:
            block = yield BLOCK
            segment.append(block)
            if not block or block == ZEROS:
                if len(segment) > 2:
                    raise refused("its tar ends within a header")
                return b"".join(segment), None
            if len(block) < BLOCK:
                raise refused("its tar is cut short")
            flag, size = flag_and_size(block)
            if flag not in EXTENSIONS:
                return b"".join(segment), self._named(read_entry(block, extended))
            if size > MAX_EXTENSION:
                raise refused(f"an extended header has {size} bytes")
            whole = size + -size % BLOCK
            data = (yield whole) if whole else b""
            segment.append(data)
            if len(data) < whole:
                raise refused("its tar is cut short")
            extended = _extended(extended, flag, data[:size])

    def _named(self, entry: Entry) -> Entry:
        # By its hash, as a layer may have a million names; who pulls refuses a layer with one twice.
        key = hash("/".join(part for part in entry.name.split("/") if part not in ("", ".")))
        if key in self._names:
            raise refused(f"{shown(entry.name)} is in it twice")
        self._names.add(key)
        return entry

    def _content(self, entry: Entry, item: _Item) -> _Steps:
        self._flush_headers()
        left, whole = entry.size, entry.size <= CHUNK
        item.missing = -(-entry.size // CHUNK)
        hasher = hashlib.sha256()
        while left:
            wanted = min(left, CHUNK)
            data = yield wanted
            if len(data) < wanted:
                raise refused(f"its tar ends within {shown(entry.name)}")
            if not whole:
                hasher.update(data)
                item.crc = crc64(data, item.crc)
            left -= wanted
            self._frame(_Frame(data, item, whole))
        if not whole:
            item.digest = hasher.hexdigest()

    def _tail(self) -> _Steps:
        """Take what is after the first zeros: only more of them, in segments of whole blocks."""
        held = b""
        while True:
            data = yield _HEADERS
            if data.strip(b"\0"):
                raise refused("its tar goes on after its end")
            held += data
            ended = len(data) < _HEADERS
            if len(held) % BLOCK:
                raise refused("its tar ends within a block")
            if held and (ended or len(held) > _HEADERS):
                # None is so short that a reader takes it for half a block.
                segment, held = (held, b"") if ended else (held[:_HEADERS], held[_HEADERS:])
                self._header(segment)
                self._items.append(_Item(segment))
            if ended:
                break
        self._flush_headers()

    def _header(self, segment: bytes) -> None:
        self._headers.append(segment)
        self._headers_size += len(segment)
        if self._headers_size >= _HEADERS:
            self._flush_headers()

    def _flush_headers(self) -> None:
        if self._headers_size:
            self._frame(_Frame(b"".join(self._headers)))
        self._headers, self._headers_size = [], 0

    def _frame(self, frame: _Frame) -> None:
        self._frames.append(frame)
        self._frames_size += len(frame.raw)

    def _submitted(self) -> Iterator[bytes]:
        frames, self._frames, self._frames_size = self._frames, [], 0
        if frames:
            self._sent.append(frames)
            for made in self._packing.add(frames):
                yield self._placed(made)

    def _packed(self, frames: list[_Frame]) -> list[_Made]:
        return [self._made(frame) for frame in frames]

    def _made(self, frame: _Frame) -> _Made:
        packed = self._compress(frame.raw, self._options)
        digest = hashlib.sha256(frame.raw).hexdigest() if frame.item else ""
        return _Made(packed, digest, crc64(frame.raw) if frame.whole else START)

    def _placed(self, made: list[_Made]) -> bytes:
        """Give each frame its place, tell the table of what is whole now; return the frames."""
        for frame, packed in zip(self._sent.popleft(), made, strict=True):
            item = frame.item
            if item:
                item.chunks.append(Chunk(self._offset, len(frame.raw), packed.digest))
                item.missing -= 1
                item.end = self._offset + len(packed.packed)
                if frame.whole:
                    item.digest, item.crc = packed.digest, packed.crc
            self._offset += len(packed.packed)
        self._tell()
        return b"".join(packed.packed for packed in made)

    def _tell(self) -> None:
        """Tell the table of all that is whole, in the order of the tar."""
        while self._items and not self._items[0].missing:
            item = self._items.popleft()
            if item.segment:
                self._contents.segment(item.segment)
            if item.entry:
                self._contents.file(item.entry, item.chunks, item.end, (item.digest, item.crc))

    def _taken(self, count: int) -> bytes:
        parts = []
        self._fed_size -= count
        while count:
            view = self._fed.popleft()
            if len(view) > count:
                self._fed.appendleft(view[count:])
                view = view[:count]
            parts.append(view)
            count -= len(view)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)


def _extended(before: Extensions, flag: bytes, data: bytes) -> Extensions:
    if flag == PAX:
        return before._replace(pax=parse_pax(data))
    text = data.partition(b"\0")[0]
    return before._replace(long_name=text or None) if flag == LONG_NAME else before._replace(long_link=text or None)
