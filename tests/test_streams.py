"""Standard output and error that cannot be written: one line and exit 1, or nothing is lost; no file is left behind."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command import ARGUMENTS, command, environment
from support.images import make_image, write_layout
from support.serving import write_docker_archive

WHY = {"full": "No space left on device", "gone": "Broken pipe", "closed": "Bad file descriptor"}
TAGS = 2000
"""More than any buffer holds, so that writing fails in the middle of the command too."""


@contextmanager
def unwritable(kind: str) -> Iterator[int]:
    """Yield a descriptor that cannot be written: the disk is full, or the reader has gone."""
    if kind == "full":
        handle = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, handle = os.pipe()
        os.close(reading)
    try:
        yield handle
    finally:
        os.close(handle)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streams")
    image = make_image("image")
    write_layout(made / "from", {"v1": image})
    write_docker_archive(made / "few.tar", image, ["demo/app:v1"])
    write_docker_archive(made / "many.tar", image, [f"demo/app:v{number}" for number in range(TAGS)])
    (made / "batch.yaml").write_text("version: 1\ndefaults: {to: ['oci:out:v1']}\nimages: [{from: 'oci:from:v1'}]\n")
    return made


def ended(
    folder: Path, words: tuple[str, ...], kind: str, stream: str = "stdout"
) -> "subprocess.CompletedProcess[str]":
    """Run the command with one stream that cannot be written; nothing of it is left but what it made."""
    if kind == "closed":
        closing = {"stdout": ">&-", "stderr": "2>&-"}[stream]
        done = command(folder, *words, under=["sh", "-c", f'exec "$@" {closing}', "sh"])
    else:
        arguments = [*ARGUMENTS, *words]
        with unwritable(kind) as handle:
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: handle}
            done = subprocess.run(
                arguments, cwd=folder, env=environment(), **streams, text=True, timeout=60, check=False
            )
    assert [path for path in folder.rglob(".*") if path.name.startswith(".transship")] == []
    return done


def run_words(tmp_path: Path) -> tuple[str, ...]:
    return ("run", "batch.yaml", "--runs", str(tmp_path / "runs"), "--progress", "none")


@pytest.mark.parametrize("kind", WHY)
@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "oci:from:v1"),
        ("inspect", "--raw", "oci:from:v1"),
        ("list-tags", "docker-archive:few.tar"),
        ("list-tags", "docker-archive:many.tar"),
        ("run",),
        ("--help",),
        ("copy", "--help"),
    ],
    ids=" ".join,
)
def test_output_that_cannot_be_written_is_one_line_and_exit_1(folder, tmp_path, words, kind):
    whole = run_words(tmp_path) if words == ("run",) else words
    done = ended(folder, whole, kind)
    expected = f"transship: standard output: {WHY[kind]}; what it has may be cut short\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_a_run_whose_last_line_cannot_be_written_is_done_all_the_same(folder, tmp_path):
    assert ended(folder, run_words(tmp_path), "gone").returncode == 1
    again = command(folder, *run_words(tmp_path))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("1 images verified")


@pytest.mark.parametrize("kind", WHY)
def test_a_copy_which_says_nothing_there_is_done(folder, tmp_path, kind):
    done = ended(folder, ("copy", "-q", "oci:from:v1", f"oci:{tmp_path}/to:v1"), kind)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "to/index.json").exists()


@pytest.mark.parametrize("kind", WHY)
def test_what_cannot_be_told_on_standard_error_changes_no_exit_code_and_goes_nowhere_else(folder, tmp_path, kind):
    made = ended(folder, ("copy", "oci:from:v1", f"oci:{tmp_path}/to:v1"), kind, "stderr")
    assert (made.returncode, made.stdout) == (0, "")
    absent = ended(folder, ("copy", "oci:from:nothing", f"oci:{tmp_path}/to:v2"), kind, "stderr")
    assert (absent.returncode, absent.stdout) == (2, "")
    loud = ("run", "batch.yaml", "--runs", str(tmp_path / "runs"), "--progress", "json")
    ran = ended(folder, loud, kind, "stderr")
    assert ran.returncode == 0
    assert ran.stdout.startswith("1 images verified")
