"""The lock of a run folder: one run at a time, or several machines at one run."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ConflictError

_LOCK: Final = "lock"
_PLANNING: Final = "planning.lock"
_POLL_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 4.0
"""The processes of a run that was killed end a moment after it, and hold its lock until then."""
_PLANNING_SECONDS: Final = 600.0


@contextmanager
def locked(root: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the run folder for this process, making it if need be; ``shared`` with others who say so too.

    Raises:
        ConflictError: another process holds it.
    """
    with at_disk(root):
        root.mkdir(parents=True, exist_ok=True)
    with _held(root / _LOCK, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, _PATIENCE_SECONDS) as handle:
        if not shared:
            with at_disk(root / _LOCK):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        if not shared:
            os.ftruncate(handle, 0)


@contextmanager
def planning(root: Path) -> Iterator[None]:
    """Hold the plan of a shared run folder while it is read and perhaps made: the first machine makes it for all.

    Raises:
        ConflictError: another process holds it for ten minutes.
    """
    with _held(root / _PLANNING, fcntl.LOCK_EX, _PLANNING_SECONDS):
        yield


@contextmanager
def _held(path: Path, kind: int, patience: float) -> Iterator[int]:
    with at_disk(path):
        # Emptied when it is held: not what a link leads to.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + patience
        while not _taken(handle, kind):
            if time.monotonic() > deadline:
                holder = os.pread(handle, 64, 0).decode("ascii", "replace").strip()
                raise ConflictError(
                    f"run folder {path.parent} is in use by process {holder or 'unknown'}",
                    advice="wait for it, or see where it stands with: transship status",
                )
            time.sleep(_POLL_SECONDS)
        yield handle
    finally:
        os.close(handle)


def _taken(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
