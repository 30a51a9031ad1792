"""What one script costs: wall time, CPU time, peak memory; what it leaves on disk and reads from a registry."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

TIMEOUT: Final = 3600.0
"""Seconds after which a script is killed."""
_DENSE: Final = 0.01
_SPARSE: Final = 0.05
_BEGINNING: Final = 0.5
"""Memory is sampled every `_DENSE` seconds for so long, then every `_SPARSE`: short commands are seen too."""
_REQUEST: Final = re.compile(r'"(?P<method>[A-Z]+) (?P<target>\S+) HTTP/[0-9.]+" (?P<status>\d+) (?P<size>\d+)')


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of wall and CPU time (user and system, of all processes), bytes of memory at the peak."""

    wall: float
    cpu: float
    memory: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a registry's log says of a stretch of time: bytes of bodies, requests for blobs, all requests."""

    bytes: int
    blobs: int
    requests: int


def measured(script: str, folder: Path, environment: Mapping[str, str]) -> Measured:
    """Run a shell script in ``folder`` to its end; ``error`` is its last line where it failed."""
    program, errors = folder / "script.sh", folder / "stderr.txt"
    program.write_text(f"set -eu\n{script}\n")
    with errors.open("wb") as stream:
        begun = time.perf_counter()
        process = subprocess.Popen(
            ["/bin/sh", str(program)],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
        watch = _Watch(process.pid)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            ended = time.perf_counter()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watch.ended.set()
            watch.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    error = ""
    if process.returncode:
        lines = errors.read_text(errors="replace").split("\n")
        error = next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {process.returncode}")
    return Measured(ended - begun, usage.ru_utime + usage.ru_stime, watch.peak, error)


class _Watch(threading.Thread):
    """Samples the memory of a process and all below it; kills them after `TIMEOUT`."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.peak = 0
        self._root = root

    def run(self) -> None:
        """Sample until ``ended`` is set."""
        begun = time.monotonic()
        while True:
            self.peak = max(self.peak, sum(_share(pid) for pid in _tree(self._root)))
            since = time.monotonic() - begun
            if self.ended.wait(_DENSE if since < _BEGINNING else _SPARSE):
                return
            if since > TIMEOUT:
                with suppress(ProcessLookupError):
                    os.killpg(self._root, signal.SIGKILL)


def _tree(root: int) -> list[int]:
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with suppress(OSError):
                    waiting += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def _share(pid: int) -> int:
    """Return the proportional set size: what is shared counts in parts that add up to one."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def disk_use(folder: Path) -> int:
    """Return the bytes allocated below ``folder``; a file with several names counts once."""
    sizes = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = os.lstat(os.path.join(root, name))
            sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def traffic(log: Path, start: int) -> Traffic:
    """Read a registry's access log from byte ``start`` on."""
    with log.open("rb") as stream:
        stream.seek(start)
        found = list(_REQUEST.finditer(stream.read().decode(errors="replace")))
    blobs = [one for one in found if one["method"] == "GET" and "/blobs/" in one["target"]]
    total = sum(int(one["size"]) for one in found if one["method"] == "GET")
    return Traffic(total, len(blobs), len(found))
