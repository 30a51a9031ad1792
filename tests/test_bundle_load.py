"""``bundle load``: verified, then a run to registries and layouts; and bundles that leave out what others brought."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundles import IMAGES, create, write_batch
from support.command import command
from support.images import ImageBytes, make_image
from support.registry_server import RegistryServer, running
from transship.pipeline.cli import bundle_load
from transship.pipeline.cli.main import main
from transship.pipeline.transports.tar import Archive


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    create(write_batch(folder, IMAGES), folder / "b.tar", "--split", "10K")
    return folder / "b.tar"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as server:
        yield server


def test_all_images_go_into_a_registry_below_the_prefix_and_their_references_are_printed(bundle, registry, tmp_path):
    words = ("bundle", "load", str(bundle), "--to", f"docker://{registry.name}/mirror/x", "--tls-verify=false")
    done = command(tmp_path, *words, "--progress", "none")
    assert done.returncode == 0, done.stderr
    for name, image in IMAGES.items():
        there = f"docker://{registry.name}/mirror/x/{name}"
        assert f"oci:from:{name} -> {there}\n" in done.stdout
        seen = command(tmp_path, "inspect", "--raw", "--tls-verify=false", there)
        assert seen.stdout.encode() == image.manifest_raw
    again = command(tmp_path, *words, "--progress", "none")
    assert (again.returncode, again.stdout.splitlines()[1:]) == (0, done.stdout.splitlines()[1:])


def test_all_images_go_into_a_layout_under_their_names(bundle, tmp_path):
    done = command(tmp_path, "bundle", "load", str(bundle), "--to", "oci:out")
    assert done.returncode == 0, done.stderr
    for name, image in IMAGES.items():
        assert (tmp_path / "out" / "blobs" / "sha256" / image.digest.hex).read_bytes() == image.manifest_raw
        assert main(["verify", f"oci:{tmp_path}/out:{name}"]) == 0


def test_of_a_damaged_bundle_nothing_is_loaded(bundle, tmp_path):
    for path in bundle.parent.glob("b.tar*"):
        shutil.copy(path, tmp_path)
    raw = bytearray((tmp_path / "b.tar.002").read_bytes())
    raw[77] ^= 4
    (tmp_path / "b.tar.002").write_bytes(raw)
    done = command(tmp_path, "bundle", "load", "b.tar", "--to", "oci:out")
    assert done.returncode == 1
    assert "b.tar.002: damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "runs").exists()


def test_what_is_loaded_is_what_was_verified_and_not_what_lies_there_a_moment_later(tmp_path, monkeypatch, capsys):
    for name, image in (("first", IMAGES["team/app:v1"]), ("second", make_image("another", docker=False))):
        (tmp_path / name).mkdir()
        create(write_batch(tmp_path / name, {"team/app:v1": image}), tmp_path / name / "b.tar")
    real = bundle_load.verify_bundle

    def verified(path, said=None):
        found = real(path, said)
        (tmp_path / "second" / "b.tar").rename(path)
        return found

    monkeypatch.setattr(bundle_load, "verify_bundle", verified)
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", "load", "first/b.tar", "--to", "oci:out", "--progress", "none"]) == 1
    assert f", and was verified as {IMAGES['team/app:v1'].digest}" in capsys.readouterr().err
    assert not (tmp_path / "out" / "index.json").exists()


@pytest.mark.parametrize(
    "to", ["docker://", "oci:", "dir:out", "sif:x", "x", "containers-storage:name", "docker-daemon:a"]
)
def test_where_nothing_can_be_loaded_is_said(bundle, tmp_path, to):
    done = command(tmp_path, "bundle", "load", str(bundle), "--to", to)
    assert done.returncode == 2
    assert "nothing can be loaded there" in done.stderr


def newer() -> dict[str, ImageBytes]:
    base = IMAGES["team/app:v1"].layers[:2]
    return {**IMAGES, "team/app:v1": make_image("app 2", docker=False, layers=1, base_layers=base, layer_size=9000)}


@pytest.mark.parametrize("since", ["bundle", "lock"])
def test_what_an_older_one_brought_is_left_out_and_said(tmp_path, since):
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    old = write_batch(tmp_path / "old", IMAGES)
    create(old, tmp_path / "old.tar")
    assert command(tmp_path / "old", "lock", "week.json", "-o", "week.lock.json").returncode == 0
    before = {"bundle": tmp_path / "old.tar", "lock": tmp_path / "old" / "week.lock.json"}[since]
    images = newer()
    create(write_batch(tmp_path / "new", images), tmp_path / "new.tar", "--since", str(before))
    had = {digest for image in IMAGES.values() for digest in image.all_blobs}
    came = {d: raw for image in images.values() for d, raw in image.all_blobs.items() if d not in had}
    roots = [one for image in images.values() for one in (image, *image.children)]
    came |= {image.digest: image.manifest_raw for image in roots}
    archive = Archive(tmp_path / "new.tar")
    assert {name for name in archive.members if name.startswith("blobs/")} == {f"blobs/sha256/{d.hex}" for d in came}
    said = json.loads(archive.read(archive.members["bundle.json"], 1 << 20))
    archive.close()
    left = {digest for image in images.values() for digest in image.all_blobs} - set(came)
    assert {one["digest"] for one in said["base"]["blobs"]} == {str(digest) for digest in left}
    assert main(["bundle", "verify", str(tmp_path / "new.tar")]) == 0
    assert main(["bundle", "load", str(tmp_path / "new.tar"), "--to", f"oci:{tmp_path}/out"]) == 2
    assert not (tmp_path / "out").exists()


def test_what_is_neither_bundle_nor_lock_is_no_base(bundle, tmp_path):
    batch = write_batch(tmp_path, {"a:v1": IMAGES["team/app:v1"]})
    for since in (str(tmp_path), "none.tar", str(batch)):
        done = command(tmp_path, "bundle", "create", batch.name, "-o", "b.tar", "--since", since)
        assert done.returncode in (1, 2)
        assert done.stderr.count("\n") == 1
        assert not list(tmp_path.glob("b.tar*"))
