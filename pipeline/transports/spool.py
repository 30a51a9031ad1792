"""Archives, opened where they lie; in unnamed temporary files where they are packed as a whole, or a pipe."""

import io
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from transship.pipeline.compression import Compression, decompressed
from transship.pipeline.compression.decoding import Reader
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, NotFoundError, TransportError, shown
from transship.pipeline.transports.files import open_regular
from transship.pipeline.transports.frames import Frames, seek_table
from transship.pipeline.transports.medium import FileMedium, Medium, Window, read_at
from transship.pipeline.transports.volumes import Volumes, stem_of, volumes

_CODECS_WORDS: Final = "layer ", "is "
_READ: Final = os.O_RDONLY | os.O_CLOEXEC
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


def open_medium(path: Path, stream: "io.FileIO | None" = None, *, in_place: bool = False) -> Medium:
    """Open what lies at ``path``: a file, a pipe, or the volumes that it means; ``stream`` where it is open already.

    What is packed is unpacked: frames of zstd that say where each lies in place, and the rest as a whole. With
    ``in_place`` that is refused, and so is what is no regular file. The caller closes what is returned.

    Raises:
        NotFoundError: there is none, or a volume is missing.
        ContentError: it is damaged, cut short or a bomb; a volume is not as large as the first.
        TransportError: the disk refused.
    """
    where = str(path)
    with at_disk(path):
        medium = _opened(path, in_place=in_place) if stream is None else _over(stream, where)
        try:
            packed = packing(read_at(medium, 0, 4))
            table = seek_table(medium, where) if packed is Compression.ZSTD else None
            if table is not None:
                return Frames(_by_and_by(medium, path) if in_place else medium, table, where)
            if packed is Compression.NONE:
                return medium
            if in_place:
                raise ContentError(f"{where}: compressed, cannot be served in place", advice="decompress it first")
            # Lately and unchanged since, not again: each image of an archive is opened several times.
            source = Window(medium, 0, medium.size)
            made = _unpacked_lately.get(medium.identity, lambda: _written(source, packed, where))
        except BaseException:
            medium.close()
            raise
        medium.close()
        return FileMedium(made, where)


def _opened(path: Path, *, in_place: bool) -> Medium:
    # Looked for only where there is cause to: most archives are one file.
    found = volumes(path) if stem_of(path) != path else []
    try:
        if found:
            return Volumes(found)
        return _over(open_regular(path) if in_place else io.FileIO(os.open(path, _READ)), str(path))
    except (FileNotFoundError, NotFoundError):
        found = found or volumes(path)
        if not found:
            raise
        return Volumes(found)


def _by_and_by(medium: Medium, path: Path) -> Medium:
    """Return ``medium``, or what opens its file when it is read: many may be served, and few of them asked for."""
    if isinstance(medium, Volumes):
        return medium
    medium.close()
    again = Volumes([path])
    if again.identity != medium.identity:
        raise TransportError(f"{shown(str(path), 400)}: changed while it was read", advice="run again")
    return again


def _over(stream: io.FileIO, where: str) -> FileMedium:
    return FileMedium(stream if stream.seekable() else spooled(stream, where), where)


def spooled(stream: io.FileIO, where: str) -> io.FileIO:
    """Return an unnamed temporary file of all that ``stream`` gives, which is closed.

    Raises:
        ContentError: it has no end.
        OSError: the disk refused.
    """
    with stream:
        if stream.seekable():
            stream.seek(0)
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


def _written(source: Reader, packed: Compression, where: str) -> io.FileIO:
    with tempfile.TemporaryFile(buffering=0) as spool:
        for piece in unpacked(source, packed, where):
            rest = memoryview(piece)
            while rest:
                rest = rest[spool.write(rest) :]
        return io.FileIO(os.dup(spool.fileno()))
