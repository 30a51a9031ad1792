"""Streaming codecs of layers: gzip through ISA-L, zstd through pyzstd, none. Constant memory.

A layer's diff ID is the digest of its uncompressed tar (OCI image-spec config.md, "Layer DiffID").
"""

import enum
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError

_CHUNK: Final = 1 << 20
MAX_EXPANSION: Final = 1 << 40
"""Bytes a single layer may expand to."""
MAX_RATIO: Final = 400
"""Times that a layer may be larger than its compressed form, beyond the first `_RATIO_FREE` bytes."""
_RATIO_FREE: Final = 64 << 20
_ZSTD_WINDOW_LOG: Final = 27


class Compression(enum.Enum):
    """How a layer's tar is packed."""

    NONE = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class Transcoded:
    """What came out of `transcode`: digests of the packed bytes and of the tar, sizes in bytes."""

    digest: Digest
    size: int
    diff_id: Digest
    tar_size: int


class _Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


class _Encoder(Protocol):
    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


def transcode(
    source: BinaryIO, have: Compression, want: Compression, write: Callable[[bytes], object], level: int | None = None
) -> Transcoded:
    """Repack ``source`` from ``have`` to ``want``, feeding ``write``; one pass, both digests.

    ``level`` is 1..9 for gzip and 1..20 for zstd; None is 6 and 3.

    Raises:
        ContentError: the stream is damaged, cut short, followed by something else, or expands
            beyond `MAX_EXPANSION` or `MAX_RATIO`.
    """
    packed, tar = hashlib.sha256(), hashlib.sha256()
    sizes = [0, 0]
    encoder = _encoder(want, level)

    def emit(data: bytes) -> None:
        if data:
            packed.update(data)
            sizes[0] += len(data)
            write(data)

    for piece in decompressed(source, have):
        tar.update(piece)
        sizes[1] += len(piece)
        emit(encoder.compress(piece))
    emit(encoder.flush())
    return Transcoded(Digest("sha256", packed.hexdigest()), sizes[0], Digest("sha256", tar.hexdigest()), sizes[1])


def decompressed(source: BinaryIO, have: Compression) -> Iterator[bytes]:
    """Yield the tar in ``source`` in pieces of at most 1 MiB; raises as `transcode` does."""
    decoder = _decoder(have)
    taken = given = 0
    while data := source.read(_CHUNK):
        taken += len(data)
        for piece in decoder.feed(data):
            given += len(piece)
            if given > MAX_EXPANSION or given > _RATIO_FREE + taken * MAX_RATIO:
                raise ContentError(f"layer expands to over {given} bytes from {taken}: refused as a decompression bomb")
            yield piece
    decoder.finish()


class _Plain:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass

    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


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


def _encoder(kind: Compression, level: int | None) -> _Encoder:
    if kind is Compression.GZIP:
        from isal import isal_zlib  # noqa: PLC0415

        # ISA-L has levels 0 to 3; the nine of gzip are spread over its upper three.
        gzip: _Encoder = isal_zlib.compressobj(((level or 6) + 2) // 3, wbits=31)
        return gzip
    if kind is Compression.ZSTD:
        from pyzstd import CParameter, ZstdCompressor  # noqa: PLC0415

        # With one worker or many zstd gives the same bytes; with none it gives others.
        options: dict[int, int] = {
            CParameter.compressionLevel: level or 3,
            CParameter.checksumFlag: 1,
            CParameter.nbWorkers: 2,
        }
        zstd: _Encoder = ZstdCompressor(options)
        return zstd
    return _Plain()
