"""The whole way with real tools at both ends: a registry, the command line, then whoever pulls, loads and runs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.acceptance import (
    COUNT,
    OCI_LAYERS,
    PATIENCE,
    check_oci,
    check_unpacks,
    document,
    flat,
    images,
    instance,
    name_of,
    sizes,
    skopeo,
    transship,
)
from support.corpus import Sample, push, sha256
from support.engines import Docker, Podman, spent, tool
from support.images import OCI_INDEX, OCI_MANIFEST
from support.registry_server import running

pytestmark = pytest.mark.timeout(PATIENCE)
DOCKER_ONLY = ("Healthcheck", "OnBuild", "Labels", "StopSignal", "Cmd", "Env")


@dataclass(frozen=True)
class World:
    registry: str
    out: Path


def singles() -> list[Sample]:
    return images()[:-1]


@pytest.fixture(params=range(COUNT - 1))
def single(request: pytest.FixtureRequest) -> Sample:
    return images()[request.param]


@pytest.fixture(params=range(COUNT))
def image(request: pytest.FixtureRequest) -> Sample:
    return images()[request.param]


def config_of(image: Sample) -> Any:
    return document(image.blobs[0])


def batch(registry: str) -> dict[str, object]:
    entries: list[dict[str, object]] = []
    for image in images():
        to = ["oci:layout:{repository}:{tag}", f"dir:dir-{flat(image)}"]
        entries.append({"from": f"docker://{registry}/{name_of(image)}", "to": to})
    for image in singles():
        to = ["docker-archive:many.tar:{repository}:{tag}"]
        archive = {"to": to, "manifests": "docker", "platforms": "linux/amd64"}
        entries.append({"from": f"docker://{registry}/{name_of(image)}", **archive})
    arm = {"to": ["docker-archive:arm.tar:arm:v1"], "manifests": "docker", "platforms": ["linux/arm64"]}
    entries.append({"from": f"docker://{registry}/{name_of(images()[-1])}", **arm})
    return {
        "version": 1,
        "defaults": {"platforms": "all", "manifests": "oci"},
        "images": entries,
        "registries": {registry: {"tls-verify": False}},
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A registry that holds the images, and a folder into which one run copied them in three formats."""
    folder = tmp_path_factory.mktemp("real")
    with running(folder / "registry") as server:
        for image in images():
            push(server.name, image)
        out = folder / "out"
        out.mkdir()
        (out / "batch.yaml").write_text(json.dumps(batch(server.name)))
        transship("run", out / "batch.yaml", "--runs", folder / "runs", "--progress", "none")
        yield World(server.name, out)
        print(f"\n{sizes(out)}\n{spent()}")


@pytest.fixture(scope="module")
def loaded(world: World, docker: Docker) -> Docker:
    said = docker("load", "-i", world.out / "many.tar").decode()
    assert {f"Loaded image: {name_of(image)}" for image in singles()} <= set(said.splitlines())
    return docker


def check_oci_instance(reference: str, manifest: Any, source: bytes) -> None:
    """``manifest`` is OCI's and names the very layers and config that ``source`` names, with their sizes."""
    before = document(source)
    config = skopeo("inspect", "--raw", "--config", reference)
    assert sha256(config) == before["config"]["digest"]
    check_oci(manifest, config, [layer["digest"] for layer in before["layers"]])
    assert manifest["layers"] == [{**layer, "mediaType": f"{OCI_LAYERS}+gzip"} for layer in before["layers"]]
    assert manifest["config"]["size"] == before["config"]["size"]


def test_layout_holds_the_image_in_oci_types_with_its_layers_and_config(world: World, single: Sample) -> None:
    reference = f"oci:{world.out / 'layout'}:{name_of(single)}"
    check_oci_instance(reference, document(skopeo("inspect", "--raw", reference)), single.manifest)
    assert skopeo("inspect", "--raw", "--config", reference) == single.blobs[0]


def test_oci_image_tool_accepts_every_name_of_the_layout(world: World) -> None:
    # Its --ref finds no name among three or more, in Skopeo's layouts neither; without one it checks all.
    tool("oci-image-tool", "validate", "--type", "image", world.out / "layout")


