"""Cases 22, 27, 30 and 32 of docs/reliability.md: disks that are full, read-only, gone, or lose power. Needs root."""

import errno
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command import command, tree
from support.fault_job import noise
from support.figures import figure
from support.images import make_image, write_layout
from transship.pipeline.digest import Digest
from transship.pipeline.errors import TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import DOCKER_LAYER_GZIP
from transship.pipeline.store import Store

OLD = make_image("old", layers=1, layer_size=100_000)
LARGE = make_image("large", layers=1, layer_size=12_000_000)


@contextmanager
def mounted(at: Path, *words: str) -> Iterator[Path]:
    """Mount a file system; needs root, as CI has."""
    at.mkdir(exist_ok=True)
    subprocess.run(["mount", *words, str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "layout"
    write_layout(folder, {"old": OLD, "large": LARGE})
    return folder


PLACES = ["oci:disk/out:x", "dir:disk/out", "oci-archive:disk/out.tar:x", "docker-archive:disk/out.tar:x:v1"]


@pytest.mark.parametrize("to", PLACES)
def test_27_on_a_full_disk_the_old_image_stays_and_nothing_is_left_beside_it(
    tmp_path: Path, layout: Path, to: str
) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "none") as disk:
        assert command(tmp_path, "copy", f"oci:{layout}:old", to).returncode == 0
        before = tree(disk)
        full = command(tmp_path, "copy", f"oci:{layout}:large", to)
        left = sum(path.stat().st_size for path in disk.rglob("*") if path.is_file())
        figure(27, f"{to.partition(':')[0]}: exit {full.returncode}, {len(set(tree(disk)) - set(before))} files left")
        assert full.returncode == 1
        assert "No space left on device; free some space there" in full.stderr
        assert len(full.stderr.splitlines()) == 1
        assert tree(disk) == before, left
        assert command(tmp_path, "verify", to).returncode == 0


def test_27_a_run_with_no_room_for_its_store_says_so_and_goes_on_once_there_is(tmp_path: Path, layout: Path) -> None:
    lines = [f"- {{from: 'oci:{layout}:{name}', to: ['oci:out:{name}']}}" for name in ("old", "large")]
    (tmp_path / "batch.yaml").write_text("\n".join(["version: 1", "images:", *lines, ""]))
    # One at a time: at the same time the large one may leave no room for the other.
    words = ("run", "batch.yaml", "--runs", "disk", "--progress", "none", "--workers", "1")
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "none") as disk:
        full = command(tmp_path, *words)
        assert full.returncode == 1
        assert "No space left on device" in full.stderr
        assert command(tmp_path, "verify", "oci:out:old").returncode == 0
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert command(tmp_path, *words).returncode == 0
        assert command(tmp_path, "verify", "oci:out:large").returncode == 0


PAGE = 4096


def pages(disk: Path) -> int:
    state = os.statvfs(disk)
    return (state.f_blocks - state.f_bfree) * state.f_bsize // PAGE


@pytest.mark.parametrize("what", ["index", "checkpoint"])
def test_28_a_disk_that_lacks_the_last_pages_loses_nothing_and_the_same_command_completes(
    tmp_path: Path, what: str
) -> None:
    """Page by page down from where it just fits: what comes last, an index or a checkpoint, finds no room."""
    write_layout(tmp_path / "small", {name: make_image(f"small {name}", layers=1) for name in ("v0", "v1")})
    (tmp_path / "batch.yaml").write_text("version: 1\nimages: [{from: 'oci:small:v1', to: ['dir:out']}]\n")
    running = ("run", "batch.yaml", "--runs", "disk", "--progress", "none", "--workers", "1")
    words = ("copy", "oci:small:v1", "oci:disk/out:new") if what == "index" else running
    need, failed = 0, 0
    for size in [0, *range(100)]:
        with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=64m", "none") as disk:
            if what == "index":
                assert command(tmp_path, "copy", "oci:small:v0", "oci:disk/out:old").returncode == 0
            before = tree(disk)
            if need:
                room = f"remount,size={(need - 2 + size) * PAGE}"
                subprocess.run(["mount", "-o", room, str(disk)], check=True)
            done = command(tmp_path, *words)
            if not need:
                assert done.returncode == 0
                need, whole = pages(disk), tree(tmp_path / "out")
                shutil.rmtree(tmp_path / "out", ignore_errors=True)
                continue
            if done.returncode == 0:
                break
            failed += 1
            assert "No space left on device" in done.stderr
            assert "Traceback" not in done.stderr
            after = tree(disk)
            if what == "index":
                assert {name: after[name] for name in before} == before
                # Blobs that nothing names yet, and another writer may: whole, and at hand for the next.
                assert all(Path(name).name == after[name][1] for name in after.keys() - before.keys())
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            again = command(tmp_path, *words)
            assert again.returncode == 0, again.stderr
            assert tree(tmp_path / "out") == whole
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
    figure(
        28, f"{what}: {failed} sizes of disk up to where it fits: exit 1, old image whole, healed {failed} of {failed}"
    )
    assert failed >= 2


