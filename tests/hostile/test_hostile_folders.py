"""Layouts and folders that nobody vouches for: rows 26, 27, 36, 38, 44 and 45, case 34. Beside each lies a sentinel."""

import json
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hostile import Reply, serving
from support.hostile_place import Place
from support.images import make_image, write_layout
from support.serving import write_directory

ROOT = Path(__file__).resolve().parents[2]
IMAGE = make_image("archive", docker=False)
DOCKER = make_image("archive", docker=True)
Members = list[tuple[str, bytes | tarfile.TarInfo]]


@pytest.mark.parametrize("name", ["out/../../x", "/etc/x", "\x1b[2J", "a:@1", "x" * 5000])
def test_row_36_the_names_in_a_layout_are_never_paths(place: Place, name: str) -> None:
    """Row 44 too: an annotation under our own words changes nothing."""
    write_layout(place.folder / "in", {name: IMAGE})
    index = place.folder / "in/index.json"
    document = json.loads(index.read_text())
    document["manifests"][0]["annotations"] |= {"transship.checkpoint": "done", "state": "verified"}
    index.write_text(json.dumps(document))
    (place.folder / "b.yaml").write_text("version: 1\nimages:\n  - from: 'oci:in:@0'\n    to: ['dir:out/{name}']\n")
    done = place.run("run", "b.yaml", may_change=("out", "runs"))
    assert done.code in (0, 2), done.err
    done = (
        place.run("copy", "oci:in", "dir:out/x")
        if (place.folder / "out").is_dir()
        else place.run("copy", "oci:in", "dir:out")
    )
    assert done.code == 0, done.err
    assert "\x1b" not in done.err


def test_row_36_folders_of_a_sync_are_below_its_destination(place: Place) -> None:
    write_directory(place.folder / "images", IMAGE)
    (place.folder / "images/link").symlink_to(place.folder / "sentinel")
    done = place.run(
        "sync", "--src", "dir", "--dest", "docker", "--dry-run", "images", "127.0.0.1:1/x", may_change=("runs",)
    )
    assert done.code == 0
    assert "letter" not in done.err
    assert "Would have synced 1 images" in done.err


@pytest.mark.parametrize("which", ["layer", "config", "manifest", "index.json", "oci-layout"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "endless"])
def test_row_38_a_file_of_a_layout_is_a_file(place: Place, which: str, kind: str) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    config = json.loads(IMAGE.manifest_raw)["config"]["digest"].partition(":")[2]
    blobs = {"layer": IMAGE.layers[0].digest.hex, "config": config, "manifest": IMAGE.digest.hex}
    victim = place.folder / "in" / (f"blobs/sha256/{blobs[which]}" if which in blobs else which)
    (place.folder / "moved").write_bytes(victim.read_bytes())
    victim.unlink()
    if kind == "fifo":
        os.mkfifo(victim)
    elif kind == "folder":
        victim.mkdir()
    else:
        # The one leads to just the right bytes, the other to bytes without end.
        victim.symlink_to(place.folder / "moved" if kind == "link" else "/dev/zero")
    place.copy_refused("oci:in:x", "dir:out", victim.name)
    assert place.run("verify", "oci:in:x").code == 1


@pytest.mark.parametrize("which", ["manifest.json", "layer"])
def test_row_38_a_file_of_a_dir_is_a_file(place: Place, which: str) -> None:
    write_directory(place.folder / "in", IMAGE)
    victim = place.folder / "in" / (which if which != "layer" else IMAGE.layers[0].digest.hex)
    (place.folder / "moved").write_bytes(victim.read_bytes())
    victim.unlink()
    victim.symlink_to(place.folder / "moved")
    place.copy_refused("dir:in", "oci:out:x", victim.name)


@pytest.mark.parametrize("which", ["blobs", "blobs/sha256"])
def test_row_26_nothing_is_written_or_removed_through_a_link_in_a_layout(place: Place, which: str) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    write_layout(place.folder / "dest", {"y": make_image("other", docker=False)})
    folder = place.folder / "dest" / which
    folder.rename(place.folder / "sentinel/moved")
    folder.symlink_to(place.folder / "sentinel/moved")
    for words in (("copy", "oci:in:x", "oci:dest:x"), ("delete", "oci:dest:y")):
        done = place.run(*words)
        assert done.code == 1, done.err
        assert "is a symbolic link" in done.err


def test_row_26_a_link_that_appears_while_a_layout_is_written_is_replaced_and_not_followed(place: Place) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    write_layout(place.folder / "out", {})
    names = [layer.digest.hex for layer in IMAGE.layers]
    stop = threading.Event()

    def attack() -> Iterator[None]:
        for name in names:
            scratch = place.folder / "out" / f"attack-{name}"
            scratch.symlink_to(place.outside)
            try:
                os.rename(scratch, place.folder / "out/blobs/sha256" / name)
            except OSError:
                scratch.unlink(missing_ok=True)
            yield

    def race() -> None:
        while not stop.is_set():
            list(attack())

    (place.folder / "out/blobs/sha256").mkdir(parents=True, exist_ok=True)
    thread = threading.Thread(target=race)
    thread.start()
    try:
        for _ in range(10):
            done = place.forks.run(place.folder, "copy", "oci:in:x", "oci:out:x")
            assert "Traceback" not in done.err
    finally:
        stop.set()
        thread.join()
    assert place.outside.read_text() == "dear all\n"
    done = place.forks.run(place.folder, "copy", "oci:in:x", "oci:out:x")
    assert done.code == 0, done.err
    for name in names:
        assert not (place.folder / "out/blobs/sha256" / name).is_symlink()


