"""Stages of one stream side by side: a stage that runs ahead in a thread, work on all cores with its order kept.

Nothing here changes what comes out, only when: the order of pieces never depends on threads or cores.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

T = TypeVar("T")
Job = TypeVar("Job")
Buffer: TypeAlias = "bytes | memoryview"

CORES: Final = os.cpu_count() or 1
_MAX_UNDER_WAY: Final = 8
_POLL: Final = 0.05


def ahead(pieces: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Yield what ``pieces`` yields, made in a thread of its own, at most ``depth`` pieces ahead.

    What ``pieces`` raises is raised here, in its place. The thread has ended once the iterator is
    exhausted or closed.
    """
    line: queue.Queue[tuple[list[T], BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def offer(item: tuple[list[T], BaseException | None]) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                line.put(item, timeout=_POLL)
                return

    def run() -> None:
        try:
            for piece in pieces:
                offer(([piece], None))
                if stop.is_set():
                    return
            offer(([], None))
        except BaseException as error:
            offer(([], error))

    thread = threading.Thread(target=run, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            piece, error = line.get()
            if error is not None:
                raise error
            if not piece:
                return
            yield piece[0]
    finally:
        stop.set()
        with suppress(queue.Empty):
            line.get_nowait()
        thread.join()


class InOrder(Generic[Job, T]):
    """Runs ``work`` on jobs on all cores; results come back in the order of the jobs, few are held."""

    def __init__(self, work: Callable[[Job], T]) -> None:
        self.begun = False
        """Whether anything was added yet."""
        self._work = work
        self._running: deque[Future[T]] = deque()

    def add(self, job: Job) -> Iterator[T]:
        """Begin with ``job``; yield the results that are due, waiting where too many are under way."""
        self.begun = True
        self._running.append(pool().submit(self._work, job))
        while self._running and (len(self._running) > min(CORES, _MAX_UNDER_WAY) or self._running[0].done()):
            yield self._running.popleft().result()

    def rest(self) -> Iterator[T]:
        """Yield all results left."""
        while self._running:
            yield self._running.popleft().result()


@cache
def pool() -> "ThreadPoolExecutor":
    """Return the process's threads for work that waits for nothing, one a core."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only who packs pays for it

    return ThreadPoolExecutor(CORES, "codec")
