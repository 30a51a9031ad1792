"""Archives that cannot be read where they lie, because they are compressed or a pipe, in unnamed temporary files."""

import io
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from transship.pipeline.compression import Compression, decompressed
from transship.pipeline.compression.decoding import Reader
from transship.pipeline.errors import ContentError, shown

_CODECS_WORDS: Final = "layer ", "is "
_MAGIC: Final = ((b"\x1f\x8b", Compression.GZIP), (b"\x28\xb5\x2f\xfd", Compression.ZSTD))


class Spools:
    """The last few unnamed files that were costly to make; each takes its size on the disk until the process ends."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._files: OrderedDict[Hashable, int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], io.FileIO]) -> io.FileIO:
        """Return the file called ``key``, made now where it is not kept; one is made at a time. The caller closes it.

        Raises what ``make`` does.
        """
        with self._lock:
            if key not in self._files:
                with make() as made:
                    while len(self._files) >= self._count:
                        os.close(self._files.popitem(last=False)[1])
                    self._files[key] = os.dup(made.fileno())
            self._files.move_to_end(key)
            return io.FileIO(os.dup(self._files[key]))


_unpacked_lately: Final = Spools(2)


def seekable(stream: io.FileIO, where: str) -> io.FileIO:
    """Return ``stream`` where it is seekable and plain, else a file of what it holds; ``stream`` is closed then.

    ``where`` names it in messages.

    A file unpacked lately and unchanged since is not unpacked again: each image of an archive is
    opened several times, and each time would cost the whole archive.

    Raises:
        ContentError: it is damaged, cut short or a bomb.
        OSError: the disk refused.
    """
    if not stream.seekable():
        stream = spooled(stream, where)
    packed = packing(os.pread(stream.fileno(), 4, 0))
    if packed is Compression.NONE:
        return stream
    with stream:
        return _unpacked_lately.get(identity(stream.fileno()), lambda: _written(stream, packed, where))


def spooled(stream: io.FileIO, where: str) -> io.FileIO:
    """Return an unnamed temporary file of all that ``stream`` gives, which is closed.

    Raises:
        ContentError: it has no end.
        OSError: the disk refused.
    """
    with stream:
        return _written(stream, Compression.NONE, where)


def unpacked(source: Reader, packed: Compression, where: str) -> Iterator[bytes]:
    """Yield what a file that is ``packed`` so holds, in pieces of at most 1 MiB; ``where`` names it in messages.

    Raises:
        ContentError: it is damaged, cut short or a bomb.
    """
    with saying_where(where):
        yield from decompressed(source, packed)


@contextmanager
def saying_where(where: str) -> Iterator[None]:
    """Let what a codec finds wrong, which it takes for a layer, say of which file."""
    try:
        yield
    except ContentError as error:
        said = error.message
        for word in _CODECS_WORDS:
            said = said.removeprefix(word)
        raise ContentError(f"{shown(where, 400)}: {said}", advice="if it is sound, unpack it first") from error


def packing(start: bytes) -> Compression:
    """Return how a file is packed, by its first bytes."""
    return next((kind for magic, kind in _MAGIC if start.startswith(magic)), Compression.NONE)


def identity(handle: int) -> tuple[int, ...]:
    """Return what tells one content of an open file from another."""
    state = os.fstat(handle)
    return (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


def _written(stream: io.FileIO, packed: Compression, where: str) -> io.FileIO:
    if stream.seekable():
        # A file made here is open behind its last byte.
        stream.seek(0)
    with tempfile.TemporaryFile(buffering=0) as spool:
        for piece in unpacked(stream, packed, where):
            rest = memoryview(piece)
            while rest:
                rest = rest[spool.write(rest) :]
        return io.FileIO(os.dup(spool.fileno()))