def test_umoci_unpacks_from_the_layout(world: World, single: Sample, tmp_path: Path) -> None:
    check_unpacks(f"{world.out / 'layout'}:{name_of(single)}", single, tmp_path / "bundle")


def test_multi_platform_image_is_an_oci_index_of_oci_instances(world: World, tmp_path: Path) -> None:
    reference = f"oci:{world.out / 'layout'}:{name_of(images()[-1])}"
    index = document(skopeo("inspect", "--raw", reference))
    assert index["mediaType"] == OCI_INDEX
    assert [entry["mediaType"] for entry in index["manifests"]] == [OCI_MANIFEST] * 2
    assert [entry["platform"] for entry in index["manifests"]] == [
        entry["platform"] for entry in document(images()[-1].manifest)["manifests"]
    ]
    for entry, source in zip(index["manifests"], images()[-1].children, strict=True):
        one = tmp_path / entry["platform"]["architecture"]
        raw = instance(reference, entry["platform"]["architecture"], one)
        assert (sha256(raw), len(raw)) == (entry["digest"], entry["size"])
        check_oci_instance(f"dir:{one}", document(raw), source)
    skopeo("copy", "--all", "--preserve-digests", reference, f"dir:{tmp_path / 'all'}")


def test_skopeo_reads_the_folder_back(world: World, image: Sample, tmp_path: Path) -> None:
    folder = f"dir:{world.out / f'dir-{flat(image)}'}"
    shown = document(skopeo("inspect", folder))
    config = config_of(image)
    assert (shown["Architecture"], shown["Os"]) == (config["architecture"], config["os"])
    assert shown["Labels"] == config["config"]["Labels"]
    skopeo("copy", "--all", "--preserve-digests", folder, f"oci:{tmp_path / 'back'}:v1")
    back = skopeo("inspect", "--raw", f"oci:{tmp_path / 'back'}:v1")
    assert back == skopeo("inspect", "--raw", f"oci:{world.out / 'layout'}:{name_of(image)}")


def test_archive_of_another_platform_holds_that_platform(world: World) -> None:
    shown = skopeo("inspect", "--raw", "--config", f"docker-archive:{world.out / 'arm.tar'}:arm:v1")
    assert sha256(shown) == document(images()[-1].children[1])["config"]["digest"]


def test_docker_runs_what_it_loaded(loaded: Docker, single: Sample) -> None:
    said = loaded("run", "--rm", "--network", "none", name_of(single)).decode()
    assert said == f"{single.prints}\n"


def test_docker_sees_the_config_of_the_source(loaded: Docker, single: Sample) -> None:
    [shown] = document(loaded("image", "inspect", name_of(single)))
    config = config_of(single)
    assert shown["Id"] == sha256(single.blobs[0])
    assert shown["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
    assert {key: shown["Config"][key] for key in DOCKER_ONLY} == {key: config["config"][key] for key in DOCKER_ONLY}


def test_podman_loads_the_archive_and_sees_the_configs(world: World, podman: Podman) -> None:
    podman("load", "-i", world.out / "many.tar")
    for image in singles():
        [shown] = document(podman("image", "inspect", name_of(image)))
        config = config_of(image)
        assert shown["Id"] == sha256(image.blobs[0]).removeprefix("sha256:")
        assert shown["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
        assert shown["Healthcheck"] == config["config"]["Healthcheck"]
        for key in ("Labels", "StopSignal", "Cmd", "Env"):  # it does not show OnBuild
            assert shown["Config"][key] == config["config"][key]


def test_what_docker_saved_is_copied(loaded: Docker, tmp_path: Path) -> None:
    saved = tmp_path / "saved.tar"
    loaded("save", "-o", saved, *(name_of(image) for image in singles()))
    for image in singles():
        source, target = f"docker-archive:{saved}:{name_of(image)}", f"oci:{tmp_path / 'ours'}:{name_of(image)}"
        transship("copy", "--format", "oci", source, target)
        assert "verified" in transship("verify", target)
        config = skopeo("inspect", "--raw", "--config", target)
        assert config == skopeo("inspect", "--raw", "--config", source) == image.blobs[0]
        # Docker saves plain layers.
        check_oci(document(skopeo("inspect", "--raw", target)), config, config_of(image)["rootfs"]["diff_ids"])
