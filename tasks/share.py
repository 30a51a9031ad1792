"""The next number, drawn by several processes: each number goes to one of them."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Final

_WIDTH: Final = 8


class Share:
    """Numbers from 0 up to ``count``, in order. Made before the processes fork; one thread of each draws.

    A record lock guards it, not one of multiprocessing's: that of a process that is killed is released.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open as long as this object

    def close(self) -> None:
        """Let go of the numbers, in this process."""
        self._file.close()

    def draw(self) -> Iterator[int]:
        """Yield the numbers that no other process has drawn."""
        while (number := self._next()) < self._count:
            yield number

    def end(self) -> None:
        """Let no process draw any more."""
        self._swap(lambda _: self._count)

    def _next(self) -> int:
        return self._swap(lambda number: number + 1)

    def _swap(self, change: Callable[[int], int]) -> int:
        handle = self._file.fileno()
        fcntl.lockf(handle, fcntl.LOCK_EX)
        try:
            number = int.from_bytes(os.pread(handle, _WIDTH, 0), "little")
            os.pwrite(handle, change(number).to_bytes(_WIDTH, "little"), 0)
        finally:
            fcntl.lockf(handle, fcntl.LOCK_UN)
        return number
