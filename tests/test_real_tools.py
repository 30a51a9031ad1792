"""The whole way with real tools at both ends: a registry, the command line, then whoever pulls, loads and runs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.corpus import Sample, corpus, push, sha256
from support.engines import Docker, Podman, docker_engine, podman_storage, tool
from support.images import OCI_INDEX, OCI_MANIFEST
from support.registry_server import running

ROOT = Path(__file__).parent.parent
OCI_LAYERS = "application/vnd.oci.image.layer.v1.tar"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_ONLY = ("Healthcheck", "OnBuild", "Labels", "StopSignal", "Cmd", "Env")
IMAGES = corpus(5, 4 << 20)
SINGLE, MULTI = IMAGES[:-1], IMAGES[-1]
SKOPEO_WRITES = {"oci": ":v1", "dir": "", "docker-archive": ":example.com/app:v1", "oci-archive": ":v1"}


@dataclass(frozen=True)
class World:
    registry: str
    out: Path


def name_of(image: Sample) -> str:
    return f"{image.repository}:{image.tag}"


def flat(image: Sample) -> str:
    return image.repository.replace("/", "-")


def document(raw: bytes) -> Any:
    return json.loads(raw)


def config_of(image: Sample) -> Any:
    return document(image.blobs[0])


def skopeo(*command: str | Path) -> bytes:
    return tool("skopeo", "--insecure-policy", *command)


def transship(*command: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "transship.pipeline.cli.main", *(str(part) for part in command)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "path")},
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def batch(registry: str) -> dict[str, object]:
    images: list[dict[str, object]] = []
    for image in IMAGES:
        to = ["oci:layout:{repository}:{tag}", f"dir:dir-{flat(image)}"]
        images.append({"from": f"docker://{registry}/{name_of(image)}", "to": to})
    for image in SINGLE:
        to = ["docker-archive:many.tar:{repository}:{tag}"]
        archive = {"to": to, "manifests": "docker", "platforms": "linux/amd64"}
        images.append({"from": f"docker://{registry}/{name_of(image)}", **archive})
    arm = {"to": ["docker-archive:arm.tar:arm:v1"], "manifests": "docker", "platforms": ["linux/arm64"]}
    images.append({"from": f"docker://{registry}/{name_of(MULTI)}", **arm})
    return {
        "version": 1,
        "defaults": {"platforms": "all", "manifests": "oci"},
        "images": images,
        "registries": {registry: {"tls-verify": False}},
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A registry that holds the images, and a folder into which one run copied them in three formats."""
    folder = tmp_path_factory.mktemp("real")
    with running(folder / "registry") as server:
        for image in IMAGES:
            push(server.name, image)
        out = folder / "out"
        out.mkdir()
        (out / "batch.yaml").write_text(json.dumps(batch(server.name)))
        transship("run", out / "batch.yaml", "--runs", folder / "runs", "--progress", "none")
        yield World(server.name, out)


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    with docker_engine() as engine:
        yield engine


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with podman_storage() as storage:
        yield storage


@pytest.fixture(scope="module")
def loaded(world: World, docker: Docker) -> Docker:
    said = docker("load", "-i", world.out / "many.tar").decode()
    assert {f"Loaded image: {name_of(image)}" for image in SINGLE} <= set(said.splitlines())
    return docker


def check_oci_instance(reference: str, manifest: Any, source: bytes) -> None:
    """``manifest`` says only OCI's media types and names the very layers and config that ``source`` names."""
    before = document(source)
    assert manifest["mediaType"] == OCI_MANIFEST
    assert manifest["config"] == {**before["config"], "mediaType": OCI_CONFIG}
    assert manifest["layers"] == [{**layer, "mediaType": f"{OCI_LAYERS}+gzip"} for layer in before["layers"]]
    config = skopeo("inspect", "--raw", "--config", reference)
    assert sha256(config) == before["config"]["digest"]


@pytest.mark.parametrize("image", SINGLE, ids=name_of)
def test_layout_holds_the_image_in_oci_types_with_its_layers_and_config(world: World, image: Sample) -> None:
    reference = f"oci:{world.out / 'layout'}:{name_of(image)}"
    check_oci_instance(reference, document(skopeo("inspect", "--raw", reference)), image.manifest)
    assert skopeo("inspect", "--raw", "--config", reference) == image.blobs[0]


def test_oci_image_tool_accepts_every_name_of_the_layout(world: World) -> None:
    # Its --ref finds no name among three or more, in Skopeo's layouts neither; without one it checks all.
    tool("oci-image-tool", "validate", "--type", "image", world.out / "layout")


@pytest.mark.parametrize("image", SINGLE, ids=name_of)
def test_umoci_unpacks_from_the_layout(world: World, image: Sample, tmp_path: Path) -> None:
    layout = f"{world.out / 'layout'}:{name_of(image)}"
    tool("umoci", "unpack", "--rootless", "--image", layout, tmp_path / "bundle")
    rootfs = tmp_path / "bundle" / "rootfs"
    own = rootfs / "app" / f"{image.repository}-{image.tag}-amd64"
    assert own.read_text() == f"{image.prints}\n" * 1000
    assert tool(rootfs / "bin" / "echo", image.prints).decode().strip() == image.prints


