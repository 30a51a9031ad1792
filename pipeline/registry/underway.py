"""The uploads of one registry that are under way, so that an interrupt can end them and leave none behind."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from transship.pipeline.errors import InterruptError


class Underway:
    """Counts uploads. Thread-safe."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()
        self._stopped = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether every upload is to end at its next piece."""
        return self._stopped.is_set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one upload inside; raises `InterruptError` where none may begin any more."""
        with self._changed:
            if self.stopped:
                raise InterruptError("interrupted", advice="run again to go on")
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def stop(self, seconds: float) -> None:
        """Let all end, each cancelled where the registry can be told; wait for that, up to ``seconds``."""
        self._stopped.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._count, seconds)
