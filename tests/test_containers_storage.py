"""``containers-storage:`` with a real Podman, both ways; and what is said where there is none, or it refuses."""

import json
import os
import tarfile
import time
from pathlib import Path

import pytest

from support.acceptance import document, skopeo
from support.command import command
from support.corpus import Sample, corpus, push, sha256
from support.engines import Podman
from support.peers import ours
from support.registry_server import RegistryServer

SIZE = 1 << 20


@pytest.fixture(scope="module")
def images() -> list[Sample]:
    return corpus(2, SIZE)


@pytest.fixture(scope="module")
def image(images: list[Sample]) -> Sample:
    return images[0]


@pytest.fixture(scope="module")
def registry(open_registry: RegistryServer, images: list[Sample]) -> str:
    for image in images:
        push(open_registry.name, image)
    return open_registry.name


def copied(folder: Path, registry: str, image: Sample, target: str, *options: str) -> None:
    source = f"docker://{registry}/{image.repository}:{image.tag}"
    done = command(folder, "copy", "--src-tls-verify=false", *options, source, f"containers-storage:{target}")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def loaded(podman: Podman, registry: str, image: Sample, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image in the storage, copied there from the registry."""
    copied(tmp_path_factory.mktemp("copy"), registry, image, f"{podman.store}x.example/copied:v1")
    return "x.example/copied:v1"


def test_storage_has_the_manifest_the_config_and_the_layers_of_the_source(
    podman: Podman, loaded: str, image: Sample
) -> None:
    [shown] = document(podman("image", "inspect", loaded))
    assert shown["Id"] == sha256(image.blobs[0]).removeprefix("sha256:")
    assert shown["Digest"] == sha256(image.manifest)
    assert shown["RootFS"]["Layers"] == document(image.blobs[0])["rootfs"]["diff_ids"]
    assert shown["RepoTags"] == [loaded]


def test_inspect_says_of_it_what_skopeo_says_but_for_the_manifest(podman: Podman, loaded: str, tmp_path: Path) -> None:
    reference = f"containers-storage:{podman.store}{loaded}"
    shown, theirs = (
        document(raw) for raw in (ours(tmp_path, "inspect", reference).encode(), skopeo("inspect", reference))
    )
    assert shown["Name"] == "x.example/copied"
    for said in (shown, theirs):
        # Podman gives the image out with plain layers, and another manifest than it keeps.
        assert all(said.pop(field) for field in ("Digest", "Layers"))
        said.pop("LayersData", None)
    assert shown == theirs


def test_healthcheck_of_a_docker_image_is_kept(podman: Podman, loaded: str, image: Sample) -> None:
    [shown] = document(podman("image", "inspect", loaded))
    assert shown["Healthcheck"] == document(image.blobs[0])["config"]["Healthcheck"]


def test_image_of_the_storage_becomes_a_layout_with_its_config_and_plain_layers(
    podman: Podman, loaded: str, image: Sample, tmp_path: Path
) -> None:
    done = command(tmp_path, "copy", "-f", "oci", f"containers-storage:{podman.store}{loaded}", "oci:out:v1")
    assert done.returncode == 0, done.stderr
    layout = f"oci:{tmp_path / 'out'}:v1"
    assert skopeo("inspect", "--raw", "--config", layout) == image.blobs[0]
    layers = [layer["digest"] for layer in document(skopeo("inspect", "--raw", layout))["layers"]]
    assert layers == document(image.blobs[0])["rootfs"]["diff_ids"]


def test_copy_into_oci_form_is_oci_in_the_storage(
    podman: Podman, registry: str, images: list[Sample], tmp_path: Path
) -> None:
    copied(tmp_path, registry, images[1], f"{podman.store}multi:v1", "-f", "oci", "--platform", "linux/arm64")
    config = document(images[1].children[1])["config"]["digest"]
    [shown] = document(podman("image", "inspect", "docker.io/library/multi:v1"))
    assert (shown["ManifestType"], shown["Architecture"]) == ("application/vnd.oci.image.manifest.v1+json", "arm64")
    assert f"sha256:{shown['Id']}" == config


def test_image_is_found_by_its_id_whole_or_short(podman: Podman, loaded: str, image: Sample, tmp_path: Path) -> None:
    assert loaded
    image_id = sha256(image.blobs[0]).removeprefix("sha256:")
    references = [f"containers-storage:{podman.store}@{text}" for text in (image_id, image_id[:12])]
    done = command(tmp_path, "verify", *references)
    assert (done.returncode, done.stdout) == (0, "2 images verified, 0 not\n"), done.stderr


def test_image_is_found_by_the_digest_of_its_manifest(
    podman: Podman, loaded: str, image: Sample, tmp_path: Path
) -> None:
    name = f"{podman.store}{loaded}@{sha256(image.manifest)}"
    done = command(tmp_path, "verify", f"containers-storage:{name}")
    assert done.returncode == 0, done.stderr


def test_run_writes_to_the_storage_and_verify_finds_it_there(
    podman: Podman, registry: str, image: Sample, tmp_path: Path
) -> None:
    source = f"docker://{registry}/{image.repository}:{image.tag}"
    entry = {"from": source, "to": [f"containers-storage:{podman.store}run/{{name}}:{{tag}}"]}
    batch = {"version": 1, "images": [entry], "registries": {registry: {"tls-verify": False}}}
    (tmp_path / "batch.yaml").write_text(json.dumps(batch))
    done = command(tmp_path, "run", "batch.yaml", "--progress", "none")
    assert done.returncode == 0, done.stderr
    [shown] = document(podman("image", "inspect", "docker.io/run/app0:v1"))
    assert shown["Digest"] == sha256(image.manifest)
    assert command(tmp_path, "verify", "batch").stdout == "1 images verified, 0 not\n"


def test_image_that_the_storage_does_not_have_is_not_found(podman: Podman, tmp_path: Path) -> None:
    done = command(tmp_path, "copy", f"containers-storage:{podman.store}nosuch:v1", "dir:out")
    assert done.returncode == 2
    assert done.stderr.endswith("docker.io/library/nosuch:v1: no such image; see podman images\n")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_podman_refuses_is_one_line(tmp_path: Path) -> None:
    done = command(tmp_path, "copy", f"containers-storage:[nodriver@{tmp_path}/root+{tmp_path}/run]a:v1", "dir:out")
    assert done.returncode == 1
    assert "podman [nodriver@" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [("containers-storage:a:v1", "dir:out"), ("dir:nowhere", "containers-storage:a:v1")])
def test_podman_that_is_not_installed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, str]
) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    done = command(tmp_path, "copy", *words)
    assert done.returncode == 1
    assert done.stderr == (
        "transship: containers-storage: podman is not installed, or not in PATH; "
        "install podman: images are read and written by it\n"
    )


@pytest.mark.parametrize("target", ["@abc123", f"a@sha256:{'0' * 64}"])
def test_only_a_name_with_a_tag_can_be_written(podman: Podman, tmp_path: Path, target: str) -> None:
    done = command(tmp_path, "copy", "dir:nowhere", f"containers-storage:{podman.store}{target}")
    assert done.returncode == 1
    assert "expected containers-storage:[store]name:tag" in done.stderr


def names(podman: Podman) -> set[str]:
    return {name for found in document(podman("images", "--format", "json")) for name in found.get("Names", [])}


@pytest.fixture
def named(podman: Podman, tmp_path: Path) -> str:
    """An image of its own, by the names ``x.example/one:v1`` and ``x.example/two:v2``; its ID."""
    ours(tmp_path, "copy", "-q", f"tarball:{a_tar(tmp_path)}", f"containers-storage:{podman.store}x.example/one:v1")
    podman("tag", "x.example/one:v1", "x.example/two:v2")
    return podman("image", "inspect", "--format", "{{.ID}}", "x.example/one:v1").decode().strip()


def a_tar(folder: Path) -> Path:
    with tarfile.open(folder / "layer.tar", "w") as tar:
        entry = tarfile.TarInfo("etc/own")
        entry.mtime = int(time.time())
        tar.addfile(entry)
    return folder / "layer.tar"


def test_delete_removes_the_image_with_all_its_names_and_says_so(podman: Podman, named: str, tmp_path: Path) -> None:
    before = names(podman)
    done = command(tmp_path, "delete", f"containers-storage:{podman.store}x.example/one:v1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)
    assert "x.example/two:v2" in done.stderr
    assert names(podman) == before - {"x.example/one:v1", "x.example/two:v2"}
    again = command(tmp_path, "delete", f"containers-storage:{podman.store}x.example/one:v1")
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)


def test_delete_by_an_id_and_what_skopeo_leaves_are_alike(podman: Podman, named: str, tmp_path: Path) -> None:
    ours(tmp_path, "delete", f"containers-storage:{podman.store}@{named}")
    mine = names(podman)
    ours(tmp_path, "copy", "-q", f"tarball:{a_tar(tmp_path)}", f"containers-storage:{podman.store}x.example/one:v1")
    podman("tag", "x.example/one:v1", "x.example/two:v2")
    skopeo("delete", f"containers-storage:{podman.store}x.example/one:v1")
    assert names(podman) == mine


def test_delete_leaves_an_image_in_use_with_all_its_names(podman: Podman, named: str, tmp_path: Path) -> None:
    container = podman("create", named, "true").decode().strip()
    try:
        before = names(podman)
        done = command(tmp_path, "delete", f"containers-storage:{podman.store}x.example/one:v1")
        assert done.returncode == 1
        assert f"container {container} is made of it" in done.stderr
        assert names(podman) == before
    finally:
        podman("rm", container)
        podman("rmi", "-f", named)


def test_delete_leaves_what_another_image_is_made_of(podman: Podman, named: str, tmp_path: Path) -> None:
    container = podman("create", named, "true").decode().strip()
    podman("commit", "-q", container, "x.example/child:v1")
    podman("rm", container)
    ours(tmp_path, "delete", f"containers-storage:{podman.store}x.example/two:v2")
    ours(tmp_path, "copy", "-q", f"containers-storage:{podman.store}x.example/child:v1", "dir:child")
    assert "x.example/one:v1" not in names(podman)
    podman("rmi", "x.example/child:v1")
