"""Packing of layers: what comes out depends on the tar and the level alone."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from transship.pipeline.compression.codecs import DEFAULT_LEVELS, Compression
from transship.pipeline.overlap import Buffer, InOrder

_GZIP_BLOCK: Final = 1 << 20
"""Bytes of tar in each part of a gzip layer that is packed on its own; the layer's bytes depend on it."""
_GZIP_BETTER: Final = 4
_ZSTD_PACKED_WINDOW_LOG: Final = 23
"""8 MiB, what every decoder should take (RFC 8878, section 3.1.1.1.2)."""
_GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_DEFLATE_END: Final = b"\x03\0"
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Encoder(Protocol):
    """Takes a tar piece by piece."""

    @property
    def annotations(self) -> Mapping[str, str]:
        """What the layer's descriptor must say of its bytes; known once it has ended."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what is packed of all that was fed."""

    def end(self) -> Iterator[bytes]:
        """Yield the rest."""


class _Plain:
    annotations = _NOTHING

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def end(self) -> Iterator[bytes]:
        yield from ()


class _Blocks:
    """Cuts a tar into blocks of one size, packed each on its own, on all cores, put together in their order."""

    annotations = _NOTHING

    def __init__(self, block: int) -> None:
        self._block = block
        self._packing: InOrder[Buffer, bytes] = InOrder(self.packed)
        self._parts: list[memoryview] = []
        self._filled = 0

    def packed(self, block: Buffer) -> bytes:
        """Return ``block`` packed."""
        raise NotImplementedError

    def feed(self, data: bytes) -> Iterator[bytes]:
        view = memoryview(data)
        while self._filled + len(view) > self._block:
            room = self._block - self._filled
            self._parts.append(view[:room])
            view = view[room:]
            yield from self._packing.add(self._taken())
        if view:
            self._parts.append(view)
            self._filled += len(view)

    def end(self) -> Iterator[bytes]:
        if self._packing.begun:
            yield from self._packing.add(self._taken())
            yield from self._packing.rest()
        else:
            yield self.packed(self._taken())

    def _taken(self) -> Buffer:
        parts, self._parts, self._filled = self._parts, [], 0
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Gzip(_Blocks):
    """One gzip member (RFC 1952), as ``pigz --independent`` writes."""

    def __init__(self, level: int) -> None:
        from isal import isal_zlib  # noqa: PLC0415

        super().__init__(_GZIP_BLOCK)
        self._zlib = isal_zlib
        # ISA-L's level 3 gives other bytes on processors with AVX2 or AVX-512 than on those without.
        self._level = 1 if level < _GZIP_BETTER else 2
        self._crc = self._size = 0

    def packed(self, block: Buffer) -> bytes:
        """Return a part of a deflate stream that ends at a byte and refers to nothing before it."""
        deflate = self._zlib.compressobj(self._level, wbits=-15)
        return deflate.compress(block) + deflate.flush(self._zlib.Z_SYNC_FLUSH)

    def feed(self, data: bytes) -> Iterator[bytes]:
        if not self._size:
            yield _GZIP_HEADER
        self._crc = self._zlib.crc32(data, self._crc)
        self._size += len(data)
        yield from super().feed(data)

    def end(self) -> Iterator[bytes]:
        if not self._size:
            yield _GZIP_HEADER
        yield from super().end()
        yield _DEFLATE_END + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")


class _Zstd:
    """One frame (RFC 8878), packed by the thread that feeds it: zstd's own workers give other bytes."""

    annotations = _NOTHING

    def __init__(self, level: int) -> None:
        from pyzstd import CParameter, ZstdCompressor  # noqa: PLC0415

        options: dict[int, int] = {
            CParameter.compressionLevel: level,
            CParameter.checksumFlag: 1,
            CParameter.windowLog: _ZSTD_PACKED_WINDOW_LOG,
        }
        self._encoder = ZstdCompressor(options)

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield self._encoder.compress(data)

    def end(self) -> Iterator[bytes]:
        yield self._encoder.flush()


def encoder(kind: Compression, level: int | None) -> Encoder:
    """Return what packs a tar as ``kind``."""
    if kind is Compression.GZIP:
        return _Gzip(level or DEFAULT_LEVELS[kind])
    if kind is Compression.ZSTD_CHUNKED:
        from transship.pipeline.chunked.encoder import ChunkedEncoder  # noqa: PLC0415

        return ChunkedEncoder(level or DEFAULT_LEVELS[kind])
    return _Zstd(level or DEFAULT_LEVELS[kind]) if kind is Compression.ZSTD else _Plain()