def test_multi_platform_image_is_an_oci_index_of_oci_instances(world: World, tmp_path: Path) -> None:
    reference = f"oci:{world.out / 'layout'}:{name_of(MULTI)}"
    index = document(skopeo("inspect", "--raw", reference))
    assert index["mediaType"] == OCI_INDEX
    assert [entry["mediaType"] for entry in index["manifests"]] == [OCI_MANIFEST] * 2
    assert [entry["platform"] for entry in index["manifests"]] == [
        entry["platform"] for entry in document(MULTI.manifest)["manifests"]
    ]
    for entry, source in zip(index["manifests"], MULTI.children, strict=True):
        one = tmp_path / entry["platform"]["architecture"]
        choose = ("--override-arch", entry["platform"]["architecture"])
        skopeo(*choose, "copy", "--preserve-digests", reference, f"dir:{one}")
        raw = (one / "manifest.json").read_bytes()
        assert (sha256(raw), len(raw)) == (entry["digest"], entry["size"])
        check_oci_instance(f"dir:{one}", document(raw), source)
    skopeo("copy", "--all", "--preserve-digests", reference, f"dir:{tmp_path / 'all'}")


@pytest.mark.parametrize("image", IMAGES, ids=name_of)
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
    assert sha256(shown) == document(MULTI.children[1])["config"]["digest"]


@pytest.mark.parametrize("image", SINGLE, ids=name_of)
def test_docker_runs_what_it_loaded(loaded: Docker, image: Sample) -> None:
    said = loaded("run", "--rm", "--network", "none", name_of(image)).decode()
    assert said == f"{image.prints}\n"


@pytest.mark.parametrize("image", SINGLE, ids=name_of)
def test_docker_sees_the_config_of_the_source(loaded: Docker, image: Sample) -> None:
    [shown] = document(loaded("image", "inspect", name_of(image)))
    config = config_of(image)
    assert shown["Id"] == sha256(image.blobs[0])
    assert shown["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
    assert {key: shown["Config"][key] for key in DOCKER_ONLY} == {key: config["config"][key] for key in DOCKER_ONLY}


def test_podman_loads_the_archive_and_sees_the_configs(world: World, podman: Podman) -> None:
    podman("load", "-i", world.out / "many.tar")
    for image in SINGLE:
        [shown] = document(podman("image", "inspect", name_of(image)))
        config = config_of(image)
        assert shown["Id"] == sha256(image.blobs[0]).removeprefix("sha256:")
        assert shown["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
        assert shown["Healthcheck"] == config["config"]["Healthcheck"]
        for key in ("Labels", "StopSignal", "Cmd", "Env"):  # it does not show OnBuild
            assert shown["Config"][key] == config["config"][key]


def check_copy(source: str, target: str, image: Sample) -> Any:
    """Copy by the product; the copy verifies, is OCI for skopeo and has the config bytes of ``source``."""
    transship("copy", "--format", "oci", source, target)
    assert "verified" in transship("verify", target)
    config = skopeo("inspect", "--raw", "--config", target)
    assert config == skopeo("inspect", "--raw", "--config", source)
    assert document(config)["rootfs"]["diff_ids"] == config_of(image)["rootfs"]["diff_ids"]
    manifest = document(skopeo("inspect", "--raw", target))
    assert manifest["mediaType"] == OCI_MANIFEST
    assert manifest["config"]["digest"] == sha256(config)
    assert all(layer["mediaType"].startswith(OCI_LAYERS) for layer in manifest["layers"])
    return manifest


@pytest.mark.parametrize("transport", SKOPEO_WRITES)
def test_what_skopeo_wrote_is_copied(world: World, transport: str, tmp_path: Path) -> None:
    image = SINGLE[0]
    theirs = f"{transport}:{tmp_path / 'theirs'}{SKOPEO_WRITES[transport]}"
    skopeo("copy", "--src-tls-verify=false", f"docker://{world.registry}/{name_of(image)}", theirs)
    manifest = check_copy(theirs, f"oci:{tmp_path / 'ours'}:v1", image)
    layers = [layer["digest"] for layer in manifest["layers"]]
    packed = [layer["digest"] for layer in document(image.manifest)["layers"]]
    # Skopeo itself unpacks the layers into a docker-archive.
    assert layers == (config_of(image)["rootfs"]["diff_ids"] if transport == "docker-archive" else packed)


def test_what_docker_saved_is_copied(loaded: Docker, tmp_path: Path) -> None:
    saved = tmp_path / "saved.tar"
    loaded("save", "-o", saved, *(name_of(image) for image in SINGLE))
    for image in SINGLE:
        target = f"oci:{tmp_path / 'ours'}:{name_of(image)}"
        manifest = check_copy(f"docker-archive:{saved}:{name_of(image)}", target, image)
        assert manifest["config"]["digest"] == sha256(image.blobs[0])
