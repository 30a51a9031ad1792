"""The machine and the versions that figures belong to."""

import os
import platform
import re
import shutil
import subprocess
import sys
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Final

from transship import pipeline
from transship.pipeline import __version__

_PROGRAMS: Final = {
    "skopeo": ("skopeo", "--version"),
    "crane": ("crane", "version"),
    "curl": ("curl", "--version"),
    "docker-registry": ("docker-registry", "--version"),
}


def described(work: Path) -> dict[str, str]:
    """Return names and values to print: processor, memory, kernel, file system of ``work``, load, versions."""
    found = {
        "processor": f"{_field('/proc/cpuinfo', 'model name')}, {os.cpu_count()} cores",
        "memory": f"{int(_field('/proc/meminfo', 'MemTotal').split()[0]) / 1e6:.0f} GB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(work),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "transship": f"{__version__}{_commit()}, {_installed()}",
        "Python": f"{sys.version.split()[0]}, zlib {zlib.ZLIB_RUNTIME_VERSION}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("luigi", "isal", "pyzstd")),
    }
    for name, command in _PROGRAMS.items():
        found[name] = _version(command) if shutil.which(name) else "not installed"
    return found


def _field(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"


def _file_system(work: Path) -> str:
    """Return the type of the mount with the longest path above ``work``."""
    above = {str(work), *map(str, work.parents)}
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [(len(fields[1]), fields[2]) for fields in mounts if fields[1] in above]
    return max(found)[1] if found else "unknown"


def _installed() -> str:
    """Say whether what is measured is what users have; a checkout's modules cost more to load."""
    checkout = Path(__file__).resolve().parent.parent / "pipeline"
    return "run from the checkout" if Path(pipeline.__file__).resolve().parent == checkout else "installed by pip"


def _commit() -> str:
    found = _line("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD")
    return f", commit {found}" if found else ""


def _version(command: tuple[str, ...]) -> str:
    said = _line(*command)
    numbers = re.search(r"v?\d+\.\d+[^\s,]*", said)
    return numbers[0] if numbers else said


def _line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.splitlines()[0].strip() if done.returncode == 0 and done.stdout else ""
