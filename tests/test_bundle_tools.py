"""Bundles in the hands of others: skopeo, umoci, oci-image-tool, Podman read them; engines pull what is served."""

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import pyzstd

from support.acceptance import skopeo
from support.bundles import create, write_batch
from support.command import environment
from support.engines import Containerd, Docker, Podman, tool
from support.images import ImageBytes, make_base, make_image, make_index
from support.serving import served

BASE = make_base("tools", layers=1)
IMAGES: dict[str, ImageBytes] = {
    "team/app:v1": make_image("tools app", docker=False, layers=1, base_layers=BASE),
    "tool:v2": make_index(
        [make_image(f"tool {name}", docker=False, layers=1, platform=name) for name in ("linux/amd64", "linux/arm64")],
        docker=False,
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    create(write_batch(folder, IMAGES), folder / "b.tar")
    return folder / "b.tar"


@pytest.fixture(scope="module", params=["b.tar --split 8K", "b.tar.zst"])
def port(request: pytest.FixtureRequest, whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("served")
    name, *words = request.param.split()
    create(whole.parent / "week.json", folder / name, *words)
    with served(folder / name) as found:
        yield found


def test_skopeo_copies_each_image_out_of_it(whole: Path, tmp_path: Path) -> None:
    for number, (name, image) in enumerate(IMAGES.items()):
        skopeo("copy", "--all", "--preserve-digests", f"oci-archive:{whole}:{name}", f"dir:{tmp_path}/{number}")
        assert (tmp_path / str(number) / "manifest.json").read_bytes() == image.manifest_raw


def test_oci_image_tool_and_umoci_accept_the_layout_in_it(whole: Path, tmp_path: Path) -> None:
    with tarfile.open(whole) as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    for name in IMAGES:
        tool("oci-image-tool", "validate", "--type", "image", "--ref", f"name={name}", tmp_path / "layout")
    assert tool("umoci", "ls", "--layout", tmp_path / "layout").decode().split() == sorted(IMAGES)


def test_podman_loads_an_image_out_of_it(whole: Path, podman: Podman) -> None:
    podman("pull", "-q", f"oci-archive:{whole}:team/app:v1")


def test_any_zstd_unpacks_what_is_packed(whole: Path, tmp_path: Path) -> None:
    create(whole.parent / "week.json", tmp_path / "b.tar.zst")
    assert pyzstd.decompress((tmp_path / "b.tar.zst").read_bytes()).startswith(whole.read_bytes()[:512])


def test_skopeo_pulls_what_is_served_of_it(port: int, tmp_path: Path) -> None:
    for number, (name, image) in enumerate(IMAGES.items()):
        source = f"docker://127.0.0.1:{port}/{name}"
        skopeo("copy", "--all", "--src-tls-verify=false", source, f"dir:{tmp_path}/{number}")
        assert (tmp_path / str(number) / "manifest.json").read_bytes() == image.manifest_raw


def test_podman_and_docker_pull_what_is_served_of_it(port: int, podman: Podman, docker: Docker) -> None:
    podman("pull", "-q", "--tls-verify=false", f"127.0.0.1:{port}/team/app:v1")
    for name in IMAGES:
        docker("pull", "-q", f"127.0.0.1:{port}/{name}")


def test_containerd_pulls_what_is_served_of_it(port: int, ctr: Containerd) -> None:
    for name, image in IMAGES.items():
        ctr.pull(f"127.0.0.1:{port}/{name}", "--all-platforms")
        assert ctr.digests()[f"127.0.0.1:{port}/{name}"] == str(image.digest)


def test_the_command_serves_volumes_by_either_name(whole: Path, tmp_path: Path) -> None:
    create(whole.parent / "week.json", tmp_path / "b.tar", "--split", "8K")
    for name in ("b.tar", "b.tar.001", "b.tar.sums"):
        words = [sys.executable, "-m", "transship.pipeline.cli.main", "serve", name]
        with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.terminate()
            assert said.startswith("serving b.tar on http://127.0.0.1:")
            # By their own names; the only repository besides is for those that have none.
            assert "(2 repositories)" in said
