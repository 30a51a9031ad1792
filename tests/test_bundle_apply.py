"""``bundle apply``: a bundle that leaves out what an older one brought, on top of that, and nowhere else."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.bundles import BASE, IMAGES, create, write_batch
from support.command import begin, command, killed
from support.engines import Docker
from support.images import ImageBytes, make_image
from support.registry_server import RegistryServer, running
from transship.pipeline.cli.main import main

NEWER: Mapping[str, ImageBytes] = {
    **IMAGES,
    "team/app:v1": make_image("app 2", docker=False, layers=1, base_layers=BASE, layer_size=9000),
    # In a repository that the base did not know: what it shares lies in others.
    "team/sibling:v1": make_image("sibling", docker=False, layers=1, base_layers=BASE, layer_size=2000),
}
SHARED = BASE[0]


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of old.tar, and of new.tar which was made since."""
    folder = tmp_path_factory.mktemp("weeks")
    create(write_batch(_made(folder / "old"), IMAGES), folder / "old.tar")
    create(write_batch(_made(folder / "new"), NEWER), folder / "new.tar", "--since", str(folder / "old.tar"))
    return folder


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as server:
        yield server


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_onto_a_layout_that_has_the_base_only_what_is_new_is_brought(weeks: Path, tmp_path: Path) -> None:
    assert main(["bundle", "load", str(weeks / "old.tar"), "--to", f"oci:{tmp_path}/out", *runs(tmp_path)]) == 0
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    done = command(tmp_path, "bundle", "apply", str(weeks / "new.tar"), "--to", "oci:out")
    assert done.returncode == 0, done.stderr
    assert "oci:from:team/sibling:v1 -> " in done.stdout
    for name, image in NEWER.items():
        assert main(["verify", f"oci:{tmp_path}/out:{name}"]) == 0
        assert (tmp_path / "out" / "blobs" / "sha256" / image.digest.hex).read_bytes() == image.manifest_raw
    assert {path: path.stat().st_mtime_ns for path in there} == there
    store = [path.name for path in (tmp_path / "runs" / "new.tar-load").rglob("*") if path.name == SHARED.digest.hex]
    assert not store


def test_onto_a_registry_what_other_repositories_have_is_mounted(weeks: Path, registry: RegistryServer, tmp_path: Path):
    place = ("--to", f"docker://{registry.name}/mirror", "--tls-verify=false", "--progress", "none")
    assert command(tmp_path, "bundle", "load", str(weeks / "old.tar"), *place).returncode == 0
    before = len(registry.asked())
    done = command(tmp_path, "bundle", "apply", str(weeks / "new.tar"), *place)
    assert done.returncode == 0, done.stderr
    asked = registry.asked()[before:]
    assert {one.target.partition("?")[0] for one in asked if one.mounts} == {"/v2/mirror/team/sibling/blobs/uploads/"}
    fresh = {layer.digest for name in ("team/app:v1", "team/sibling:v1") for layer in NEWER[name].layers[len(BASE) :]}
    configs = {NEWER[name].config for name in ("team/app:v1", "team/sibling:v1")}
    assert len([one for one in asked if one.uploads and one.method == "PUT"]) == len(fresh) + len(configs)
    for name, image in NEWER.items():
        seen = command(tmp_path, "inspect", "--raw", "--tls-verify=false", f"docker://{registry.name}/mirror/{name}")
        assert seen.stdout.encode() == image.manifest_raw
        assert main(["verify", "--tls-verify=false", f"docker://{registry.name}/mirror/{name}"]) == 0
    again = len(registry.asked())
    done = command(tmp_path, "bundle", "apply", str(weeks / "new.tar"), *place)
    assert done.returncode == 0, done.stderr
    assert not [one for one in registry.asked()[again:] if "/blobs/" in one.target]


