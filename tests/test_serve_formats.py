"""What the registry serves from: every format in place, every name in its place; skopeo pulls all."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.images import make_image, make_index, make_multi, write_layout
from support.serving import Reply, pack, served, write_directory, write_docker_archive
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import OCI_MANIFEST
from transship.pipeline.serve import naming
from transship.pipeline.serve.formats import open_contents

IMAGE = make_image(1, layer_size=200_000, healthcheck=True)
MULTI = make_multi(2)
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    write_layout(path, {"team/app:v1": IMAGE, "tool": MULTI, "": make_image(3)})
    return path


def names(*given_names: str, own: str = "mirror") -> set[str]:
    digests = {name: Digest.of(name.encode()) for name in given_names}
    images = [(name, Descriptor(OCI_MANIFEST, digests[name], 1)) for name in given_names]
    found = naming.table([naming.Group("here", own, images)])
    return {f"{repository}:{tag}" for repository, tags in found.items() for tag in tags}


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        (["team/app:v1"], {"team/app:v1", "mirror:latest"}),
        (["app", "team/web:v1"], {"app:latest", "mirror:app", "team/web:v1"}),
        (["V1.0", "x:y"], {"mirror:V1.0", "x:y"}),
        (["a/b", "x:y"], {"a/b:latest", "x:y"}),
        (["reg.example/app:v1", "x:y"], {"reg.example/app:v1", "app:v1", "x:y"}),
        (["localhost:5000/app:v1", "x:y"], {"app:v1", "x:y"}),
        (["reg.example/app:v1", "other.example/app:v1"], {"reg.example/app:v1", "other.example/app:v1"}),
        (["", ""], set()),
        ([""], {"mirror:latest"}),
        (["../../etc:v1", "a b", "UP/x:v1", "x:" + "t" * 129], set()),
    ],
)
def test_names_on_disk_become_repositories_and_tags(given_names: list[str], expected: set[str]) -> None:
    assert names(*given_names) == expected


@pytest.mark.parametrize(
    ("name", "repository"), [("Mirror 2.tar", "mirror-2"), ("app.oci.tar", "app-oci"), ("..", "x")]
)
def test_repository_of_a_folder_is_well_formed(tmp_path: Path, name: str, repository: str) -> None:
    found = naming.repository_of(tmp_path / name)
    assert naming.REPOSITORY.fullmatch(found)
    if name != "..":
        assert found == repository


def test_an_oci_archive_is_served_in_place(layout: Path, tmp_path: Path) -> None:
    with served(pack(layout, tmp_path / "mirror.tar")) as port:
        layer = IMAGE.layers[1]
        assert Reply(port, "/v2/team/app/manifests/v1").body == IMAGE.manifest_raw
        got = Reply(port, f"/v2/team/app/blobs/{layer.digest}", Range="bytes=10-19")
        assert (got.status, got.body) == (206, layer.packed[10:20])


def test_a_directory_is_served_as_latest(tmp_path: Path) -> None:
    write_directory(tmp_path / "app", MULTI)
    with served(tmp_path / "app") as port:
        assert Reply(port, "/v2/app/manifests/latest").body == MULTI.manifest_raw
        child = MULTI.children[0]
        assert Reply(port, f"/v2/app/manifests/{child.digest}").body == child.manifest_raw
        assert Reply(port, f"/v2/app/blobs/{child.layers[0].digest}").body == child.layers[0].packed


def test_a_docker_archive_gets_a_manifest_and_keeps_config_and_layers(tmp_path: Path) -> None:
    write_docker_archive(tmp_path / "app.tar", IMAGE, ["team/app:v1", "team/app:v2"])
    with served(tmp_path / "app.tar") as port:
        got = Reply(port, "/v2/team/app/manifests/v2")
        manifest = json.loads(got.body)
        assert got.headers["Docker-Content-Digest"] == str(Digest.of(got.body))
        assert Reply(port, f"/v2/team/app/blobs/{manifest['config']['digest']}").body == IMAGE.config
        for layer, described in zip(IMAGE.layers, manifest["layers"], strict=True):
            assert Reply(port, f"/v2/team/app/blobs/{described['digest']}").body == layer.tar


def test_what_cannot_be_served_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        open_contents([tmp_path / "none"])
    with pytest.raises(UsageError, match="not an OCI layout"):
        open_contents([tmp_path])
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b\x08 and so on")
    with pytest.raises(ContentError, match="compressed"):
        open_contents([tmp_path / "x.tar.gz"])


def skopeo(*arguments: str) -> None:
    subprocess.run(["skopeo", "--insecure-policy", *arguments], check=True, timeout=120, capture_output=True)


@needs_skopeo
@pytest.mark.parametrize("form", ["layout", "oci-archive", "docker-archive", "dir"])
def test_skopeo_pulls_and_gets_the_same_image(layout: Path, tmp_path: Path, form: str) -> None:
    path, reference = layout, "team/app:v1"
    if form == "oci-archive":
        path = pack(layout, tmp_path / "mirror.tar")
    elif form == "docker-archive":
        path = tmp_path / "app.tar"
        write_docker_archive(path, IMAGE, ["team/app:v1"])
    elif form == "dir":
        path, reference = tmp_path / "app", "app:latest"
        write_directory(path, IMAGE)
    out = tmp_path / "out"
    with served(path) as port:
        skopeo("copy", "--src-tls-verify=false", f"docker://127.0.0.1:{port}/{reference}", f"dir:{out}")
    config = Digest.of(IMAGE.config)
    assert (out / config.hex).read_bytes() == IMAGE.config
    if form != "docker-archive":
        assert (out / "manifest.json").read_bytes() == IMAGE.manifest_raw


@needs_skopeo
def test_skopeo_pulls_every_platform_of_a_list(layout: Path, tmp_path: Path) -> None:
    with served(layout) as port:
        skopeo("copy", "--all", "--src-tls-verify=false", f"docker://127.0.0.1:{port}/tool", f"dir:{tmp_path / 'out'}")
    assert (tmp_path / "out/manifest.json").read_bytes() == MULTI.manifest_raw


def test_an_oci_index_of_oci_images_is_served_with_oci_types(tmp_path: Path) -> None:
    index = make_index([make_image(n, docker=False) for n in range(2)], docker=False)
    write_layout(tmp_path / "oci", {"app:v1": index})
    with served(tmp_path / "oci") as port:
        assert Reply(port, "/v2/app/manifests/v1").headers["Content-Type"] == index.media_type


def test_the_whole_name_that_docker_save_annotates_counts(layout: Path) -> None:
    index = json.loads((layout / "index.json").read_text())
    index["manifests"][1]["annotations"] = {
        "org.opencontainers.image.ref.name": "v7",
        "io.containerd.image.name": "docker.io/library/tool:v7",
    }
    (layout / "index.json").write_text(json.dumps(index))
    with served(layout) as port:
        for repository in ("docker.io/library/tool", "library/tool"):
            assert Reply(port, f"/v2/{repository}/manifests/v7").body == MULTI.manifest_raw


def test_the_command_prints_its_port_and_ends_when_told_to(layout: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "transship.pipeline.cli.main", "serve", str(layout), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "path")}
    log = tmp_path / "access.jsonl"
    with subprocess.Popen(
        [*command, "--access-log", str(log)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"on http://127\.0\.0\.1:(\d+) \(3 repositories\)", process.stdout.readline())
            assert found
            assert Reply(int(found[1]), "/v2/").status == 200
            deadline = time.monotonic() + 20
            while not log.read_text() and time.monotonic() < deadline:
                time.sleep(0.01)
            process.terminate()
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert json.loads(log.read_text())["path"] == "/v2/"
