"""Commands in processes of their own at a hundredth of the price: forked from one that has loaded the product.

Each is the real `main` in a fresh process whose peak memory the kernel tells; nothing it does is seen by the next.
Run as a program this is the one that forks.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PATH = Path(__file__).resolve().parents[1] / "path"
_LOADED = (
    "copy_wish", "copy", "delete", "inspect", "list_tags", "login", "report", "run", "status", "sync", "verify",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What came of a command; ``memory`` is the peak of its resident set in bytes, shared pages too."""

    code: int
    out: str
    err: str
    memory: int


class Zygote:
    """The process that forks. Not thread-safe."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.idle = 0

    def run(self, folder: Path, *words: str, seconds: int = 30, **environ: str) -> Done:
        """Run the command in ``folder``; one that takes over ``seconds`` is killed, and has a negative code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"folder": str(folder), "words": words, "seconds": seconds, "environ": environ}
        self._process.stdin.write(f"{json.dumps(asked)}\n")
        self._process.stdin.flush()
        return Done(**json.loads(self._process.stdout.readline()))


@contextlib.contextmanager
def zygote(home: Path) -> Iterator[Zygote]:
    """Start it without the user's environment; ``idle`` is what a command takes that does nothing."""
    path = f"{_PATH}:{_PATH.parent}"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        found = Zygote(process)
        found.idle = found.run(home, "copy", "--help").memory
        yield found
    finally:
        process.stdin.close()  # type: ignore[union-attr]
        process.wait(30)
        process.stdout.close()  # type: ignore[union-attr]


def _child(asked: Mapping[str, object], out: int, err: int) -> None:
    """Be the command; never returns."""
    code = 70
    try:
        os.setsid()
        signal.alarm(int(str(asked["seconds"])))
        os.chdir(str(asked["folder"]))
        os.environ.update(asked["environ"])  # type: ignore[call-overload]
        null = os.open(os.devnull, os.O_RDONLY)
        for handle, place in ((null, 0), (out, 1), (err, 2)):
            os.dup2(handle, place)
        try:
            main = importlib.import_module("transship.pipeline.cli.main").main
            code = main(asked["words"])  # type: ignore[arg-type]
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def load() -> None:
    """Load what the commands need, so that no fork has to."""
    for name in _LOADED:
        importlib.import_module(f"transship.pipeline.cli.{name}")
    for name in ("luigi", "yaml", "jsonschema", "transship.tasks.run", "transship.pipeline.batch", "pyzstd", "isal"):
        importlib.import_module(name)


def _serve() -> None:
    load()
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if not child:
                _child(json.loads(line), out.fileno(), err.fileno())
            _, status, used = os.wait4(child, 0)
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode("utf-8", "replace"))
            code = os.waitstatus_to_exitcode(status)
            answer = {"code": code, "out": texts[0], "err": texts[1], "memory": used.ru_maxrss << 10}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
