"""What ``pip install`` puts on a machine is the whole of transship: the tests else run it from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("pipeline", "tasks", "schemas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    copied = folder / "checkout"
    # Not built in the checkout, where it would leave its own folders.
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, copied], check=True, timeout=60)
    for path in subprocess.run(
        ["git", "ls-files", "-m", "-o", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines():
        if (ROOT / path).is_file():
            (copied / path).parent.mkdir(parents=True, exist_ok=True)
            (copied / path).write_bytes((ROOT / path).read_bytes())
    words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(copied)]
    subprocess.run(words, check=True, timeout=240)
    return next(folder.glob("*.whl"))


def test_every_module_and_schema_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("transship/")}
    wanted = {
        f"transship/{path.relative_to(ROOT)}"
        for room in ROOMS
        for kind in ("*.py", "*.json")
        for path in (ROOT / room).rglob(kind)
    }
    assert held == wanted


def test_every_command_starts_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = f"""
import contextlib, importlib, io, pkgutil, sys
sys.path.insert(0, {str(tmp_path / "site")!r})
import transship.pipeline.cli as cli
assert cli.__file__.startswith({str(tmp_path / "site")!r}), cli.__file__
for found in pkgutil.iter_modules(cli.__path__):
    importlib.import_module("transship.pipeline.cli." + found.name)
    print(found.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {"copy", "inspect", "run", "sync"} <= set(done.stdout.split())
