"""Files packed by xz or bzip2, in unnamed temporary files: no layer may be packed so (OCI image-spec layer.md)."""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from transship.pipeline.compression.decoding import refuse_bomb
from transship.pipeline.disk import write_all
from transship.pipeline.errors import ContentError
from transship.pipeline.transports.medium import identity
from transship.pipeline.transports.spool import Spools, saying_where

if TYPE_CHECKING:
    from bz2 import BZ2Decompressor
    from lzma import LZMADecompressor

    _Decoder: TypeAlias = "BZ2Decompressor | LZMADecompressor"

# Few files are packed so: their codecs are loaded for those.
# ruff: noqa: PLC0415

_CHUNK: Final = 1 << 20
_MEMORY: Final = 192 << 20
"""Bytes that a decoder may take; xz -9 needs 65 MiB, and a file may ask for 4 GiB."""
_unpacked_lately: Final = Spools(2)


def unpacked_of_old(stream: io.FileIO, where: str) -> io.FileIO:
    """Return ``stream`` where it is packed by neither, else a file of what it holds; ``stream`` is closed then.

    Raises:
        ContentError: it is damaged, cut short, a bomb, or needs more than 192 MiB to unpack.
        OSError: the disk refused.
    """
    make = _decoder(os.pread(stream.fileno(), 6, 0))
    if make is None:
        return stream
    with stream:
        return _unpacked_lately.get(identity(stream.fileno()), lambda: _spooled(stream, make, where))


def _decoder(start: bytes) -> "Callable[[], _Decoder] | None":
    if start.startswith(b"BZh"):
        from bz2 import BZ2Decompressor

        return BZ2Decompressor
    if start == b"\xfd7zXZ\0":
        from lzma import FORMAT_XZ, LZMADecompressor

        return lambda: LZMADecompressor(FORMAT_XZ, memlimit=_MEMORY)
    return None


def _spooled(stream: io.FileIO, make: "Callable[[], _Decoder]", where: str) -> io.FileIO:
    stream.seek(0)
    with tempfile.TemporaryFile(buffering=0) as spool:
        with saying_where(where):
            for piece in _unpacked(stream, make):
                write_all(spool.fileno(), piece)
        return io.FileIO(os.dup(spool.fileno()))


def _unpacked(stream: io.FileIO, make: "Callable[[], _Decoder]") -> Iterator[bytes]:
    """Yield what streams one after the other hold."""
    from lzma import LZMAError

    decoder = make()
    taken = given = 0
    data = b""
    while True:
        if not data and (decoder.eof or decoder.needs_input):
            data = stream.read(_CHUNK)
            taken += len(data)
            if not data:
                break
        if decoder.eof:
            # Zeros between and after streams are padding (xz file format, section 2.2).
            data = data.lstrip(b"\0")
            decoder = make() if data else decoder
            continue
        try:
            piece = decoder.decompress(data, _CHUNK)
        except (LZMAError, OSError) as error:
            raise ContentError(f"damaged: {error}") from error
        data = decoder.unused_data if decoder.eof else b""
        given += len(piece)
        refuse_bomb(taken, given)
        yield piece
    if not decoder.eof:
        raise ContentError("cut short: it ends before its packed data does")
