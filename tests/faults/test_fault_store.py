"""Case 31 of docs/reliability.md: a store, an index or a checkpoint that something else has damaged."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import command, tree
from support.fault_job import RUN, skopeo_again
from support.figures import figure
from support.images import ImageBytes, make_base, make_image, make_multi, write_layout
from transship.pipeline.doubts import Doubts, seal

BASE = make_base("base", 1, 300_000)
IMAGES = {f"v{n}": make_image(n, layers=1, layer_size=100_000, base_layers=BASE) for n in range(3)}
DAMAGED = IMAGES["v1"].layers[-1]


def truncate(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(1000)
        byte = stream.read(1)[0]
        stream.seek(1000)
        stream.write(bytes([byte ^ 1]))


DAMAGES: list[Callable[[Path], None]] = [truncate, empty, flip]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    write_layout(tmp_path / "source", IMAGES)
    sources = [f"oci:{tmp_path}/source:{name}" for name in IMAGES]
    to = ["oci:out/mirror:{tag}", "dir:out/dir-{tag}", "docker-archive:out/{tag}.tar:x:{tag}"]
    (tmp_path / "work").mkdir()
    lines = [
        {"from": source, "to": [one.format(tag=name) for one in to]}
        for source, name in zip(sources, IMAGES, strict=True)
    ]
    (tmp_path / "work/batch.yaml").write_text(json.dumps({"version": 1, "images": lines}))
    return tmp_path / "work"


def stored(work: Path, image: ImageBytes = IMAGES["v1"]) -> Path:
    return work / "runs/batch/blobs/sha256" / image.layers[-1].digest.hex


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("place", ["runs/batch", "out/mirror"])
def test_31_a_blob_damaged_after_a_clean_end_is_found_and_healed_by_the_next_run(
    work: Path, damage: Callable[[Path], None], place: str
) -> None:
    """By the store or by a link to it in a layout: they are one file. The other images are not touched."""
    assert command(work, *RUN).returncode == 0
    whole = tree(work / "out")
    untouched = {path: path.stat().st_mtime_ns for path in (work / "out/dir-v0").iterdir()}
    damage(work / place / "blobs/sha256" / DAMAGED.digest.hex)
    assert tree(work / "out") != whole
    again = command(work, *RUN)
    healed = tree(work / "out") == whole
    figure(31, f"{damage.__name__}, the next run: exit {again.returncode}, {'healed' if healed else 'not healed'}")
    assert (again.returncode, again.stderr) == (0, "")
    assert tree(work / "out") == whole
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched


def test_31_what_a_sparse_index_leaves_out_is_no_damage(work: Path) -> None:
    """Another image is healed; that one, of whose index two of three are there, is not written anew."""
    index = make_multi("sparse", docker=False)
    write_layout(work / "sparse", {"v1": index})
    batch = json.loads((work / "batch.yaml").read_text())
    platforms = {"platforms": ["linux/amd64", "linux/arm64"], "sparse": True}
    batch["images"].append({"from": "oci:sparse:v1", "to": ["dir:out/sparse"], **platforms})
    (work / "batch.yaml").write_text(json.dumps(batch))
    assert command(work, *RUN).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in (work / "out/sparse").iterdir()}
    flip(work / "runs/batch/blobs/sha256" / DAMAGED.digest.hex)
    again = command(work, *RUN)
    assert (again.returncode, again.stderr) == (0, "")
    assert {path: path.stat().st_mtime_ns for path in (work / "out/sparse").iterdir()} == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_31_a_blob_damaged_in_a_power_cut_is_found_before_it_is_used(
    work: Path, damage: Callable[[Path], None]
) -> None:
    """As a run leaves its folder that is killed once all is fetched: no seal, nothing written."""
    assert command(work, *RUN).returncode == 0
    whole = tree(work / "out")
    (work / "runs/batch/blobs.seal").unlink()
    for checkpoint in (work / "runs/batch/checkpoints").rglob("*.json"):
        if checkpoint.stem in ("WriteImage", "VerifyDigests"):
            checkpoint.unlink()
    damage(stored(work))
    again = command(work, *RUN)
    assert (again.returncode, again.stderr) == (0, "")
    assert tree(work / "out") == whole


@pytest.mark.parametrize("raw", [b"", b"{", b'{"version": 9, "task": "VerifyDigests", "result": {}}', b"\xff" * 100])
def test_31_what_a_run_keeps_about_itself_is_made_anew_where_it_is_torn(work: Path, raw: bytes) -> None:
    assert command(work, *RUN).returncode == 0
    whole = tree(work / "out")
    run = work / "runs/batch"
    for path in (run / "blobs.seal", run / "report.json", *run.glob("checkpoints/**/*.json")):
        path.write_bytes(raw)
    again = command(work, *RUN)
    figure(31, f"checkpoints, seal and report {raw[:14]!r}: exit {again.returncode}")
    assert (again.returncode, again.stderr) == (0, "")
    assert tree(work / "out") == whole
    assert command(work, "verify", "runs/batch").returncode == 0


@pytest.mark.parametrize("raw", [b"", b"{", b'{"schemaVersion": 2}'])
def test_31_a_torn_index_of_a_layout_is_an_error_that_names_it_and_is_left_alone(work: Path, raw: bytes) -> None:
    """Other tools wrote names into it that nobody else knows: it is not ours to replace."""
    assert command(work, *RUN).returncode == 0
    index = work / "out/mirror/index.json"
    index.write_bytes(raw)
    added = command(work, "copy", f"oci:{work.parent}/source:v0", "oci:out/mirror:other")
    assert added.returncode == 1
    assert "index.json" in added.stderr
    assert index.read_bytes() == raw


@pytest.mark.parametrize("damage", DAMAGES)
def test_31_a_copy_into_a_layout_with_a_damaged_blob_heals_it(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write_layout(tmp_path / "source", IMAGES)
    words = ("copy", "--multi-arch", "all", f"oci:{tmp_path}/source:v1", "oci:out:v1")
    assert command(tmp_path, *words).returncode == 0
    blob = tmp_path / "out/blobs/sha256" / DAMAGED.digest.hex
    blob.chmod(0o644)
    damage(blob)
    again = command(tmp_path, *words)
    healed = blob.read_bytes() == DAMAGED.packed
    figure(31, f"{damage.__name__}, copied again: exit {again.returncode}, {'healed' if healed else 'kept'}")
    assert (again.returncode, healed) == (0, True), again.stderr
    skopeo_again(31, damage, tmp_path / "out", tmp_path / "peer", DAMAGED.digest.hex)


def test_a_clean_rerun_reads_no_blob_and_one_after_a_kill_only_what_it_uses(tmp_path: Path) -> None:
    blobs = tmp_path / "blobs/sha256"
    blobs.mkdir(parents=True)
    old, new = (image.layers[0].digest for image in (make_image("old"), make_image("new")))
    (blobs / old.hex).write_bytes(b"not what it says")
    seal(tmp_path)
    assert not Doubts.of(tmp_path)
    (blobs / new.hex).write_bytes(make_image("new").layers[0].packed)
    doubts = Doubts.of(tmp_path)
    assert doubts.changed() == []
    # What was sealed is taken as it is; what came later is hashed.
    assert doubts.dispelled(old, str(blobs / old.hex))
    assert doubts.dispelled(new, str(blobs / new.hex))
    assert not doubts
    os.utime(blobs / old.hex, ns=(0, time.time_ns()))
    doubts = Doubts.of(tmp_path)
    assert doubts.changed() == [old]
    assert not doubts.dispelled(old, str(blobs / old.hex))
    assert sorted(path.name for path in blobs.iterdir()) == [new.hex]
