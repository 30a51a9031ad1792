"""A blob read straight from a source, once, by whoever makes another blob of it.

Untrusted bytes, as those that `Store.ingest` reads. Of these nothing is kept, and what was made of
them must stay hidden until the last read has returned.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import BinaryIO, Final, Self

from transship.pipeline.digest import Hasher
from transship.pipeline.errors import ContentError, TransientError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.transport import Source
from transship.pipeline.tries import Tries

_UNNAMED: Final = "layer "


class Pull:
    """The bytes of ``wanted``, from its first to its last; one that breaks off goes on where it was.

    The read that returns nothing has found size and digest as they should be. A context manager.
    """

    def __init__(self, source: Source, wanted: Descriptor, *, hashed: bool) -> None:
        """``hashed`` says that the caller hashes the bytes itself and compares."""
        self._source = source
        self._wanted = wanted
        self._hasher: Hasher | None = None if hashed else wanted.digest.hasher()
        self._opened = ExitStack()
        self._stream: BinaryIO | None = None
        self._offset = 0
        self._tries = Tries()

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, empty at the end.

        Raises:
            ContentError: it is longer or of another digest than its descriptor says.
            RangeRefusedError: it broke off where the medium cannot go on; only from its start again.
            TransportError: the medium failed again and again.
        """
        data = self._next(size)
        self._offset += len(data)
        if self._offset > self._wanted.size:
            raise ContentError(f"blob {self._wanted.digest}: longer than the {self._wanted.size} bytes it says")
        if self._hasher:
            self._hasher.update(data)
            if not data and self._hasher.hexdigest() != self._wanted.digest.hex:
                actual = f"{self._wanted.digest.algorithm}:{self._hasher.hexdigest()}"
                raise mismatch(self._wanted, actual)
        return data

    def _next(self, size: int) -> bytes:
        left = self._wanted.size - self._offset
        while True:
            try:
                if self._stream is None:
                    self._stream = self._opened.enter_context(self._source.blob(self._wanted, self._offset))
                data = self._stream.read(min(size, left + 1))
                if left and not data:
                    raise cut_short(self._wanted, self._offset)
                return data
            except TransientError:
                self._give_back()
                if self._tries.failed(self._offset):
                    raise
                time.sleep(self._tries.pause)

    def _give_back(self) -> None:
        self._stream = None
        self._opened.close()

    def __enter__(self) -> Self:
        """Begin; the source is opened at the first read."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what was opened."""
        self._give_back()


def mismatch(wanted: Descriptor, actual: object) -> ContentError:
    """Return the error for a blob that hashes to ``actual``."""
    return ContentError(
        f"blob digest does not match: expected {wanted.digest}, got {actual}",
        advice="the source holds or sends damaged bytes",
    )


def cut_short(wanted: Descriptor, offset: int) -> TransientError:
    """Return the error for a blob that ended after ``offset`` bytes."""
    return TransientError(
        f"blob {wanted.digest}: ended after {offset} of {wanted.size} bytes",
        advice="the source holds or sends less of it than its manifest says",
    )


@contextmanager
def naming(layer: Descriptor) -> Iterator[None]:
    """Let what a codec finds wrong, in words that begin with "layer", say of which layer."""
    try:
        yield
    except ContentError as error:
        if error.message.startswith(_UNNAMED) and str(layer.digest) not in error.message:
            error.message = f"{_UNNAMED}{layer.digest} {error.message.removeprefix(_UNNAMED)}"
        raise
