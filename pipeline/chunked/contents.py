"""The end of a zstd:chunked layer: table of contents, tar-split data and footer, in skippable frames.

Source: containers/storage pkg/chunked/internal/minimal/compression.go; the tar-split data is that of
vbatts/tar-split, tar/storage.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from transship.pipeline.chunked import annotations
from transship.pipeline.chunked.tar_entry import Entry
from transship.pipeline.manifest.document import Object

_SKIPPABLE: Final = b"\x50\x2a\x4d\x18"
_FRAME_START: Final = 8
_KIND: Final = 1
MAGIC: Final = b"GNUlInUx"
FOOTER: Final = 64
_FILE: Final = 1
_SEGMENT: Final = 2


class Chunk(NamedTuple):
    """A part of a file: where its frame begins in the layer, its bytes, and their digest (hex)."""

    offset: int
    size: int
    digest: str


class _Packed:
    """A document written piece by piece and kept packed: a layer of many files has a large one."""

    def __init__(self, level: int) -> None:
        from pyzstd import CParameter, ZstdCompressor  # noqa: PLC0415

        self._encoder = ZstdCompressor({CParameter.compressionLevel: level, CParameter.checksumFlag: 1})
        self._parts: list[bytes] = []
        self.size = 0

    def write(self, text: str) -> None:
        raw = text.encode()
        self.size += len(raw)
        if part := self._encoder.compress(raw):
            self._parts.append(part)

    def end(self) -> bytes:
        return b"".join((*self._parts, self._encoder.flush()))


class Contents:
    """What is told of a layer's files, in the order of the tar."""

    def __init__(self, level: int) -> None:
        """``level`` is zstd's, 1 to 20."""
        self._table = _Packed(level)
        self._split = _Packed(level)
        self._table.write('{"version":1,"entries":[')
        self._entries = self._position = 0

    def segment(self, raw: bytes) -> None:
        """Add bytes of the tar that are no file's content: padding, headers, the zeros at the end."""
        self._pack({"type": _SEGMENT, "payload": _base64(raw)})

    def file(self, entry: Entry, chunks: list[Chunk], end: int, sums: tuple[str, int]) -> None:
        """Add a file: its chunks, where the last one's frame ends; ``sums`` are SHA-256 (hex) and CRC-64."""
        name, size, document = entry
        digest, crc = sums
        if chunks:
            document = {**document, "digest": f"sha256:{digest}", "offset": chunks[0].offset, "endOffset": end}
        if len(chunks) > 1:
            document |= {"chunkSize": chunks[0].size, "chunkDigest": f"sha256:{chunks[0].digest}"}
        self._entry(document)
        start = 0
        for before, chunk in pairwise(chunks):
            start += before.size
            self._entry(
                {
                    "type": "chunk",
                    "name": name,
                    "offset": chunk.offset,
                    "chunkSize": chunk.size,
                    "chunkOffset": start,
                    "chunkDigest": f"sha256:{chunk.digest}",
                }
            )
        payload = _base64(crc.to_bytes(8, "big")) if size else None
        self._pack({"type": _FILE, "name": name, **({"size": size} if size else {}), "payload": payload})

    def end(self, offset: int) -> tuple[bytes, dict[str, str]]:
        """Return the frames that end a layer of ``offset`` bytes before them, and the layer's annotations."""
        split = self._split.end()
        self._table.write(f'],"tarSplitDigest":"sha256:{hashlib.sha256(split).hexdigest()}"}}')
        table = self._table.end()
        at = offset + _FRAME_START
        split_at = at + len(table) + _FRAME_START
        numbers = (at, len(table), self._table.size, _KIND, split_at, len(split), self._split.size)
        footer = b"".join(number.to_bytes(8, "little") for number in numbers) + MAGIC
        said = {
            annotations.CHECKSUM: f"sha256:{hashlib.sha256(table).hexdigest()}",
            annotations.POSITION: f"{at}:{len(table)}:{self._table.size}:{_KIND}",
            annotations.SPLIT_POSITION: f"{split_at}:{len(split)}:{self._split.size}",
        }
        return b"".join(_frames(table, split, footer)), said

    def _entry(self, document: Object) -> None:
        self._table.write(("," if self._entries else "") + _json(document))
        self._entries += 1

    def _pack(self, document: Object) -> None:
        self._split.write(_json({**document, "position": self._position}) + "\n")
        self._position += 1


def _frames(*contents: bytes) -> Iterator[bytes]:
    for content in contents:
        yield _SKIPPABLE + len(content).to_bytes(4, "little") + content


def _json(document: Object) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
