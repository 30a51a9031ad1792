"""Unpacking of layers: piece by piece, with damage and bombs refused."""

from collections.abc import Generator, Iterator
from typing import Final, NamedTuple, Protocol

from transship.pipeline.compression.codecs import ZSTD_KINDS, Compression
from transship.pipeline.errors import ContentError

_CHUNK: Final = 1 << 20
_RATIO_FREE: Final = 64 << 20
_ZSTD_WINDOW_LOG: Final = 27


class Budget(NamedTuple):
    """How large a layer may become when it is unpacked (docs/decisions/0015-decompression-budget.md).

    At most ``size`` bytes, and ``ratio`` times what it is packed, beyond the first 64 MiB.
    """

    size: int = 1 << 40
    ratio: int = 400


DEFAULT_BUDGET: Final = Budget()


class Reader(Protocol):
    """What can be read to its end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, empty at the end."""


class _Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> None: ...


def decompressed(source: Reader, have: Compression, budget: Budget = DEFAULT_BUDGET) -> Generator[bytes, None, None]:
    """Yield the tar in ``source`` in pieces of at most 1 MiB; raises `ContentError` as `transcode` does."""
    decoder = _decoder(have)
    taken = given = 0
    while data := source.read(_CHUNK):
        taken += len(data)
        for piece in decoder.feed(data):
            given += len(piece)
            if have is not Compression.NONE:
                refuse_bomb(taken, given, budget)
            yield piece
    decoder.finish()


def refuse_bomb(taken: int, given: int, budget: Budget = DEFAULT_BUDGET) -> None:
    """Raise `ContentError` where ``given`` bytes are more than may come out of ``taken`` packed ones."""
    if given > min(budget.size, _RATIO_FREE + taken * budget.ratio):
        raise ContentError(
            f"layer expands to over {given} bytes from {taken}: refused as a decompression bomb",
            advice="where it is none, raise --max-layer-size or --max-layer-ratio (max-layer-... in a batch)",
        )


class _Whole:
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def finish(self) -> None:
        pass


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
    return _Unzstd() if kind in ZSTD_KINDS else _Whole()
