"""What the README tells people to type works, in a copy of the checkout."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COPIED = ("pipeline", "tasks", "schemas", "demo", "README.md")


def blocks(mark: str) -> list[str]:
    return re.findall(rf"<!-- {re.escape(mark)} -->\n```\w+\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what the commands need, with ``transship`` and ``python3`` in ``bin/`` instead of a venv."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("out", "__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "transship").write_text(f'#!/bin/sh\nexec {sys.executable} -m transship.pipeline.cli.main "$@"\n')
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


def run(checkout: Path, script: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "tests" / "path"),
    }
    return subprocess.run(
        ["bash", "-euc", script],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_runnable_commands_run(checkout: Path) -> None:
    scripts = blocks("runnable")
    assert scripts[0].strip() == "make demo", "the demo comes first: the others use what it leaves"
    for script in scripts:
        # make demo is a virtual environment and this script; bin/ stands for the environment here.
        done = run(checkout, script.replace("make demo", "demo/run.sh"))
        assert done.returncode == 0, done.stdout + done.stderr
    assert (checkout / "demo/out/mirror/index.json").exists()
    assert (checkout / "demo/out/web-v2.tar").exists()
    assert (checkout / "demo/out/tool-v1/manifest.json").exists()


def test_the_batch_file_is_accepted(checkout: Path) -> None:
    (found,) = blocks("batch.yaml")
    (checkout / "batch.yaml").write_text(found)
    (checkout / "auth.json").write_text("{}")
    done = run(checkout, "transship run batch.yaml --dry-run")
    assert done.returncode == 0, done.stderr
    assert "docker://registry.example/team/web:v1.1" in done.stdout


def test_the_second_run_of_the_demo_fetches_nothing(checkout: Path) -> None:
    done = run(checkout, "demo/run.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "requests to the registry: 0\n" in done.stdout


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
