"""The real command in a process of its own."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from support.figures import FULL
from support.zygote import forks

_ROOT = Path(__file__).resolve().parents[1] / "path"
_PATIENCE = 600 if FULL or "TRANSSHIP_IMAGES" in os.environ else 60
"""Seconds after which a command hangs: the acceptance tests' own images are large."""
ARGUMENTS = [sys.executable, "-m", "transship.pipeline.cli.main"]
"""Starts the command; a test may put something else in its place."""
_OWN = ARGUMENTS


def environment() -> dict[str, str]:
    """Return the environment that the command needs, over this one."""
    return {**os.environ, "PYTHONPATH": str(_ROOT)}


def begin(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start the command in ``folder``; SIGINT reaches it also where the tests run in the background."""
    return subprocess.Popen(
        [*ARGUMENTS, *words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def command(folder: Path, *words: str, under: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    """Run the command in ``folder`` to its end, begun by the words ``under`` where there are any.

    Else it is forked from a process that has loaded it.
    """
    if under:
        arguments = [*under, *ARGUMENTS, *words]
        return subprocess.run(
            arguments, cwd=folder, env=environment(), capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    if ARGUMENTS is not _OWN:
        process = begin(folder, *words)
        out, err = process.communicate(timeout=_PATIENCE)
        return subprocess.CompletedProcess(words, process.returncode, out, err)
    done = forks().run(folder, words, environment(), _PATIENCE)
    assert not done.hung, f"{words} took over {_PATIENCE} s and was killed: {done.err!r}"
    return subprocess.CompletedProcess(words, done.code, _text(done.out), _text(done.err))


def _text(raw: bytes) -> str:
    return io.TextIOWrapper(io.BytesIO(raw), "utf-8").read()


def killed(process: "subprocess.Popen[str]", reached: Callable[[], bool]) -> bool:
    """Kill ``process`` once ``reached``; say whether that came before its end, which is to be a good one.

    By what was reached, not by time, which says nothing on a machine of another speed.
    """
    try:
        while process.poll() is None and not reached():
            time.sleep(0.0005)
    finally:
        process.kill()
        _, said = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode != 0


def await_lock(process: "subprocess.Popen[str]", run: Path) -> bool:
    """Wait until ``process`` holds the run folder; say whether it does before it ends."""
    lock = run / "lock"
    while process.poll() is None:
        if lock.exists() and lock.read_text() == f"{process.pid}\n":
            return True
        time.sleep(0.001)
    return False


def tree(root: Path) -> dict[str, tuple[int, str]]:
    """Return name, mode and hash of all there is under ``root``."""
    paths = sorted(root.rglob("*"))
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in paths
    }