def test_made_out_of_a_registry_on_a_base_no_layer_is_fetched_that_the_base_has(
    weeks: Path, registry: RegistryServer, tmp_path: Path
) -> None:
    place = ("--to", f"docker://{registry.name}/source", "--tls-verify=false", "--progress", "none")
    for name in ("old", "new"):
        assert command(tmp_path, "bundle", "apply", f"{weeks}/{name}.tar", *place).returncode == 0
    entries = [{"from": f"docker://{registry.name}/source/{name}"} for name in NEWER]
    said = {"version": 1, "name": "w", "registries": {registry.name: {"tls-verify": False}}}
    (tmp_path / "b.json").write_text(json.dumps({**said, "images": entries}))
    (tmp_path / "packed.json").write_text(json.dumps({**said, "defaults": {"layers": "zstd"}, "images": entries}))
    before = len(registry.asked())
    create(tmp_path / "b.json", tmp_path / "b.tar", "--since", f"{weeks}/old.tar")
    asked = {one.target.rpartition("/")[2] for one in registry.asked()[before:] if "/blobs/" in one.target}
    fresh = {str(one.digest) for name in ("team/app:v1", "team/sibling:v1") for one in NEWER[name].layers[len(BASE) :]}
    layers = {str(layer.digest) for image in NEWER.values() for one in (image, *image.children) for layer in one.layers}
    assert asked & layers == fresh
    done = command(tmp_path, "bundle", "apply", "b.tar", "--base", f"{weeks}/old.tar", "--to", "oci:out")
    assert done.returncode == 0, done.stderr
    # What was left out is fetched by the next run in the same folder, where it is needed.
    for batch, words in (("b.json", ()), ("packed.json", ()), ("packed.json", ("--since", f"{weeks}/old.tar"))):
        create(tmp_path / batch, tmp_path / "again.tar", *words)
        assert main(["bundle", "verify", f"{tmp_path}/again.tar"]) == 0


@pytest.mark.parametrize("to", ["oci", "docker"])
def test_where_the_base_is_not_it_is_refused_by_name_and_nothing_is_there(weeks, registry, tmp_path, to):
    place = {"oci": "oci:out", "docker": f"docker://{registry.name}/empty"}[to]
    done = command(tmp_path, "bundle", "apply", str(weeks / "new.tar"), "--to", place, "--tls-verify=false")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "of the base sha256:" in done.stderr
    assert "team/app:v1, team/web:v2, tool:latest" in done.stderr
    assert "--base" in done.stderr
    assert not (tmp_path / "out").exists()
    assert not [one for one in registry.asked() if one.target.startswith("/v2/empty/") and one.method != "HEAD"]


def test_a_single_blob_that_the_receiver_lacks_is_named(weeks: Path, tmp_path: Path) -> None:
    assert main(["bundle", "load", str(weeks / "old.tar"), "--to", f"oci:{tmp_path}/out", *runs(tmp_path)]) == 0
    (tmp_path / "out" / "blobs" / "sha256" / SHARED.digest.hex).unlink()
    before = (tmp_path / "out" / "index.json").read_bytes()
    done = command(tmp_path, "bundle", "apply", str(weeks / "new.tar"), "--to", "oci:out")
    assert done.returncode == 1
    assert f"lacks {SHARED.digest} of the base" in done.stderr
    assert (tmp_path / "out" / "index.json").read_bytes() == before


def test_what_is_left_out_is_read_from_the_bundle_that_brought_it(weeks: Path, tmp_path: Path) -> None:
    words = ("bundle", "apply", str(weeks / "new.tar"), "--to", "oci:out")
    done = command(tmp_path, *words, "--base", str(weeks / "old.tar"))
    assert done.returncode == 0, done.stderr
    for name in NEWER:
        assert main(["verify", f"oci:{tmp_path}/out:{name}"]) == 0


