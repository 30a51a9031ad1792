"""A real Docker engine, Podman and containerd, each with storage of its own. What is not installed is an error."""

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_STARTUP = 30.0
_LONGEST = 1800.0
_VERBS = frozenset({"copy", "inspect", "validate", "unpack", "load", "save", "run", "image", "images", "version"})
_UNWANTED = (
    "grpc.v1.cri",
    "snapshotter.v1.aufs",
    "snapshotter.v1.btrfs",
    "snapshotter.v1.devmapper",
    "snapshotter.v1.zfs",
)


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


class Containerd:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def __call__(self, *command: str | Path) -> bytes:
        return tool("ctr", "--address", self._socket, *command, timeout=_LONGEST)

    def pull(self, name: str, *options: str) -> None:
        """Pull over plain HTTP, and unpack."""
        self("images", "pull", "--plain-http", "--snapshotter", "native", *options, name)

    def digests(self) -> dict[str, str]:
        """Return the digest of each image that is all there, by name."""
        lines = [line.split() for line in self("images", "check").decode().splitlines()[1:]]
        return {words[0]: words[2] for words in lines if words[3] == "complete"}


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
        socket, log = folder / "docker.sock", folder / "log"
        network = ("--iptables=false", "--ip6tables=false", "--bridge=none")
        places = ("--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid")
        docker = Docker(socket)
        # It ends its own containerd when asked; killed, it would leave that running.
        with _daemon("dockerd", *network, "-s", "vfs", *places, "-H", docker.host, log=log, client=docker):
            yield docker


@contextlib.contextmanager
def containerd() -> Iterator[Containerd]:
    """Run a containerd for images alone that touches nothing outside its folder."""
    with tempfile.TemporaryDirectory(prefix="containerd-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        settings = {"root": folder / "root", "state": folder / "state"}
        # Its part for Kubernetes wants a network, and others the kernel's modules.
        lines = ["version = 2", *(f"{key} = '{path}'" for key, path in settings.items())]
        lines += [f"disabled_plugins = {[f'io.containerd.{kind}' for kind in _UNWANTED]}"]
        lines += [f"[grpc]\naddress = '{folder}/sock'", f"[ttrpc]\naddress = '{folder}/ttrpc'"]
        (folder / "config.toml").write_text("\n".join(lines) + "\n")
        client = Containerd(folder / "sock")
        with _daemon("containerd", "-c", folder / "config.toml", log=folder / "log", client=client):
            yield client


@contextlib.contextmanager
def _daemon(*command: str | Path, log: Path, client: Docker | Containerd) -> Iterator[None]:
    if shutil.which(str(command[0])) is None:
        raise RuntimeError(f"{command[0]} is not installed; these tests need it (apt install docker.io)")
    with log.open("wb") as stream:
        process = subprocess.Popen([str(part) for part in command], stdout=stream, stderr=stream)
    try:
        _await(client, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(client: Docker | Containerd, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTUP
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(AssertionError):
            client("version")
            return
        time.sleep(0.1)
    raise RuntimeError(f"{process.args} did not start: {log.read_text()[-1000:]}")
