"""A bundle: what is in it, that it is the same bytes every time, and that it is made by a run that can be killed."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import pytest

from support.bundles import IMAGES, create, files_of, write_batch
from support.command import ARGUMENTS, begin, command, environment, killed
from support.images import make_image, write_layout
from support.serving import Reply, served
from transship import schemas
from transship.pipeline.cli.main import main
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError
from transship.pipeline.transports import archive_index, bundle
from transship.pipeline.transports.bundle import BundleSource

LAYER = IMAGES["team/app:v1"].layers[-1]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_batch(tmp_path_factory.mktemp("batch"), IMAGES)


@pytest.fixture(scope="module")
def whole(batch: Path) -> Path:
    create(batch, batch.parent / "whole.tar")
    return batch.parent / "whole.tar"


@pytest.fixture(scope="module")
def lock(batch: Path) -> Path:
    done = command(batch.parent, "lock", batch.name, "-o", "week.lock.json")
    assert done.returncode == 0, done.stderr
    return batch.parent / "week.lock.json"


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def document(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(members(path)["bundle.json"])
    return found


def test_all_images_are_in_one_layout_under_the_names_of_their_sources(whole: Path) -> None:
    found = members(whole)
    assert list(found)[:3] == ["oci-layout", "index.json", "bundle.json"]
    assert list(found)[3:] == sorted(list(found)[3:])
    blobs = {digest for image in IMAGES.values() for digest in image.all_blobs}
    assert set(list(found)[3:]) == {f"blobs/{digest.algorithm}/{digest.hex}" for digest in blobs}
    for image in IMAGES.values():
        for digest, raw in image.all_blobs.items():
            assert found[f"blobs/{digest.algorithm}/{digest.hex}"] == raw
    entries = json.loads(found["index.json"])["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in entries}
    assert names == {name: str(image.digest) for name, image in IMAGES.items()}


def test_bundle_json_fits_its_schema_and_says_all_that_is_there(whole: Path, lock: Path) -> None:
    said = document(whole)
    schemas.validate("bundle", said, "")
    assert said["lock"] == json.loads(lock.read_bytes())
    images = {one["name"]: one for one in said["images"]}  # type: ignore[attr-defined]
    assert {name: one["digest"] for name, one in images.items()} == {n: str(i.digest) for n, i in IMAGES.items()}
    assert images["team/app:v1"]["source"] == "oci:from:team/app:v1"
    listed = [f"blobs/{one['digest'].replace(':', '/')}" for one in said["blobs"]]  # type: ignore[attr-defined]
    assert listed == list(members(whole))[3:]
    text = members(whole)["bundle.json"].decode()
    assert str(whole.parent) not in text
    assert os.uname().nodename not in text


def test_the_checksums_are_read_by_sha256sum(whole: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "whole.tar.sums"],
        cwd=whole.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "whole.tar: OK\n")
    assert f"# bundle.json {Digest.of(members(whole)['bundle.json'])}" in (whole.parent / "whole.tar.sums").read_text()


@pytest.mark.parametrize("form", ["plain", "split", "zstd", "split zstd"])
def test_the_bytes_depend_on_no_user_place_time_or_number_of_workers(batch, lock, tmp_path, form):
    name = "b.tar.zst" if "zstd" in form else "b.tar"
    words = ["--split", "7000"] if "split" in form else []
    (tmp_path / "one").mkdir()
    create(batch, tmp_path / "one" / name, *words)
    other = tmp_path / "two" / "elsewhere"
    other.mkdir(parents=True)
    write_layout(other / "from", dict(reversed(IMAGES.items())))
    (other / "week.lock.json").write_bytes(lock.read_bytes())
    odd = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "7", "HOME": str(other), "USER": "other"}
    arguments = ["bundle", "create", "week.lock.json", "-o", name, "--workers", "1", *words, "--runs", "deep/er"]
    done = subprocess.run(
        [*ARGUMENTS, *arguments],
        cwd=other,
        env={**environment(), **odd},
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert files_of(other / name) == files_of(tmp_path / "one" / name)
    assert len(files_of(other / name)) > 3 if words else len(files_of(other / name)) == 2
    assert main(["bundle", "verify", str(other / name)]) == 0


def test_volumes_are_slices_of_the_one_file_and_each_has_its_checksum(batch, whole, tmp_path):
    create(batch, tmp_path / "b.tar", "--split", "10K")
    found = files_of(tmp_path / "b.tar")
    volumes = [raw for name, raw in found.items() if name[-3:].isdigit()]
    assert b"".join(volumes) == whole.read_bytes()
    assert {len(raw) for raw in volumes[:-1]} == {10 << 10}
    for name, raw in found.items():
        if name[-3:].isdigit():
            assert f"{hashlib.sha256(raw).hexdigest()}  {name}\n".encode() in found["b.tar.sums"]


def test_a_run_that_is_killed_again_and_again_makes_the_same_file(batch, whole, tmp_path):
    output, reached = tmp_path / "b.tar", 0
    words = ("bundle", "create", str(batch), "-o", str(output), "--progress", "none", "--runs", str(tmp_path / "runs"))
    checkpoints = tmp_path / "runs" / "week-bundle" / "checkpoints"
    for wanted in (1, 5, 9, 12):
        there = partial(lambda wanted: len(list(checkpoints.rglob("*.json"))) >= wanted, wanted)
        reached += killed(begin(tmp_path, *words), there)
        assert not (tmp_path / "b.tar.sums").exists() or output.read_bytes() == whole.read_bytes()
    assert reached
    done = command(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["b.tar", "b.tar.sums", "runs"]


def test_the_same_command_does_nothing_more_and_makes_what_is_gone_anew(batch, tmp_path):
    output = tmp_path / "b.tar"
    create(batch, output)
    state = output.stat()
    create(batch, output)
    assert output.stat() == state
    output.unlink()
    create(batch, output)
    assert output.stat().st_size == state.st_size


def test_with_fewer_volumes_than_before_those_besides_go(batch, tmp_path):
    create(batch, tmp_path / "b.tar", "--split", "5K")
    before = len(files_of(tmp_path / "b.tar"))
    create(batch, tmp_path / "b.tar", "--split", "20K")
    assert len(files_of(tmp_path / "b.tar")) < before
    assert main(["bundle", "verify", str(tmp_path / "b.tar")]) == 0


@pytest.mark.parametrize(
    ("there", "words", "why"),
    [
        ("b.tar.001", [], "is there in volumes"),
        ("b.tar", ["--split", "10K"], "beside which nobody would read volumes"),
        ("b.tar", [], "is no archive of images"),
        ("b.tar.001", ["--split", "10K"], "is no archive of images"),
    ],
)
def test_what_is_no_bundle_of_this_form_is_left_as_it_is(batch, tmp_path, there, words, why):
    (tmp_path / there).write_bytes(b"precious" * 100)
    done = command(batch.parent, "bundle", "create", batch.name, "-o", str(tmp_path / "b.tar"), *words)
    assert done.returncode == 1
    assert why in done.stderr
    assert (tmp_path / there).read_bytes() == b"precious" * 100
    assert os.listdir(tmp_path) == [there]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["week.json", "-o", "no/b.tar"], "no: no such folder"),
        (["week.json", "-o", "b.tar.001"], "not fit for the name of a bundle"),
        (["week.json", "-o", "b.tar", "--split", "12"], "expected at least 1024 bytes"),
        (["week.json", "-o", "b.tar", "--split", "many"], "expected a size"),
        (["week.json"], "-o/--output"),
        (["none.json", "-o", "b.tar"], "none.json"),
        (["twice.json", "-o", "b.tar"], "would be called team/app:v1 in the bundle"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_written(batch, words, why):
    (batch.parent / "twice.json").write_text(
        json.dumps({"version": 1, "images": [{"from": "oci:from:team/app:v1"}, {"from": "oci:from:team/app:v1"}]})
    )
    before = sorted(os.listdir(batch.parent))
    done = command(batch.parent, "bundle", "create", *words)
    assert (done.returncode, done.stdout) in ((2, ""), (1, ""))
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(os.listdir(batch.parent)) == before


def test_more_volumes_than_there_may_be_are_refused_before_anything_is_fetched(tmp_path, capsys):
    batch = write_batch(tmp_path, {"big:v1": make_image("big", docker=False, layers=1, layer_size=2200 << 10)})
    words = ["bundle", "create", str(batch), "-o", f"{tmp_path}/b.tar", "--runs", f"{tmp_path}/runs"]
    assert main([*words, "--split", "1K"]) == 2
    said = capsys.readouterr().err
    assert "make more than 999 volumes of 1024 bytes" in said
    assert sorted(os.listdir(tmp_path)) == ["from", "week.json"]
    least = said.rpartition("--split ")[2].strip()
    assert main([*words, "--split", str(int(least) * 50)]) == 0


def test_a_lock_whose_image_is_another_now_makes_no_bundle(tmp_path):
    batch = write_batch(tmp_path, {"app:v1": make_image(1, docker=False)})
    assert command(tmp_path, "lock", batch.name, "-o", "l.json").returncode == 0
    write_layout(tmp_path / "from", {"app:v1": make_image(2, docker=False)})
    done = command(tmp_path, "bundle", "create", "l.json", "-o", "b.tar")
    assert done.returncode == 1
    assert "the lock says" in done.stderr
    assert not list(tmp_path.glob("b.tar*"))


def test_an_image_is_copied_inspected_and_verified_out_of_it(whole, tmp_path, capsys):
    reference = f"bundle:{whole}:team/web:v2"
    assert main(["copy", "-q", reference, f"dir:{tmp_path}/web"]) == 0
    assert (tmp_path / "web" / "manifest.json").read_bytes() == IMAGES["team/web:v2"].manifest_raw
    assert main(["verify", reference]) == 0
    assert main(["inspect", "--raw", reference]) == 0
    assert IMAGES["team/web:v2"].manifest_raw.decode() in capsys.readouterr().out
    assert main(["copy", "-q", f"oci:{tmp_path}/x:y", reference]) == 1
    assert "cannot be written to" in capsys.readouterr().err


def test_a_volume_that_is_missing_at_the_end_or_one_too_many_is_said(batch, tmp_path):
    create(batch, tmp_path / "b.tar", "--split", "10K")
    last = sorted(tmp_path.glob("b.tar.0*"))[-1]
    raw = last.read_bytes()
    last.unlink()
    with pytest.raises(ContentError, match=r"cut short|by its bundle\.json"):
        BundleSource(tmp_path / "b.tar", "team/app:v1")
    last.write_bytes(raw + bytes(-len(raw) % (10 << 10)))
    last.with_suffix(f".{int(last.suffix[1:]) + 1:03d}").write_bytes(raw)
    with pytest.raises(ContentError, match=r"by its bundle\.json"):
        BundleSource(tmp_path / "b.tar", "team/app:v1")


def test_an_archive_that_is_no_bundle_is_said_to_be_none(tmp_path):
    write_layout(tmp_path / "from", {"app:v1": IMAGES["team/app:v1"]})
    assert main(["copy", "-q", f"oci:{tmp_path}/from:app:v1", f"oci-archive:{tmp_path}/a.tar:app:v1"]) == 0
    with pytest.raises(NotFoundError, match="so no bundle"):
        BundleSource(tmp_path / "a.tar", "app:v1")
    assert main(["bundle", "list", str(tmp_path / "a.tar")]) == 2


@pytest.mark.parametrize("name", ["b.tar", "b.tar.zst"])
@pytest.mark.parametrize("words", [[], ["--split", "10K"]], ids=["one file", "volumes"])
def test_it_is_served_in_place(batch, tmp_path, name, words):
    create(batch, tmp_path / name, *words)
    with served(tmp_path / name) as port:
        for image in IMAGES:
            repository, _, tag = image.rpartition(":")
            assert Reply(port, f"/v2/{repository}/manifests/{tag}").body == IMAGES[image].manifest_raw
        assert Reply(port, f"/v2/team/app/blobs/{LAYER.digest}").body == LAYER.packed


def test_what_is_the_same_for_all_images_in_it_is_read_once(batch, tmp_path, monkeypatch):
    create(batch, tmp_path / "b.tar")
    parsed: list[str] = []
    read = {name: getattr(module, name) for module, name in ((archive_index, "parse_index"), (bundle, "_read_bundle"))}

    def counted(name):
        return lambda *words: parsed.append(name) or read[name](*words)

    monkeypatch.setattr(archive_index, "parse_index", counted("parse_index"))
    monkeypatch.setattr(bundle, "_read_bundle", counted("_read_bundle"))
    for name in (*IMAGES, *IMAGES):
        source = BundleSource(tmp_path / "b.tar", name)
        assert source.manifest().digest == IMAGES[name].digest
        assert not source.referrers(IMAGES[name].digest)
        source.close()
    assert sorted(parsed) == ["_read_bundle", "parse_index"]


def test_list_tags_has_the_names(whole, capsys):
    assert main(["list-tags", f"bundle:{whole}"]) == 0
    assert json.loads(capsys.readouterr().out) == {"Tags": sorted(IMAGES)}


def test_list_says_what_is_in_it(whole, capsys):
    assert main(["bundle", "list", str(whole)]) == 0
    out = capsys.readouterr().out
    for name, image in IMAGES.items():
        assert f"{name}  {image.digest}" in out
    assert main(["bundle", "list", "--json", str(whole)]) == 0
    found = json.loads(capsys.readouterr().out)
    wanted = {name: sum(map(len, image.all_blobs.values())) for name, image in IMAGES.items()}
    assert {one["name"]: one["bytes"] for one in found["images"]} == wanted


def test_diff_says_what_came_and_went_by_image_and_layer(batch, whole, tmp_path, capsys):
    newer = make_image("newer", docker=False, layers=1, base_layers=IMAGES["team/app:v1"].layers[:2], layer_size=7000)
    images = {"team/app:v1": newer, "tool:latest": IMAGES["tool:latest"], "extra:v1": make_image(9, docker=False)}
    create(write_batch(tmp_path, images), tmp_path / "new.tar")
    assert main(["bundle", "diff", str(whole), str(whole)]) == 0
    assert capsys.readouterr().out.startswith("0 images differ; new: 0 blobs")
    assert main(["bundle", "diff", str(whole), str(tmp_path / "new.tar")]) == 0
    out = capsys.readouterr().out
    assert f"team/app:v1: {IMAGES['team/app:v1'].digest} -> {newer.digest}" in out
    assert f"  + layer {newer.layers[-1].digest}" in out
    assert f"  - layer {LAYER.digest}" in out
    assert newer.layers[0].digest.hex not in out
    assert f"extra:v1: new, {images['extra:v1'].digest}" in out
    assert f"team/web:v2: gone, was {IMAGES['team/web:v2'].digest}" in out
    assert main(["bundle", "diff", "--json", str(whole), str(tmp_path / "new.tar")]) == 0
    had = {digest for image in IMAGES.values() for digest in image.all_blobs}
    came = {d: len(raw) for image in images.values() for d, raw in image.all_blobs.items() if d not in had}
    assert json.loads(capsys.readouterr().out)["bytes-new"] == sum(came.values())


def test_the_commands_that_begin_so_are_listed(capsys):
    assert main(["bundle", "--help"]) == main(["help", "bundle"]) == 0
    assert "bundle verify" in capsys.readouterr().out
    for words in (["bundle"], ["bundle", "make"]):
        assert main(words) == 2
        assert "expected bundle and one of create, sign, load, apply, verify, list, diff" in capsys.readouterr().err


def test_this_python_is_named_nowhere_in_it(whole):
    assert sys.version.split()[0].encode() not in members(whole)["bundle.json"]
