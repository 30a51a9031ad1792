"""Commands in processes of their own at a tenth of the price: forked from one that has loaded the product.

Each is the real `start` in a fresh process whose peak memory the kernel tells; nothing it does is seen by the next.
What only the start of an interpreter reads, as PYTHONPATH and the locale, is that of the process that forks.
"""

import atexit
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
_START = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{_TESTS / 'path'}:{_TESTS}", "LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Ended:
    """What came of a process; ``memory`` is the peak of its resident set in bytes, shared pages too."""

    code: int
    out: bytes
    err: bytes
    memory: int
    hung: bool


class Forks:
    """The process that forks; of any number of commands at once, for any thread."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from support.forking import serve; serve()"],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                env=_START,
                start_new_session=True,
                # Ctrl-C reaches a command also where the tests run in the background.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )

    def run(self, folder: Path, words: Sequence[str], environ: Mapping[str, str], seconds: float) -> Ended:
        """Run the command in ``folder`` with just this environment; one that takes over ``seconds`` is killed."""
        mine, told = socket.socketpair()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        with mine, open(out, "rb") as out_stream, open(err, "rb") as err_stream:
            socket.send_fds(self._control, [b"."], [told.fileno(), out_end, err_end])
            told.close()
            os.close(out_end)
            os.close(err_end)
            asked = {
                "folder": str(folder),
                "words": list(words),
                "environ": dict(environ),
                "seconds": seconds,
                "umask": _umask(),
            }
            mine.sendall(f"{json.dumps(asked)}\n".encode())
            said = _read(out_stream.fileno(), err_stream.fileno(), mine.fileno())
        answer = json.loads(said[2])
        return Ended(answer["code"], said[0], said[1], answer["memory"], answer["hung"])

    def end(self) -> None:
        self._control.close()
        self._process.wait(30)


def _read(*handles: int) -> list[bytes]:
    """Return what each has, read to its end."""
    held = {handle: bytearray() for handle in handles}
    with selectors.DefaultSelector() as waiting:
        for handle in handles:
            waiting.register(handle, selectors.EVENT_READ)
        while waiting.get_map():
            for key, _ in waiting.select():
                data = os.read(key.fd, 1 << 16)
                held[key.fd] += data
                if not data:
                    waiting.unregister(key.fd)
    return [bytes(held[handle]) for handle in handles]


def _umask() -> int:
    told = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in told.splitlines() if line.startswith("Umask:")), 8)


_made: list[Forks] = []
_making = threading.Lock()


def forks() -> Forks:
    """Return the one of this process, which ends with it."""
    with _making:
        if not _made:
            _made.append(Forks())
            atexit.register(_made[0].end)
        return _made[0]


@dataclass(frozen=True)
class Done:
    """What came of a command; ``memory`` as in `Ended`."""

    code: int
    out: str
    err: str
    memory: int


class Zygote:
    """Runs commands without the user's environment; ``idle`` is the memory of a command that does nothing."""

    def __init__(self, home: Path) -> None:
        self._environ = {**_START, "PYTHONPATH": str(_TESTS / "path"), "HOME": str(home)}
        self.idle = self.run(home, "copy", "--help").memory

    def run(self, folder: Path, *words: str, seconds: int = 30, **environ: str) -> Done:
        """Run the command in ``folder``; one that takes over ``seconds`` is killed, and has a negative code."""
        ended = forks().run(folder, words, {**self._environ, **environ}, seconds)
        return Done(ended.code, ended.out.decode(errors="replace"), ended.err.decode(errors="replace"), ended.memory)