@pytest.mark.parametrize("to", PLACES)
@pytest.mark.parametrize(
    ("options", "words"), [("ro", "mounted read-only"), ("nr_inodes=2", "No space left on device")]
)
def test_30_a_disk_that_takes_no_file_is_one_line(
    tmp_path: Path, layout: Path, to: str, options: str, words: str
) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", f"size=4m,{options}", "none") as disk:
        said = command(tmp_path, "copy", f"oci:{layout}:old", to)
        figure(30, f"{options}: exit {said.returncode}, one line")
        assert (said.returncode, len(said.stderr.splitlines())) == (1, 1)
        assert words in said.stderr
        assert list(disk.iterdir()) == []


def test_30_a_quota_that_is_used_up_is_one_line_and_the_old_image_stays(tmp_path: Path, layout: Path) -> None:
    """Of btrfs, whose quotas need nothing of the kernel but btrfs itself: those of ext4 do."""
    with (tmp_path / "disk.img").open("wb") as stream:
        stream.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", str(tmp_path / "disk.img")], check=True)
    with mounted(tmp_path / "btrfs", "-o", "loop", str(tmp_path / "disk.img")) as top:
        subprocess.run(["btrfs", "quota", "enable", str(top)], check=True)
        for n, place in enumerate(PLACES):
            disk = top / f"disk{n}"
            subprocess.run(["btrfs", "-q", "subvolume", "create", str(disk)], check=True)
            subprocess.run(["btrfs", "qgroup", "limit", "4M", str(disk)], check=True)
            to = place.replace("disk", f"btrfs/disk{n}")
            assert command(tmp_path, "copy", f"oci:{layout}:old", to).returncode == 0
            before = tree(disk)
            full = command(tmp_path, "copy", f"oci:{layout}:large", to)
            figure(30, f"quota, {to.partition(':')[0]}: exit {full.returncode}, one line, old image whole")
            assert (full.returncode, len(full.stderr.splitlines())) == (1, 1), full.stderr
            assert "the disk quota is used up; free some space or choose another place" in full.stderr
            assert tree(disk) == before
            assert command(tmp_path, "verify", to).returncode == 0


@pytest.mark.parametrize("name", ["n" * 300, "gone/out"])
def test_30_a_name_that_is_too_long_or_in_no_folder_is_one_line(tmp_path: Path, layout: Path, name: str) -> None:
    for to in (f"oci:{name}:x", f"dir:{name}", f"oci-archive:{name}:x"):
        said = command(tmp_path, "copy", f"oci:{layout}:old", to)
        assert said.returncode in (1, 2)
        assert len(said.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_22_after_exit_0_a_power_cut_loses_nothing(tmp_path: Path, layout: Path) -> None:
    """What the disk has at that moment is what a copy of the image of the file system, taken without sync, has."""
    image, after = tmp_path / "disk.img", tmp_path / "after.img"
    with image.open("wb") as stream:
        stream.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(image)):
        for to in [place.replace("out", f"out{n}") for n, place in enumerate(PLACES)]:
            assert command(tmp_path, "copy", f"oci:{layout}:old", to).returncode == 0
            shutil.copyfile(image, after)
            with mounted(tmp_path / "after", "-o", "loop", str(after)):
                there = to.replace("disk/", "after/")
                found = command(tmp_path, "verify", there)
                figure(22, f"{to.partition(':')[0]}: {'whole' if found.returncode == 0 else found.stderr.strip()}")
                assert found.returncode == 0, found.stderr


def test_32_what_an_fsync_could_not_write_is_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells of it once; the bytes still read as they were, and the next fsync succeeds."""
    raw = noise(32, 300_000)
    wanted = Descriptor(DOCKER_LAYER_GZIP, Digest.of(raw), len(raw))
    store, asked = Store(tmp_path), list[int]()

    def opened(start: int) -> io.BytesIO:
        asked.append(start)
        return io.BytesIO(raw[start:])

    def failing(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(TransportError, match="Input/output error"):
            store.ingest(wanted, opened)
    assert not store.has(wanted)
    assert list((tmp_path / "ingest").iterdir()) == []
    assert store.ingest(wanted, opened)
    figure(32, "fetched again from its first byte")
    assert asked == [0, 0]
    assert store.path(wanted.digest).read_bytes() == raw