def test_into_an_engine_it_goes_with_the_file_of_its_base_alone(weeks, docker: Docker, tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    words = ("bundle", "apply", str(weeks / "new.tar"), "--to", "docker-daemon:")
    done = command(tmp_path, *words)
    assert done.returncode == 2
    assert "say --base" in done.stderr
    done = command(tmp_path, *words, "--base", str(weeks / "old.tar"))
    assert done.returncode == 0, done.stderr
    for name in NEWER:
        docker("image", "inspect", name)


def test_a_third_week_is_made_on_the_second_and_goes_on_top_of_it(weeks: Path, tmp_path: Path) -> None:
    third = {**NEWER, "late:v1": make_image("late", docker=False, layers=1, base_layers=BASE, layer_size=2000)}
    create(write_batch(_made(tmp_path / "third"), third), tmp_path / "third.tar", "--since", str(weeks / "new.tar"))
    bases = ("--base", str(weeks / "old.tar"))
    assert command(tmp_path, "bundle", "apply", str(weeks / "new.tar"), *bases, "--to", "oci:out").returncode == 0
    done = command(tmp_path, "bundle", "apply", "third.tar", "--to", "oci:out")
    assert done.returncode == 0, done.stderr
    assert main(["verify", f"oci:{tmp_path}/out:late:v1"]) == 0
    # One of both is not enough elsewhere.
    done = command(tmp_path, "bundle", "apply", "third.tar", "--to", "oci:other", *bases)
    assert done.returncode == 1
    assert "team/sibling:v1" in done.stderr
    done = command(
        tmp_path, "bundle", "apply", "third.tar", "--to", "oci:other", *bases, "--base", str(weeks / "new.tar")
    )
    assert done.returncode == 0, done.stderr


def test_killed_it_goes_on(weeks: Path, tmp_path: Path) -> None:
    assert main(["bundle", "load", str(weeks / "old.tar"), "--to", f"oci:{tmp_path}/out", *runs(tmp_path)]) == 0
    words = ("bundle", "apply", str(weeks / "new.tar"), "--to", "oci:out", "--progress", "none")
    checkpoints = tmp_path / "runs" / "new.tar-load" / "checkpoints"
    for wanted in (2, 8):
        killed(begin(tmp_path, *words), lambda wanted=wanted: len(list(checkpoints.rglob("*.json"))) >= wanted)
    done = command(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    for name in NEWER:
        assert main(["verify", f"oci:{tmp_path}/out:{name}"]) == 0


def test_a_base_blob_that_rotted_at_the_receiver_is_found(weeks: Path, tmp_path: Path) -> None:
    assert main(["bundle", "load", str(weeks / "old.tar"), "--to", f"oci:{tmp_path}/out", *runs(tmp_path)]) == 0
    shutil.rmtree(tmp_path / "runs")
    path = tmp_path / "out" / "blobs" / "sha256" / SHARED.digest.hex
    raw = bytearray(path.read_bytes())
    raw[9] ^= 1
    path.unlink()
    path.write_bytes(raw)
    done = command(tmp_path, "bundle", "apply", str(weeks / "new.tar"), "--to", "oci:out")
    assert done.returncode == 1
    assert str(SHARED.digest) in done.stderr


def test_out_of_a_bundle_on_a_base_what_is_left_out_is_said_to_be(weeks: Path, tmp_path: Path) -> None:
    done = command(tmp_path, "copy", f"bundle:{weeks}/new.tar:team/web:v2", "dir:out")
    assert done.returncode == 1
    assert "is left out" in done.stderr
    assert "transship bundle apply" in done.stderr
    assert not (tmp_path / "out").exists()


def test_each_blob_that_is_left_out_says_which_image_brought_it(
    weeks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "list", str(weeks / "new.tar")]) == 0
    assert "on a base: " in capsys.readouterr().out
    assert main(["inspect", "--raw", f"bundle:{weeks}/new.tar:team/web:v2"]) == 0
    assert json.loads(capsys.readouterr().out)


def runs(folder: Path) -> list[str]:
    return ["--runs", str(folder / "runs"), "--progress", "none"]


def test_verify_reads_the_bundle_of_a_run_as_what_it_is(weeks: Path, tmp_path: Path) -> None:
    shutil.copytree(weeks / "new", tmp_path / "new")
    create(tmp_path / "new" / "week.json", tmp_path / "b.tar", "--since", str(weeks / "old.tar"))
    run = str(tmp_path / "new" / "runs" / "week-bundle")
    done = command(tmp_path, "verify", run)
    assert (done.returncode, done.stdout) == (0, f"{len(NEWER)} images verified, 0 not\n"), done.stderr
    raw = bytearray((tmp_path / "b.tar").read_bytes())
    raw[raw.index(NEWER["team/sibling:v1"].layers[-1].packed) + 7] ^= 1
    (tmp_path / "b.tar").write_bytes(raw)
    done = command(tmp_path, "verify", run)
    assert (done.returncode, done.stdout) == (1, f"{len(NEWER) - 1} images verified, 1 not\n")
    assert "b.tar: damaged: not what its checksum says" in done.stderr
    assert "image team/sibling:v1: damaged" in done.stderr
    assert done.stderr.count("\n") == 3
    (tmp_path / "b.tar").unlink()
    assert command(tmp_path, "verify", run).stdout == f"0 images verified, {len(NEWER)} not\n"
