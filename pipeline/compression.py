"""Streaming codecs of layers: gzip through ISA-L, zstd through pyzstd, none. Constant memory, stages side by side.

What comes out depends on the tar and the level alone, not on how the tar arrives nor on the number
of cores (docs/decisions/0008-reproducible-packing.md). A layer's diff ID is the digest of its
uncompressed tar (OCI image-spec config.md, "Layer DiffID").
"""

import enum
import hashlib
from collections.abc import Callable, Generator, Iterator
from itertools import chain, islice
from typing import Final, NamedTuple, Protocol

from transship.pipeline.digest import Digest, Hasher
from transship.pipeline.errors import ContentError
from transship.pipeline.overlap import Buffer, InOrder, ahead

_CHUNK: Final = 1 << 20
_RATIO_FREE: Final = 64 << 20
_ZSTD_WINDOW_LOG: Final = 27
_GZIP_BLOCK: Final = 1 << 20
"""Bytes of tar in each part of a gzip layer that is packed on its own; the layer's bytes depend on it."""
_GZIP_BETTER: Final = 4
_ZSTD_PACKED_WINDOW_LOG: Final = 23
"""8 MiB, what every decoder should take (RFC 8878, section 3.1.1.1.2)."""
_AHEAD: Final = 4
_GZIP_HEADER: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_DEFLATE_END: Final = b"\x03\0"


class Compression(enum.Enum):
    """How a layer's tar is packed."""

    NONE = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"


class Budget(NamedTuple):
    """How large a layer may become when it is unpacked (docs/decisions/0015-decompression-budget.md).

    At most ``size`` bytes, and ``ratio`` times what it is packed, beyond the first 64 MiB.
    """

    size: int = 1 << 40
    ratio: int = 400


DEFAULT_BUDGET: Final = Budget()


class Transcoded(NamedTuple):
    """What came out of `transcode`: digests of the packed bytes and of the tar, sizes in bytes."""

    digest: Digest
    size: int
    diff_id: Digest
    tar_size: int


class _Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


class _Encoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def end(self) -> Iterator[bytes]: ...


class Reader(Protocol):
    """What can be read to its end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, empty at the end."""


def transcode(
    source: Reader,
    have: Compression,
    want: Compression,
    write: Callable[[bytes], object],
    level: int | None = None,
    *,
    budget: Budget = DEFAULT_BUDGET,
) -> Transcoded:
    """Repack ``source`` from ``have`` to ``want``, feeding ``write``; one pass, both digests.

    ``source`` is read, unpacked and hashed in a thread of its own where it is large; ``write`` is called in
    this one. ``level`` is 1..9 for gzip (1 to 3 pack alike, as do 4 to 9) and 1..20 for zstd;
    None is 6 and 3.

    Raises:
        ContentError: the stream is damaged, cut short, followed by something else, or expands
            beyond ``budget``.
    """
    tar = hashlib.sha256()
    # An unpacked layer is its tar: one hash tells both digests.
    packed = tar if want is Compression.NONE else hashlib.sha256()
    tar_size = size = 0
    encoder = _encoder(want, level)
    pieces = decompressed(source, have, budget)
    begun = list(islice(pieces, 2))
    unpacked = _hashed(chain(begun, pieces), tar)
    rest = ahead(unpacked, _AHEAD) if len(begun) == 2 else unpacked
    try:
        for piece in rest:
            tar_size += len(piece)
            for data in encoder.feed(piece):
                if packed is not tar:
                    packed.update(data)
                size += len(data)
                write(data)
        for data in encoder.end():
            packed.update(data)
            size += len(data)
            write(data)
    finally:
        rest.close()
    return Transcoded(Digest("sha256", packed.hexdigest()), size, Digest("sha256", tar.hexdigest()), tar_size)


def decompressed(source: Reader, have: Compression, budget: Budget = DEFAULT_BUDGET) -> Generator[bytes, None, None]:
    """Yield the tar in ``source`` in pieces of at most 1 MiB; raises as `transcode` does."""
    decoder = _decoder(have)
    taken = given = 0
    while data := source.read(_CHUNK):
        taken += len(data)
        for piece in decoder.feed(data):
            given += len(piece)
            if have is not Compression.NONE and given > min(budget.size, _RATIO_FREE + taken * budget.ratio):
                raise ContentError(
                    f"layer expands to over {given} bytes from {taken}: refused as a decompression bomb",
                    advice="where it is none, raise --max-layer-size or --max-layer-ratio (max-layer-... in a batch)",
                )
            yield piece
    decoder.finish()


def _hashed(pieces: Iterator[bytes], hasher: Hasher) -> Generator[bytes, None, None]:
    for piece in pieces:
        hasher.update(piece)
        yield piece


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass

    def end(self) -> Iterator[bytes]:
        yield from ()


class _Gunzip:
    """Members one after the other are one stream (RFC 1952, section 2.2); eStargz and pigz write many."""

    def __init__(self) -> None:
        from isal import igzip_lib, isal_zlib  # noqa: PLC0415

        self._error: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment] # its stub has an instance
        self._zlib = isal_zlib
        self._member = isal_zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        piece = b""
        # A full piece may leave output waiting inside the decoder with no input left over.
        while data or (len(piece) == _CHUNK and not self._member.eof):
            if self._member.eof:
                self._member = self._zlib.decompressobj(wbits=31)
            try:
                piece = self._member.decompress(data, _CHUNK)
            except self._error as error:
                raise ContentError(f"layer is not sound gzip: {error}") from error
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece

    def finish(self) -> None:
        if not self._member.eof:
            raise ContentError("layer is gzip cut short")


class _Unzstd:
    def __init__(self) -> None:
        import pyzstd  # noqa: PLC0415

        self._fed = False
        self._errors: tuple[type[Exception], ...] = (pyzstd.ZstdError,)
        self._decoder = pyzstd.EndlessZstdDecompressor(option={pyzstd.DParameter.windowLogMax: _ZSTD_WINDOW_LOG})

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._fed = True
        while True:
            try:
                piece = self._decoder.decompress(data, _CHUNK)
            except self._errors as error:
                raise ContentError(f"layer is not sound zstd: {error}") from error
            data = b""
            if piece:
                yield piece
            if self._decoder.needs_input:
                return

    def finish(self) -> None:
        if not self._fed or not self._decoder.at_frame_edge:
            raise ContentError("layer is zstd cut short")


def _decoder(kind: Compression) -> _Decoder:
    if kind is Compression.GZIP:
        return _Gunzip()
    return _Unzstd() if kind is Compression.ZSTD else _Plain()


class _Blocks:
    """Cuts a tar into blocks of one size, packed each on its own, on all cores, put together in their order."""

    def __init__(self, block: int) -> None:
        self._block = block
        self._packing = InOrder(self.packed)
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


def _encoder(kind: Compression, level: int | None) -> _Encoder:
    if kind is Compression.GZIP:
        return _Gzip(level or 6)
    return _Zstd(level or 3) if kind is Compression.ZSTD else _Plain()
