"""How much of the disk folders take, and the most that they took while something ran."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PAUSE = 0.01


def allocated(*folders: Path) -> int:
    """Return the bytes that the disk gave to all below ``folders``, which may change meanwhile.

    A file of several names counts once.
    """
    found: dict[tuple[int, int], int] = {}
    waiting = [str(folder) for folder in folders]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    state = entry.stat(follow_symlinks=False)
                    found[state.st_dev, state.st_ino] = state.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
    return sum(found.values())


class Peak:
    """The largest of all samples, in bytes, and how many there were."""

    def __init__(self) -> None:
        self.bytes = self.samples = 0


@contextmanager
def disk_peak(*folders: Path) -> Iterator[Peak]:
    """Sample what ``folders`` take, until the body ends."""
    peak, ended = Peak(), threading.Event()

    def sample() -> None:
        while True:
            peak.bytes, peak.samples = max(peak.bytes, allocated(*folders)), peak.samples + 1
            if ended.wait(_PAUSE):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()
