"""The real command in a fork of this process, killed or failed at the k-th step that changes the disk.

Steps are what Python audits: opening for writing, renaming, linking, making, removing, changing a mode. Run as
``python -m support.stepping FOLDER KIND K WORDS...``; prints how many steps there were.
"""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

_STEPS = frozenset({"os.rename", "os.link", "os.mkdir", "os.remove", "os.chmod", "os.truncate", "os.symlink"})


def changes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Say whether an audited event changes the disk."""
    if event == "open":
        return isinstance(arguments[0], (str, bytes)) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
    return event in _STEPS


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def step(k: int, act: Callable[[], None], under: str) -> Callable[[], int]:
    """Have ``act`` called at the ``k``-th step from now on in or below ``under``; return what counts them."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if changes(event, arguments):
            names = [os.fsdecode(one) for one in arguments if isinstance(one, (str, bytes, os.PathLike))]
            if event == "os.chmod" or any(under in name for name in names):
                seen += 1
                if seen == k:
                    act()

    sys.addaudithook(hook)
    return lambda: seen


def forked(folder: str, words: list[str], k: int = 0, act: Callable[[], None] = kill) -> tuple[int, int]:
    """Run the command in a fork of this process; return its exit code, or minus a signal, and its steps."""
    from transship.pipeline.cli.main import main  # noqa: PLC0415

    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 70
        try:
            os.chdir(folder)
            sink = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            # Processes end here, no power does: what the system holds of a file is what the next one reads.
            os.sync = os.fsync = lambda *_: None  # type: ignore[assignment]
            count = step(k, act, folder)
            code = main(words)
            os.write(writing, str(count()).encode())
        except BaseException:
            # Else the fork would end without a word of it.
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as stream:
        steps = int(stream.read() or 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), steps