@pytest.mark.parametrize("name", ["gzip", "unpigz", "pigz", "xz", "zstd", "podman", "docker-credential-x", "gpg"])
def test_row_27_no_program_of_the_image_or_the_working_folder_is_run(place: Place, name: str) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    for folder in (place.folder, place.folder / "in"):
        (folder / name).write_text("#!/bin/sh\necho run >> sentinel/ran\n")
        (folder / name).chmod(0o755)
    (place.folder / "auth.json").write_text('{"credsStore": "x"}')
    path = f".:{place.folder / 'in'}:" if name == "docker-credential-x" else ".:"
    # What stands in PATH as an absolute folder is the user's own choice.
    place.run("copy", "oci:in:x", "docker-archive:out", PATH=path.replace(f"{place.folder / 'in'}:", ""))
    place.run("inspect", "--authfile=auth.json", "--retry-times=0", "docker://127.0.0.1:1/x", PATH=".:in")
    assert not (place.folder / "sentinel/ran").exists()


def test_row_45_what_is_written_under_umask_0_is_not_for_others_to_write(place: Place) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    old = os.umask(0)
    try:
        done = place.run("copy", "oci:in:x", "oci:out:x")
    finally:
        os.umask(old)
    assert done.code == 0
    for path in (place.folder / "out").rglob("*"):
        if path.is_file() and path.name != "oci-layout":
            assert not path.stat().st_mode & 0o022, path


@pytest.mark.parametrize("command", ["copy", "run"])
@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blobs", "blobs/sha256"])
def test_row_26_no_destination_is_written_through_a_link_in_it(place: Place, command: str, name: str) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    write_layout(place.folder / "out", {"y": make_image("other", docker=False)})
    linked = place.folder / "out" / name
    linked.rename(place.folder / "sentinel/moved")
    linked.symlink_to(place.folder / "sentinel/moved")
    (place.folder / "b.yaml").write_text("version: 1\nimages: [{from: 'oci:in', to: ['oci:out:x']}]\n")
    words = ("copy", "oci:in", "oci:out:x") if command == "copy" else ("run", "b.yaml")
    done = place.run(*words, may_change=("out", "runs"))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "is a symbolic link" in done.err


def test_row_26_a_run_empties_no_file_that_its_lock_leads_to_and_minds_no_stray_file(place: Place) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    (place.folder / "runs/b/blobs").mkdir(parents=True)
    (place.folder / "runs/b/blobs/.stray").write_text("left by a file manager")
    (place.folder / "runs/b/lock").symlink_to(place.outside)
    (place.folder / "b.yaml").write_text("version: 1\nimages: [{from: 'oci:in', to: ['oci:out:x']}]\n")
    done = place.run("run", "b.yaml", may_change=("out", "runs"))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "runs/b/lock" in done.err
    (place.folder / "runs/b/lock").unlink()
    done = place.run("run", "b.yaml", may_change=("out", "runs"))
    assert done.code == 0, done.err


@pytest.mark.parametrize("name", ["\x1b[2J", "a\nb", "\u202ex", "UP per", "-x", "..x"])
def test_row_36_a_folders_name_that_no_repository_has_is_shown_escaped(place: Place, name: str) -> None:
    (place.folder / "images").mkdir()
    write_directory(place.folder / "images" / name, IMAGE)
    done = place.run("sync", "--src", "dir", "--dest", "docker", "images", "127.0.0.1:1/x", may_change=("runs",))
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "is malformed" in done.err
    assert done.err.strip().isprintable()


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "empty"])
def test_row_38_what_is_no_image_in_a_tree_ends_none_of_a_sync_but_itself(place: Place, kind: str) -> None:
    (place.folder / "images/bad").mkdir(parents=True)
    victim = place.folder / "images/bad/manifest.json"
    {
        "link": lambda: victim.symlink_to(place.outside),
        "fifo": lambda: os.mkfifo(victim),
        "folder": victim.mkdir,
        "empty": lambda: victim.write_bytes(b""),
    }[kind]()
    words = ("--src", "dir", "--dest", "docker", "--keep-going", "--retry-times=0", "--dest-tls-verify=false")
    write_directory(place.folder / "images/good", IMAGE)
    with serving(lambda seen: Reply(404)) as registry:
        done = place.run("sync", *words, "images", f"{registry.name}/x", may_change=("runs",))
    said = done.err.splitlines()
    assert done.code == 1
    assert len(said) == (1 if kind == "folder" else 2)
    assert "POST" in said[-1]
    assert kind == "folder" or "images/bad" in said[0]
