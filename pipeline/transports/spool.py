"""Archives that cannot be read where they lie, because they are compressed or a pipe, in unnamed temporary files."""

import io
import os
import tempfile
import threading
from collections import OrderedDict
from typing import Final

from transship.pipeline.compression import Compression, decompressed

_SPOOLS: Final = 2
"""Archives kept unpacked; each costs its size in the temporary folder until the process ends."""
_MAGIC: Final = ((b"\x1f\x8b", Compression.GZIP), (b"\x28\xb5\x2f\xfd", Compression.ZSTD))
_spools: Final[OrderedDict[tuple[int, ...], io.FileIO]] = OrderedDict()
_lock: Final = threading.Lock()


def seekable(stream: io.FileIO) -> io.FileIO:
    """Return ``stream`` where it is seekable and plain, else a file of what it holds; ``stream`` is closed then.

    A file unpacked lately and unchanged since is not unpacked again: each image of an archive is
    opened several times, and each time would cost the whole archive.

    Raises:
        ContentError: it is damaged, cut short or a bomb.
        OSError: the disk refused.
    """
    if not stream.seekable():
        with stream:
            stream = _unpacked(stream, Compression.NONE)
    packed = packing(os.pread(stream.fileno(), 4, 0))
    if packed is Compression.NONE:
        return stream
    with stream:
        return _unpacked_once(stream, packed)


def packing(start: bytes) -> Compression:
    """Return how a file is packed, by its first bytes."""
    return next((kind for magic, kind in _MAGIC if start.startswith(magic)), Compression.NONE)


def identity(handle: int) -> tuple[int, ...]:
    """Return what tells one content of an open file from another."""
    state = os.fstat(handle)
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _unpacked_once(stream: io.FileIO, packed: Compression) -> io.FileIO:
    key = identity(stream.fileno())
    with _lock:
        if key not in _spools:
            made = _unpacked(stream, packed)
            while len(_spools) >= _SPOOLS:
                _spools.popitem(last=False)[1].close()
            _spools[key] = made
        return io.FileIO(os.dup(_spools[key].fileno()))


def _unpacked(stream: io.FileIO, packed: Compression) -> io.FileIO:
    with tempfile.TemporaryFile(buffering=0) as spool:
        for piece in decompressed(stream, packed):
            rest = memoryview(piece)
            while rest:
                rest = rest[spool.write(rest) :]
        return io.FileIO(os.dup(spool.fileno()))
