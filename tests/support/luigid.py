"""A real luigid on loopback."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

_SETTINGS = "[scheduler]\nworker_disconnect_delay=3\nstate_path={}/state\n"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Luigid:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        (folder / "luigi.cfg").write_text(_SETTINGS.format(folder))

    def start(self) -> None:
        code = "from luigi.cmdline import luigid; luigid()"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code, "--address", "127.0.0.1", "--port", str(self._port)],
                env={"LUIGI_CONFIG_PATH": str(self._folder / "luigi.cfg"), "HOME": str(self._folder)},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/api/task_list", timeout=5):
                return
            time.sleep(0.05)
        raise RuntimeError(f"luigid did not start: {(self._folder / 'log').read_text()[-1000:]}")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @contextlib.contextmanager
    def held(self, clients: int) -> Iterator[None]:
        """Answer nobody until so many ask: whoever starts first has then no start over the others."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
            deadline = time.monotonic() + 60
            while self._asking() < clients:
                assert time.monotonic() < deadline, f"{self._asking()} of {clients} ask"
                time.sleep(0.02)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _asking(self) -> int:
        """Return how many connections to it are established, at the side of those who ask."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        return sum(row[2].endswith(f":{self._port:04X}") and row[3] == "01" for row in rows)

    def tasks(self) -> str:
        with urllib.request.urlopen(f"{self.url}/api/task_list", timeout=10) as answer:
            return str(answer.read().decode())


@contextlib.contextmanager
def luigid(folder: Path) -> Iterator[Luigid]:
    folder.mkdir()
    server = Luigid(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
