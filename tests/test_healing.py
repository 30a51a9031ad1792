"""A destination found damaged is written anew, whoever damaged it and wherever its bytes are shared."""

import os
import shutil
from pathlib import Path

import pytest

from support.command import command
from support.images import make_image, write_layout

IMAGE = make_image("heal", layers=1, layer_size=200_000)


def batch(tmp_path):
    write_layout(tmp_path / "source", {"v1": IMAGE})
    path = tmp_path / "batch.yaml"
    path.write_text("version: 1\nname: heal\nimages:\n  - from: oci:source:v1\n    to: ['oci:out:v1']\n")
    source = path.read_text().replace("oci:source", f"oci:{tmp_path / 'source'}")
    path.write_text(source)
    return path


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(raw)
    os.utime(path, (1, 1))


def test_a_blob_damaged_in_store_and_layout_at_once_is_fetched_and_written_anew(tmp_path):
    path = batch(tmp_path)
    assert command(tmp_path, "run", str(path)).returncode == 0
    blob = tmp_path / "out" / "blobs" / "sha256" / IMAGE.layers[0].digest.hex
    flip(blob)
    for checkpoint in (tmp_path / "runs").rglob("VerifyDigests.json"):
        checkpoint.unlink()
    assert command(tmp_path, "run", str(path)).returncode == 0
    assert blob.read_bytes() == IMAGE.layers[0].packed


def test_a_damaged_blob_that_another_tool_left_in_the_layout_is_replaced(tmp_path):
    path = batch(tmp_path)
    write_layout(tmp_path / "out", {"other": IMAGE})
    blob = tmp_path / "out" / "blobs" / "sha256" / IMAGE.layers[0].digest.hex
    flip(blob)
    assert command(tmp_path, "run", str(path)).returncode == 0
    assert blob.read_bytes() == IMAGE.layers[0].packed


@pytest.mark.parametrize("torn", [b"", b"{", b'{"version": 1, "task": "WriteImage", "result": {}}', b"\xff" * 9])
def test_a_checkpoint_that_cannot_be_trusted_counts_as_absent(tmp_path, torn):
    path = batch(tmp_path)
    assert command(tmp_path, "run", str(path)).returncode == 0
    for checkpoint in (tmp_path / "runs").rglob("*Digests.json"):
        checkpoint.write_bytes(torn)
    again = command(tmp_path, "run", str(path))
    assert (again.returncode, again.stdout.count("1 images verified")) == (0, 1)
    verdict = next((tmp_path / "runs").rglob("VerifyDigests.json"))
    assert Path(verdict).read_bytes() != torn


def two_images(tmp_path):
    path = batch(tmp_path)
    write_layout(tmp_path / "source", {"v1": IMAGE, "v2": make_image("other", layers=1)})
    first = f"  - from: oci:{tmp_path / 'source'}:v1\n    to: ['dir:out/v1']\n"
    path.write_text(f"version: 1\nname: heal\nimages:\n{first}{first.replace('v1', 'v2')}")
    assert command(tmp_path, "run", str(path)).returncode == 0
    return path


def test_verify_names_what_is_gone_and_goes_on_with_the_rest(tmp_path):
    two_images(tmp_path)
    shutil.rmtree(tmp_path / "out" / "v1")
    found = command(tmp_path, "verify", "runs/heal")
    assert (found.returncode, found.stdout) == (1, "1 images verified, 1 not\n")
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"dir:{tmp_path}/out/v1: ")


def test_verify_of_a_run_cut_short_checks_what_is_written_and_counts_the_rest(tmp_path):
    two_images(tmp_path)
    undone = next(path for path in (tmp_path / "runs").rglob("WriteImage.json"))
    (undone.parent / "VerifyDigests.json").unlink()
    undone.unlink()
    found = command(tmp_path, "verify", "runs/heal")
    assert (found.returncode, found.stdout) == (1, "1 images verified, 0 not, 1 not written yet\n")
    assert found.stderr == "runs/heal: 1 images not written yet, see transship status\n"


def test_what_a_run_killed_at_its_first_write_left_in_the_store_is_swept(tmp_path):
    path = batch(tmp_path)
    store = tmp_path / "runs/heal/blobs/sha256"
    store.mkdir(parents=True)
    (store / f".{'ab' * 32}.0123456789ab.partial").write_bytes(b"half")
    assert command(tmp_path, "run", str(path)).returncode == 0
    assert [found.name for found in store.iterdir() if found.name.startswith(".")] == []
