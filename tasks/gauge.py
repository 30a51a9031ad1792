"""How far a part of a run is, told to luigid for its web page."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TypeAlias

from luigi.rpc import RPCError

_SECONDS: Final = 1.0
"""Between two reports: each is a call, and luigid does one thing at a time."""
_WHOLE: Final = 100

Percent: TypeAlias = Callable[[int], object]
Message: TypeAlias = Callable[[str], object]


class Gauge:
    """Counts the deliveries of a part as they end, and tells luigid of it once a second where that has changed.

    By a thread of its own, so that a luigid which does not answer holds nobody up.
    """

    def __init__(self, whole: int, percent: Percent, message: Message) -> None:
        self._whole = whole
        self._percent = percent
        self._message = message
        self._done = 0
        self._failed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not joined: what luigid makes of the part as a whole is told it in any case.
        self._over.set()

    def count(self, done: bool) -> None:
        """A delivery has ended, done or not. By one thread."""
        self._done += done
        self._failed += not done

    def _run(self) -> None:
        told = (0, 0)
        while not self._over.wait(_SECONDS):
            now = (self._done, self._failed)
            if now != told and self._tell(*now):
                told = now

    def _tell(self, done: int, failed: int) -> bool:
        try:
            self._percent(_WHOLE * (done + failed) // self._whole)
            self._message(f"{done} of {self._whole} deliveries verified, {failed} failed")
        except RPCError:
            return False
        return True
