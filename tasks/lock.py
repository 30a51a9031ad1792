"""The lock of a run folder: one run at a time."""

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
_POLL_SECONDS: Final = 0.01
_PATIENCE_SECONDS: Final = 1.0
"""The processes of a run that was killed end a moment after it, and hold its lock until then."""


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the run folder for this process, making it if need be.

    Raises:
        ConflictError: another process holds it.
    """
    with at_disk(root):
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(handle, root)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _take(handle: int, root: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                holder = os.pread(handle, 64, 0).decode("ascii", "replace").strip()
                raise ConflictError(
                    f"run folder {root} is in use by process {holder or 'unknown'}",
                    advice="wait for it, or see where it stands with: transship status",
                ) from error
            time.sleep(_POLL_SECONDS)
        else:
            return
