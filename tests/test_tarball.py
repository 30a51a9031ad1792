"""``tarball:`` as a source: what skopeo makes of the same files, and what neither may make an image of."""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import subprocess
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pyzstd

from support.command import ARGUMENTS, command, environment, tree
from support.peers import ours


def a_tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(name)
            tar.addfile(entry, io.BytesIO(name.encode()))
    return stream.getvalue()


ONE, TWO = a_tar("etc/one"), a_tar("bin/two", "bin/three")
CONTENTS = {
    "one.tar": ONE,
    "two.tar.gz": gzip.compress(TWO, mtime=0),
    "two.tar.zst": pyzstd.compress(TWO),
    "two.tar.xz": lzma.compress(TWO),
    "two.tar.bz2": bz2.compress(TWO),
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number, (name, raw) in enumerate(CONTENTS.items()):
        (tmp_path / name).write_bytes(raw)
        os.utime(tmp_path / name, ns=(0, 1_600_000_000_120_000_000 + number * 10**9))
    return tmp_path


def digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def image(folder: Path) -> tuple[Any, Any]:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    return manifest, json.loads((folder / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes())


def skopeo_copy(folder: Path, source: str, target: str) -> None:
    words = ["skopeo", "--insecure-policy", "copy", "-q", source, target]
    # It writes times in the zone of the machine.
    subprocess.run(words, cwd=folder, env={**os.environ, "TZ": "UTC"}, check=True, timeout=60)


@pytest.mark.parametrize("source", ["one.tar", "one.tar:two.tar.gz", "two.tar.gz:one.tar"])
def test_image_is_that_of_skopeo_to_the_byte(files: Path, source: str) -> None:
    ours(files, "copy", "-q", f"tarball:{source}", "dir:ours")
    (files / "theirs").mkdir()
    skopeo_copy(files, f"tarball:{source}", "dir:theirs")
    mine, theirs = tree(files / "ours"), tree(files / "theirs")
    assert {name: content for name, (_, content) in mine.items()} == {name: raw for name, (_, raw) in theirs.items()}


def test_zstd_layer_says_that_it_is_one(files: Path) -> None:
    ours(files, "copy", "-q", "tarball:two.tar.zst", "dir:ours")
    manifest, config = image(files / "ours")
    [layer] = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
    assert layer["digest"] == digest(CONTENTS["two.tar.zst"])
    assert config["rootfs"]["diff_ids"] == [digest(TWO)]


@pytest.mark.parametrize("name", ["two.tar.xz", "two.tar.bz2"])
def test_what_no_layer_may_be_packed_by_is_unpacked(files: Path, name: str) -> None:
    ours(files, "copy", "-q", f"tarball:one.tar:{name}", "dir:ours")
    manifest, config = image(files / "ours")
    assert [layer["digest"] for layer in manifest["layers"]] == [digest(ONE), digest(TWO)]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}
    assert config["rootfs"]["diff_ids"] == [digest(ONE), digest(TWO)]


@pytest.mark.parametrize("raw", [TWO, CONTENTS["two.tar.gz"], CONTENTS["two.tar.xz"]], ids=["plain", "gzip", "xz"])
def test_standard_input_is_a_layer_and_the_same_bytes_are_the_same_image(files: Path, raw: bytes) -> None:
    made = []
    for name in ("a", "b"):
        words = [*ARGUMENTS, "copy", "-q", "tarball:one.tar:-", f"dir:{name}"]
        subprocess.run(words, cwd=files, input=raw, check=True, timeout=60, env=environment())
        made.append(image(files / name))
    assert made[0] == made[1]
    assert made[0][1]["rootfs"]["diff_ids"] == [digest(ONE), digest(TWO)]
    assert made[0][1]["history"][1]["created"] == "1970-01-01T00:00:00Z"


def test_pipe_named_as_a_file_is_a_layer(files: Path) -> None:
    words = f"exec {' '.join(ARGUMENTS)} copy -q tarball:<(cat two.tar.gz) dir:made"
    subprocess.run(["bash", "-c", words], cwd=files, check=True, timeout=60, env=environment())
    assert image(files / "made")[1]["rootfs"]["diff_ids"] == [digest(TWO)]


def test_newest_of_the_files_dates_the_image(files: Path) -> None:
    ours(files, "copy", "-q", "tarball:one.tar:two.tar.gz", "oci-archive:made:v1")
    said = ours(files, "inspect", "oci-archive:made:v1")
    assert json.loads(said)["Created"] == "2020-09-13T12:26:41.12Z"


def test_batch_takes_tarballs_and_asks_no_second_time(files: Path) -> None:
    batch = files / "batch.yaml"
    batch.write_text("version: 1\nimages:\n- {from: 'tarball:one.tar:two.tar.gz', to: ['oci:out:both']}\n")
    ours(files, "run", "batch.yaml")
    ours(files, "run", "batch.yaml")
    raw = ours(files, "inspect", "--raw", "oci:out:both")
    assert raw == ours(files, "inspect", "--raw", "tarball:one.tar:two.tar.gz")


def test_batch_refuses_standard_input_which_cannot_be_read_again(files: Path) -> None:
    (files / "batch.yaml").write_text("version: 1\nimages:\n- {from: 'tarball:-', to: ['oci:out:x']}\n")
    done = command(files, "run", "batch.yaml")
    assert done.returncode == 2
    assert "standard input cannot be read again" in done.stderr


def test_batch_refuses_to_replace_one_of_the_files(files: Path) -> None:
    line = "- {from: 'tarball:two.tar.gz:one.tar', to: ['docker-archive:one.tar:x:v1']}\n"
    (files / "batch.yaml").write_text(f"version: 1\nimages:\n{line}")
    done = command(files, "run", "batch.yaml")
    assert done.returncode == 2
    assert "would replace the source" in done.stderr
    assert (files / "one.tar").read_bytes() == ONE


def greedy() -> bytes:
    """An xz file whose header asks for a dictionary of 4 GiB."""
    raw = bytearray(lzma.compress(ONE))
    header = slice(12, 12 + (raw[12] + 1) * 4 - 4)
    assert raw[14] == 0x21
    raw[16] = 40
    raw[header.stop : header.stop + 4] = zlib.crc32(raw[header]).to_bytes(4, "little")
    return bytes(raw)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "text": (lambda: b"no tar at all\n" * 100, "is no tar"),
    "cut.gz": (lambda: CONTENTS["two.tar.gz"][:-20], "cut short"),
    "garbage.gz": (lambda: b"\x1f\x8b" + b"garbage" * 90, "garbage.gz: "),
    "cut.xz": (lambda: CONTENTS["two.tar.xz"][:-40], "cut short"),
    "garbage.bz2": (lambda: CONTENTS["two.tar.bz2"] + b"garbage", "damaged"),
    "greedy.xz": (greedy, "damaged: Memory usage limit exceeded"),
    "bomb.gz": (lambda: gzip.compress(ONE + bytes(160 << 20), 9, mtime=0), "decompression bomb"),
    "bomb.bz2": (lambda: bz2.compress(ONE + bytes(80 << 20), 1), "decompression bomb"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_tar_is_an_error_of_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    make, said = HOSTILE[name]
    (tmp_path / name).write_bytes(make())
    before = tree(tmp_path)
    done = command(tmp_path, "copy", f"tarball:{name}", "dir:out")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert said in done.stderr
    assert name in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize("path", ["none.tar", "folder"])
def test_what_is_no_file_is_exit_code_1(tmp_path: Path, path: str) -> None:
    (tmp_path / "folder").mkdir()
    done = command(tmp_path, "inspect", f"tarball:{path}")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_it_cannot_be_written_to(files: Path) -> None:
    done = command(files, "copy", "tarball:one.tar", "tarball:other.tar")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot be written to" in done.stderr
