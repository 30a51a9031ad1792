"""``sif:`` as a source: a Singularity image made by its own tool, beside skopeo; and damaged ones."""

import json
import os
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.command import command, tree
from support.engines import tool
from support.peers import ours

DEFINITION = """\
Bootstrap: docker
%environment
    export GREETING=hello
    # a comment
%runscript
    echo $GREETING

    exit 3
%post
    true
"""
PRIMARY, ELSE = "2", "1"
SQUASHFS = "1"


def root_file_system(folder: Path) -> Path:
    """Make a squashfs with what a root file system has: links, owners, modes, devices, long names, attributes."""
    root = folder / "root"
    deep = root / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (root / "bin").mkdir()
    (root / "bin/tool").write_bytes(bytes(range(256)) * 1000)
    (root / "bin/tool").chmod(0o4755)
    os.link(root / "bin/tool", root / "same")
    (root / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "fifo")
    os.mknod(root / "null", 0o20666, os.makedev(1, 3))
    os.chown(root / "bin", 12, 34)
    os.utime(root / "bin/tool", (0, 1_600_000_000))
    made = folder / "root.squashfs"
    tool("mksquashfs", root, made, "-quiet", "-no-progress", "-noappend")
    return made


def make_sif(path: Path, file_system: Path, definition: str = "", *, part: str = PRIMARY, kind: str = SQUASHFS) -> Path:
    tool("siftool", "new", path)
    if definition:
        (path.parent / "definition").write_text(definition)
        tool("siftool", "add", path, path.parent / "definition", "--datatype", "1")
    words = ("--datatype", "4", "--parttype", part, "--partfs", kind, "--partarch", "2")
    tool("siftool", "add", path, file_system, *words)
    return path


@pytest.fixture(scope="module")
def file_system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return root_file_system(tmp_path_factory.mktemp("squashfs"))


def image(folder: Path) -> tuple[Any, Any]:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    return manifest, json.loads((folder / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes())


def entries(folder: Path, *, script_too: bool = True) -> dict[str, tuple[object, ...]]:
    """Return what the one layer says of each file: content by first name of a hard link, times in whole seconds."""
    manifest, _ = image(folder)
    [layer] = manifest["layers"]
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(folder / layer["digest"].removeprefix("sha256:")) as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.isreg() or entry.islnk() else None
            kind = tarfile.REGTYPE if entry.islnk() else entry.type
            link = entry.linkname if entry.issym() else ""
            # skopeo writes the start script at the time of the copy.
            time = 0 if entry.name.startswith("./podman") else int(entry.mtime)
            content = stream.read() if stream else b""
            device = (entry.devmajor, entry.devminor) if entry.ischr() else ()
            found[entry.name] = (kind, entry.mode, entry.uid, entry.gid, link, time, content, device)
    return found


@pytest.mark.parametrize("definition", ["", DEFINITION], ids=["bare", "script"])
def test_image_holds_what_skopeo_makes_of_it(tmp_path: Path, file_system: Path, definition: str) -> None:
    make_sif(tmp_path / "a.sif", file_system, definition)
    ours(tmp_path, "copy", "-q", "sif:a.sif", "dir:ours")
    (tmp_path / "theirs").mkdir()
    words = ["skopeo", "--insecure-policy", "copy", "-q", "sif:a.sif", "dir:theirs"]
    subprocess.run(words, cwd=tmp_path, env={**os.environ, "TZ": "UTC"}, check=True, timeout=60, capture_output=True)
    mine, theirs = entries(tmp_path / "ours"), entries(tmp_path / "theirs")
    assert len(mine) >= 9
    assert mine == theirs
    (my_manifest, mine_said), (their_manifest, theirs_said) = image(tmp_path / "ours"), image(tmp_path / "theirs")
    layers = [manifest["layers"][0].pop("digest") for manifest in (my_manifest, their_manifest)]
    for manifest in (my_manifest, their_manifest):
        assert manifest["layers"][0].pop("size") > 0
        del manifest["config"]["digest"]
    assert my_manifest == their_manifest
    own, their_own = (layer.removeprefix("sha256:") for layer in layers)
    assert json.loads(json.dumps(theirs_said).replace(their_own, own)) == mine_said


def test_start_script_sets_the_environment_and_runs(tmp_path: Path, file_system: Path) -> None:
    make_sif(tmp_path / "a.sif", file_system, DEFINITION)
    ours(tmp_path, "copy", "-q", "sif:a.sif", "dir:out")
    assert image(tmp_path / "out")[1]["config"]["Cmd"] == ["/podman/runscript"]
    script = entries(tmp_path / "out")["./podman/runscript"]
    assert script[1] == 0o755
    assert script[6] == b"#!/bin/bash\nexport GREETING=hello\necho $GREETING\n\nexit 3\n"


def test_same_file_gives_the_same_bytes(tmp_path: Path, file_system: Path) -> None:
    make_sif(tmp_path / "a.sif", file_system, DEFINITION)
    for name in ("one", "two"):
        ours(tmp_path, "copy", "-q", "sif:a.sif", f"dir:{name}")
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_batch_takes_it(tmp_path: Path, file_system: Path) -> None:
    make_sif(tmp_path / "a.sif", file_system)
    (tmp_path / "batch.yaml").write_text("version: 1\nimages:\n- {from: 'sif:a.sif', to: ['oci:out:{name}']}\n")
    ours(tmp_path, "run", "batch.yaml")
    assert ours(tmp_path, "inspect", "--raw", "oci:out:a.sif") == ours(tmp_path, "inspect", "--raw", "sif:a.sif")


def test_file_system_may_have_the_folder_of_the_script_but_no_link_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "root/podman").mkdir(parents=True, mode=0o700)
    (tmp_path / "root/podman").chmod(0o700)
    (tmp_path / "root/podman/runscript").write_text("older")
    tool("mksquashfs", tmp_path / "root", tmp_path / "folder", "-quiet", "-no-progress")
    make_sif(tmp_path / "folder.sif", tmp_path / "folder", DEFINITION)
    ours(tmp_path, "copy", "-q", "sif:folder.sif", "dir:out")
    found = entries(tmp_path / "out")
    assert found["./podman"][1] == 0o700
    assert b"GREETING" in bytes(str(found["./podman/runscript"][6]), "ascii")

    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/podman").symlink_to(tmp_path)
    tool("mksquashfs", tmp_path / "linked", tmp_path / "link", "-quiet", "-no-progress")
    make_sif(tmp_path / "link.sif", tmp_path / "link", DEFINITION)
    refused(tmp_path, "link.sif", "/podman is no folder")
    assert not (tmp_path / "runscript").exists()


