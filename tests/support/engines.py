"""A real Docker engine and a real Podman, each with storage of its own. What is not installed is an error."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_STARTUP = 30.0
_LONGEST = 1800.0
_VERBS = frozenset({"copy", "inspect", "validate", "unpack", "load", "save", "run", "image", "version"})


SPENT: dict[str, list[float]] = {}
"""Seconds of each call, by program and verb."""


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Note in `SPENT` how long the body takes."""
    begun = time.monotonic()
    try:
        yield
    finally:
        SPENT.setdefault(what, []).append(time.monotonic() - begun)


def spent() -> str:
    """Say how often each tool ran and how long it took, since the last call of this function."""
    lines = [
        f"{what}: {len(calls)} calls, {sum(calls):.1f} s, slowest {max(calls):.1f} s"
        for what, calls in sorted(SPENT.items())
    ]
    SPENT.clear()
    return "\n".join(lines)


def tool(*command: str | Path, timeout: float = 60) -> bytes:
    """Run a tool that must be there and must succeed; return what it prints."""
    words = [str(part) for part in command]
    if shutil.which(words[0]) is None:
        raise RuntimeError(f"{words[0]} is not installed; these tests need it")
    verb = next((word for word in words[1:] if word in _VERBS), "")
    with timed(f"{Path(words[0]).name} {verb}".strip()):
        done = subprocess.run(words, capture_output=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout


class Docker:
    def __init__(self, socket: Path) -> None:
        self.host = f"unix://{socket}"

    def __call__(self, *command: str | Path) -> bytes:
        return tool("docker", "-H", self.host, *command, timeout=_LONGEST)


class Podman:
    def __init__(self, folder: Path) -> None:
        self.store = f"[vfs@{folder / 'root'}+{folder / 'run'}]"
        places = ("--root", folder / "root", "--runroot", folder / "run")
        self._options = (*places, "--storage-driver", "vfs")

    def __call__(self, *command: str | Path) -> bytes:
        return tool("podman", *self._options, *command, timeout=_LONGEST)


@contextlib.contextmanager
def podman_storage() -> Iterator[Podman]:
    # Not in pytest's folder: Podman refuses a runroot of more than 50 characters.
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as name:
        yield Podman(Path(name))


@contextlib.contextmanager
def docker_engine() -> Iterator[Docker]:
    """Run a dockerd that touches no network and nothing outside its folder; stop it by its own process."""
    # Not in pytest's folder: the path of a socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="dockerd-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if shutil.which("dockerd") is None:
            raise RuntimeError("dockerd is not installed; these tests need it (apt install docker.io)")
        socket, log = folder / "docker.sock", folder / "log"
        network = ("--iptables=false", "--ip6tables=false", "--bridge=none")
        places = ("--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid")
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [str(part) for part in ("dockerd", *network, "-s", "vfs", *places, "-H", f"unix://{socket}")],
                stdout=stream,
                stderr=stream,
            )
        try:
            docker = Docker(socket)
            _await(docker, process, log)
            yield docker
        finally:
            # It ends its own containerd when asked; killed, it would leave that running.
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(docker: Docker, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTUP
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            docker("version")
            return
        time.sleep(0.1)
    raise RuntimeError(f"dockerd did not start: {log.read_text()[-1000:]}")
