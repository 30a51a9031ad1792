"""Cases 23 and 29 of docs/reliability.md, by strace: what reaches the disk in which order, and fsyncs that fail.

Data is synced, renamed, its folder synced, and only then a checkpoint says so.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import command, tree
from support.fault_job import RUN, leftovers
from support.figures import FULL, figure
from support.images import make_image, write_layout

CALLS = "openat,write,pwrite64,copy_file_range,ftruncate,fsync,fdatasync,rename,renameat2,link,linkat,mkdir"
_BEGUN = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += +(\d+)(?:<(.*)>)?$")
_NAMES = re.compile(r'"([^"]*)"')
_HANDLES = re.compile(r"\b\d+<([^>]*)>")


def calls(log: Path) -> Iterator[tuple[str, str, str]]:
    """Yield name, arguments and the path of a result for each call that succeeded, as it ended."""
    begun: dict[str, str] = {}
    for line in log.read_text().splitlines():
        if found := _BEGUN.match(line):
            begun[found[1]] = found[2]
            continue
        if (found := _RESUMED.match(line)) and found[1] in begun:
            line = f"{found[1]} {begun.pop(found[1])}{found[2]}"  # noqa: PLW2901
        if found := _CALL.match(line):
            yield found[2], found[3], found[5] or ""


class Disk:
    """What a power cut would take: files written and folders changed since they were last synced."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file: dict[str, int] = {}
        self._unsynced: set[int] = set()
        self.folders: set[str] = set()
        self.synced = 0

    def at(self, path: str) -> str:
        return os.path.normpath(self._root / path)

    def follow(self, call: str, arguments: str, result: str) -> str | None:
        """Take in a call; return the path that appeared by it as a whole, by a rename or a link."""
        if call == "openat" and "O_CREAT" in arguments:
            self._appears(result, self._file.get(result, len(self._file)))
        elif call == "mkdir":
            self.folders.add(os.path.dirname(self.at(_NAMES.findall(arguments)[0])))
        elif call in ("fsync", "fdatasync"):
            self._sync(_HANDLES.findall(arguments)[0])
        elif call in ("rename", "renameat2", "link", "linkat"):
            old, new = map(self.at, _NAMES.findall(arguments))
            self._move(old, new, keep=call.startswith("link"))
            return new
        elif handles := _HANDLES.findall(arguments):
            self._unsynced.add(self._number(handles[-1]))
        return None

    def lost(self, below: str) -> list[str]:
        """Return the files at or below a path whose bytes are not synced."""
        return sorted(
            path
            for path, number in self._file.items()
            if (path == below or path.startswith(f"{below}/")) and number in self._unsynced
        )

    def _number(self, path: str) -> int:
        return self._file.setdefault(path, len(self._file))

    def _appears(self, path: str, number: int) -> None:
        if path not in self._file:
            self.folders.add(os.path.dirname(path))
        self._file[path] = number

    def _sync(self, path: str) -> None:
        self.synced += 1
        self._unsynced.discard(self._file.get(path, -1))
        self.folders.discard(path)

    def _move(self, old: str, new: str, *, keep: bool) -> None:
        for path in [path for path in self._file if path == old or path.startswith(f"{old}/")]:
            self._file[new + path.removeprefix(old)] = self._file[path] if keep else self._file.pop(path)
        self.folders = {
            new + path.removeprefix(old) if path == old or path.startswith(f"{old}/") else path for path in self.folders
        }
        self.folders |= {os.path.dirname(new)} | (set() if keep else {os.path.dirname(old)})


PLACES = {
    "oci:out/mirror:v1": "out/mirror/index.json",
    "dir:out/new/dir": "out/new/dir",
    "oci-archive:out/a.tar:v1": "out/a.tar",
    "docker-archive:out/d.tar:x:v1": "out/d.tar",
}


@pytest.mark.parametrize("to", PLACES)
def test_23_data_then_its_name_then_the_folder_then_the_checkpoint_reach_the_disk(tmp_path: Path, to: str) -> None:
    write_layout(tmp_path / "source", {"v1": make_image("order", layers=2, layer_size=20_000)})
    (tmp_path / "out").mkdir()
    (tmp_path / "batch.yaml").write_text(json.dumps({"version": 1, "images": [{"from": "oci:source:v1", "to": [to]}]}))
    words = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", "log", "-e", f"trace={CALLS}"]
    done = command(tmp_path, *RUN, under=words)
    assert done.returncode == 0, done.stderr

    disk, wrong, marks = Disk(tmp_path), list[str](), list[str]()
    whole, store = disk.at(PLACES[to]), disk.at("runs/batch/blobs")
    held = {"WriteImage.json": disk.at("out"), "FetchBlobs.json": store}
    for call, arguments, result in calls(tmp_path / "log"):
        appeared = disk.follow(call, arguments, result)
        if appeared == whole:
            marks.append("whole")
            # A layout becomes whole by its index: what that leads to is there by then.
            wrong += disk.lost(whole if "mirror" not in to else os.path.dirname(whole))
        if appeared and (below := held.get(os.path.basename(appeared))):
            marks.append(os.path.basename(appeared))
            if below != store:
                wrong += disk.lost(below)
                wrong += [folder for folder in disk.folders if (folder + "/").startswith(below + "/")]
            else:
                wrong += [path for path in disk.lost(below) if os.path.basename(path) in LAYERS]
                wrong += [folder for folder in disk.folders if folder == f"{store}/sha256"]
    left = disk.lost(disk.at("out")) + disk.lost(disk.at("runs/batch/batch.json"))
    left += [folder for folder in disk.folders if (folder + "/").startswith(disk.at("out") + "/")]
    figure(23, f"{to.partition(':')[0]}: {len(wrong) + len(left)} violations in {disk.synced} fsyncs")
    assert (wrong, left) == ([], [])
    assert marks == ["FetchBlobs.json", "whole", "WriteImage.json"]


LAYERS = {layer.digest.hex for layer in make_image("order", layers=2, layer_size=20_000).layers}
"""What the checkpoint of a fetch vouches for; a manifest's own file is hashed whenever it is read."""


def test_29_an_fsync_that_fails_is_an_error_and_the_same_command_heals(tmp_path: Path) -> None:
    """Every fifth of a thread's, TRANSSHIP_FULL=1 each; by strace, as the kernel would say it."""
    write_layout(tmp_path / "source", {"v1": make_image("order", layers=2, layer_size=20_000)})
    to = list(PLACES)
    trees, met = list[dict[str, tuple[int, str]]](), 0
    for k in (0, *range(1, 100, 1 if FULL else 5)):
        work = tmp_path / f"k{k}"
        (work / "out").mkdir(parents=True)
        (work / "batch.yaml").write_text(json.dumps({"version": 1, "images": [{"from": "oci:../source:v1", "to": to}]}))
        inject = ["-e", f"inject=fsync:error=EIO:when={k}"] if k else []
        words = ["strace", "-f", "-qq", "-o", "log", "-e", "trace=fsync", *inject]
        done = command(work, *RUN, "--workers", "1", under=words)
        if k and "(INJECTED)" not in (work / "log").read_text():
            break
        met += k > 0
        assert "Traceback" not in done.stderr
        assert (done.returncode == 1 and "Input/output error" in done.stderr) or done.returncode == 0, done.stderr
        again = command(work, *RUN)
        assert (again.returncode, again.stderr) == (0, "")
        trees.append(tree(work / "out"))
        assert trees[-1] == trees[0]
        assert leftovers(work) == []
    figure(29, f"{met} fsyncs that fail, one in each run: error or made good, 0 not healed")
    assert met >= 2
