"""Case 29 of docs/reliability.md, by strace: the k-th write of a thread fails, as the kernel would say it."""

import errno
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import command, tree
from support.fault_job import RUN, leftovers
from support.figures import FULL, figure
from support.images import make_image, write_layout

CALLS = "write,pwrite64,writev,pwritev,copy_file_range,sendfile"
PLACES = ["oci:out/mirror:v1", "dir:out/new/dir", "oci-archive:out/a.tar:v1", "docker-archive:out/d.tar:x:v1"]
MOST = 200
_INJECTED = re.compile(r"^\d+ +(\w+)\((.*)\) += -1 .*\(INJECTED\)$")
_HANDLE = re.compile(r"\b(\d+)<([^>]*)>")


def hit(log: Path) -> Iterator[tuple[int, str]]:
    """Yield handle and path of what the failing calls of a run would have written to."""
    for line in log.read_text().splitlines():
        if found := _INJECTED.match(line):
            # Of a copy in the kernel the file written to stands last, of sendfile first.
            handles = _HANDLE.findall(found[2])
            handle, path = handles[-1 if found[1] == "copy_file_range" else 0]
            yield int(handle), path


def check_said(work: Path, hits: list[tuple[int, str]], done: "subprocess.CompletedProcess[str]", name: str) -> None:
    """Each line that is said gives the reason and what to do; what fails to be said at all ends by its code."""
    assert "Traceback" not in done.stderr
    if not any(path.startswith(str(work)) for _, path in hits):
        assert done.returncode in (0, 1)
        return
    assert done.returncode == 1, (hits, done.stderr)
    # Files are what it is about: pipes are told apart from them, and one of them is where errors are said.
    if any(handle <= 2 for handle, _ in hits):
        return
    lines = done.stderr.splitlines()
    assert 1 <= len(lines) <= len(PLACES)
    for line in lines:
        assert os.strerror(getattr(errno, name)) in line
        assert f" {work}/" in line
        assert "; " in line, "it does not say what to do"


@pytest.mark.parametrize("name", ["ENOSPC", "EIO"])
def test_29_a_write_that_fails_is_one_clear_line_and_the_same_command_heals(tmp_path: Path, name: str) -> None:
    """Every seventh of each thread's, TRANSSHIP_FULL=1 all of them; every thread's k-th fails in the one run."""
    write_layout(tmp_path / "source", {"v1": make_image("writes", layers=2, layer_size=20_000)})
    whole, files, others, k = dict[str, tuple[int, str]](), 0, 0, 0
    for k in (0, *range(1 if name == "ENOSPC" else 3, MOST, 1 if FULL else 7)):
        work = tmp_path / f"k{k}"
        (work / "out").mkdir(parents=True)
        listed = [{"from": "oci:../source:v1", "to": PLACES}]
        (work / "batch.yaml").write_text(json.dumps({"version": 1, "images": listed}))
        inject = ["-e", f"inject={CALLS}:error={name}:when={k}"] if k else []
        words = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", "log", "-e", f"trace={CALLS}", *inject]
        done = command(work, *RUN, "--workers", "1", under=words)
        hits = list(hit(work / "log"))
        if k and not hits:
            break
        if k:
            check_said(work, hits, done, name)
        files += sum(path.startswith(str(work)) for _, path in hits)
        others += sum(not path.startswith(str(work)) for _, path in hits)
        again = command(work, *RUN)
        assert (again.returncode, again.stderr) == (0, "")
        whole = whole or tree(work / "out")
        assert tree(work / "out") == whole
        assert leftovers(work) == []
    figure(29, f"{name}: {files} writes to files and {others} others fail: exit 1, 0 not healed")
    assert files >= 2
    assert k < MOST - 7
