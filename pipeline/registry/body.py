"""Bodies of answers: documents read whole within a limit, blobs read as they arrive.

Every failure inside a body becomes `TransientError`: asking again may bring the rest.
"""

import io
import time
from typing import Final

from transship.pipeline import trace
from transship.pipeline.errors import ContentError, TransientError
from transship.pipeline.registry.faults import WireError, reason
from transship.pipeline.registry.pace import Pace
from transship.pipeline.registry.response import Response

_PIECE: Final = 64 << 10
_CHUNK: Final = 1 << 20
_LEAST: Final = 64 << 10
"""Bytes that a blob must bring within the time for which it may stand still: less is no progress worth a slot."""


def read_document(response: Response, limit: int, seconds: float, what: object, *, cut: bool = False) -> bytes:
    """Return the whole body of ``response``, whose connection is then free or closed.

    ``what`` spells the request in messages. ``cut`` keeps the start of a longer body instead of raising.

    Raises:
        ContentError: it is longer than ``limit`` bytes.
        TransientError: it takes longer than ``seconds``.
        WireError: the connection broke.
    """
    deadline = 0.0
    pieces: list[bytes] = []
    size = 0
    while data := response.read1(_PIECE):
        pieces.append(data)
        size += len(data)
        if size > limit:
            response.close()
            if cut:
                break
            raise ContentError(f"{what}: answers more than the limit of {limit} bytes")
        if response.length_remaining == 0:
            break
        now = time.monotonic()
        deadline = deadline or now + seconds
        if now > deadline:
            response.close()
            raise TransientError(f"{what}: body not complete after {seconds:.0f} s")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def refuse_encoded(response: Response, what: object) -> None:
    """Raise `ContentError` where a body came encoded although none was asked for."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        raise ContentError(f"{what}: answers an encoded body, which was not asked for")


class BlobBody(io.RawIOBase):
    """A blob as it arrives: `read` returns what is there, at least a byte until the end.

    Holds one of the origin's slots until closed. A body cut short raises `TransientError`.
    """

    def __init__(self, response: Response, pace: Pace, what: object) -> None:
        """``what`` spells the request in messages."""
        super().__init__()
        self._response = response
        self._pace = pace
        self._what = what
        self._ended = False
        self._waited = self._waited_in_all = 0.0
        self._moved = 0
        self._came = 0
        self._begun = time.monotonic()

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes, empty at the end.

        Raises:
            TransientError: the connection broke, stood still or crawled too long, or ended early.
        """
        begun = time.monotonic()
        try:
            if size is None or size < 0:
                return b"".join(iter(lambda: self._response.read1(_CHUNK), b""))
            if self._ended:
                return b""
            data = self._response.read1(size)
            self._ended = self._response.length_remaining == 0
            self._came += len(data)
            self._weigh(len(data), time.monotonic() - begun)
            return data
        except WireError as error:
            raise TransientError(f"{self._what}: {reason(error)} inside the body") from error

    def skip(self, count: int) -> None:
        """Read ``count`` bytes and drop them; raises as `read` does, and where there are fewer."""
        while count:
            data = self.read(min(count, _CHUNK))
            if not data:
                raise TransientError(f"{self._what}: ended {count} bytes before what was asked for")
            count -= len(data)

    def _weigh(self, count: int, seconds: float) -> None:
        """Raise `TransientError` where the registry takes too long; what the reader takes does not count."""
        patience = self._pace.patience
        self._waited += seconds
        self._waited_in_all += seconds
        self._moved += count
        if not self._ended and self._waited > patience.idle_timeout and self._moved < _LEAST:
            raise TransientError(f"{self._what}: {self._moved} bytes in {self._waited:.0f} s, which is too slow")
        if self._moved >= _LEAST:
            self._waited, self._moved = 0.0, 0
        if not self._ended and 0 < patience.blob_timeout < self._waited_in_all:
            raise TransientError(f"{self._what}: not complete after {self._waited_in_all:.0f} s")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill ``buffer`` from its start; return the number of bytes; raises as `read` does."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Free the connection: to be used again if the body was read to its end, else closed."""
        if not self.closed:
            super().close()
            trace.tell("%s: %d bytes came, %.3f s", self._what, self._came, time.monotonic() - self._begun)
            self._response.close()
            self._pace.slots.release()