def refused(folder: Path, name: str, said: str) -> None:
    before = tree(folder)
    done = command(folder, "copy", f"sif:{name}", "dir:refused")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert said in done.stderr
    assert name in done.stderr
    assert tree(folder) == before


def patched(path: Path, offset: int, raw: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(raw)


# Places in the header (sylabs/sif v2): magic 32, version 42, descriptors' count 88 and place 96; the first descriptor.
TABLE = 4096
DAMAGE = {
    "no magic": (32, b"SIF_MUGIC", "no SIF file"),
    "a version to come": (42, b"02", "expected 01"),
    "a million descriptors": (88, struct.pack("<q", 10**6), "damaged"),
    "a negative count": (88, struct.pack("<q", -1), "damaged"),
    "descriptors behind the end": (96, struct.pack("<q", 1 << 62), "damaged"),
    "no partition": (TABLE, struct.pack("<i", 0x4007), "0 primary system partitions"),
    "a partition behind the end": (TABLE + 17, struct.pack("<q", 1 << 62), "cut short or damaged"),
    "a negative size": (TABLE + 25, struct.pack("<q", -5), "cut short or damaged"),
    "another file system": (TABLE + 201, struct.pack("<i", 5), "an encrypted squashfs"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_header_is_an_error_of_one_line_and_leaves_nothing(
    tmp_path: Path, file_system: Path, name: str
) -> None:
    offset, raw, said = DAMAGE[name]
    patched(make_sif(tmp_path / "a.sif", file_system), offset, raw)
    refused(tmp_path, "a.sif", said)


def test_damaged_or_short_file_system_is_an_error(tmp_path: Path, file_system: Path) -> None:
    whole = make_sif(tmp_path / "a.sif", file_system).read_bytes()
    (tmp_path / "short.sif").write_bytes(whole[:-100])
    refused(tmp_path, "short.sif", "cut short or damaged")
    (tmp_path / "garbage").write_bytes(b"garbage" * 1000)
    make_sif(tmp_path / "garbage.sif", tmp_path / "garbage")
    refused(tmp_path, "garbage.sif", "its squashfs cannot be read")


def test_file_system_that_unpacks_without_measure_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with (tmp_path / "root/zeros").open("wb") as stream:
        stream.truncate(100 << 20)
    tool("mksquashfs", tmp_path / "root", tmp_path / "bomb", "-quiet", "-no-progress")
    make_sif(tmp_path / "bomb.sif", tmp_path / "bomb")
    refused(tmp_path, "bomb.sif", "decompression bomb")


@pytest.mark.parametrize("path", ["none.sif", "folder"])
def test_what_is_no_file_is_exit_code_1(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    done = command(tmp_path, "inspect", f"sif:{path}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_where_the_program_is_missing_the_error_names_what_to_install(
    tmp_path: Path, file_system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sif(tmp_path / "a.sif", file_system)
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(tmp_path, "a.sif", "install squashfs-tools-ng")
