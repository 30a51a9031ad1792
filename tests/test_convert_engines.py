"""What Docker Engine and Podman make of a converted image: the same as of the original, in every field and when run."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.corpus import CONFIG, GZIP_LAYER, Packed, sha256
from support.engines import Docker, Podman
from support.images import DOCKER_MANIFEST, ImageBytes, Layer
from support.kinds import KINDS, pointer, write_folder
from support.peers import ours, skopeo
from support.schema1 import Schema1Image
from support.schema1 import write_folder as write_schema1
from transship.pipeline.digest import Digest

SCRIPT = "id -u; echo $GREETING; pwd; cat /data/note"
RUN: dict[str, Any] = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": [SCRIPT],
    "Env": ["PATH=/bin", "GREETING=hello <&> é"],
    "Labels": {"org.example.a": "1", "b": "<&>"},
    "User": "1000:1000",
    "Volumes": {"/data": {}},
    "WorkingDir": "/work",
    "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGQUIT",
    "StopTimeout": 3,
    "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000, "Retries": 2},
    "OnBuild": ["RUN true"],
    "Shell": ["/bin/sh", "-ec"],
    "Hostname": "here",
}
PRINTS = "1000\nhello <&> é\n/work\na note\n"
FIELDS = ("Entrypoint", "Cmd", "Env", "Labels", "User", "Volumes", "WorkingDir", "ExposedPorts", "StopSignal")
DOCKER_FIELDS = (*FIELDS, "Healthcheck", "OnBuild", "Shell")


def layer(files: dict[str, bytes]) -> Packed:
    """Return a layer of programs that all may run, their folders open to all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in dict.fromkeys(path.partition("/")[0] for path in files):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    tar = buffer.getvalue()
    raw = gzip.compress(tar, 1, mtime=0)
    return Packed(sha256(raw), sha256(tar), raw)


def stack() -> list[Packed]:
    shell = Path("/bin/busybox").read_bytes()
    return [
        layer(dict.fromkeys(("bin/sh", "bin/id", "bin/cat"), shell)),
        layer({"data/note": b"a note\n", "work/file": b""}),
    ]


def original() -> ImageBytes:
    layers = stack()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "docker_version": "20.10.24",
        "config": RUN,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "COPY"} for _ in layers],
    }
    raw = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": pointer(CONFIG, raw),
        "layers": [pointer(GZIP_LAYER, layer.raw) for layer in layers],
    }
    blobs = {Digest.of(blob): blob for blob in (raw, *(layer.raw for layer in layers))}
    return ImageBytes(json.dumps(manifest).encode(), DOCKER_MANIFEST, blobs)


def old_original() -> Schema1Image:
    """Return the same image as Docker 1.10 would have pushed it."""
    base = {"id": "1" * 64, "created": "2015-01-02T03:04:05Z", "container_config": {"Cmd": ["COPY"]}}
    top = {"id": "2" * 64, "parent": "1" * 64, "architecture": "amd64", "os": "linux", "config": RUN} | {
        "created": "2015-01-02T03:04:05Z"
    }
    layers = stack()
    document = {
        "schemaVersion": 1,
        "name": "team/old",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": layer.digest} for layer in reversed(layers)],
        "history": [{"v1Compatibility": json.dumps(entry)} for entry in (top, base)],
    }
    raw = json.dumps(document).encode()
    return Schema1Image(raw, Digest.of(raw), tuple(Layer(b"", layer.raw) for layer in layers))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the original as skopeo archives it, and what transship converted it to, there and back."""
    folder = tmp_path_factory.mktemp("engines")
    write_folder(folder / "original", original())
    write_schema1(folder / "old", old_original())
    skopeo(folder, "copy", "dir:original", "docker-archive:original.tar:t/original:v1")
    for way in ((), ("--dest-compress-format", "zstd")):
        ours(folder, "copy", *way, "dir:original", f"oci:layout:{'zstd' if way else 'oci'}")
    ours(folder, "copy", "oci:layout:oci", "docker-archive:oci.tar:t/oci:v1")
    ours(folder, "copy", "oci:layout:zstd", "docker-archive:zstd.tar:t/zstd:v1")
    ours(folder, "copy", "dir:old", "docker-archive:old.tar:t/old:v1")
    ours(folder, "copy", "dir:old", "oci:layout:old")
    return folder


def docker_sees(docker: Docker, name: str) -> Any:
    [shown] = json.loads(docker("image", "inspect", name))
    return shown


@pytest.mark.parametrize("name", ["oci", "zstd", "old"])
def test_docker_shows_and_runs_what_it_does_of_the_original(docker: Docker, images: Path, name: str) -> None:
    for archive in ("original", name):
        docker("load", "-i", images / f"{archive}.tar")
    before, after = docker_sees(docker, "t/original:v1"), docker_sees(docker, f"t/{name}:v1")
    assert {key: after["Config"][key] for key in DOCKER_FIELDS} == {key: before["Config"][key] for key in DOCKER_FIELDS}
    assert {key: after["Config"][key] for key in DOCKER_FIELDS} == {key: RUN[key] for key in DOCKER_FIELDS}
    assert after["RootFS"] == before["RootFS"]
    assert (after["Id"] == before["Id"]) == (name != "old")
    for image in (f"t/{name}:v1", "t/original:v1"):
        assert docker("run", "--rm", "--network", "none", image).decode() == PRINTS


@pytest.mark.parametrize("kind", ["docker-scratch", "docker-twice", "docker-history"])
def test_docker_and_podman_load_odd_images_with_the_same_id(
    docker: Docker, podman: Podman, tmp_path: Path, kind: str
) -> None:
    image = KINDS[kind]
    write_folder(tmp_path / "in", image)
    ours(tmp_path, "copy", "dir:in", "oci:layout:v1")
    ours(tmp_path, "copy", "oci:layout:v1", f"docker-archive:out.tar:t/{kind}:v1")
    diff_ids = [str(layer.diff_id) for layer in image.layers]
    for engine in (docker, podman):
        engine("load", "-i", tmp_path / "out.tar")
        [shown] = json.loads(engine("image", "inspect", f"t/{kind}:v1"))
        assert shown["Id"].removeprefix("sha256:") == Digest.of(image.config).hex
        assert (shown["RootFS"].get("Layers") or []) == diff_ids


@pytest.mark.parametrize("name", ["oci", "zstd", "old"])
def test_podman_shows_what_it_does_of_the_original(podman: Podman, images: Path, name: str) -> None:
    podman("load", "-i", images / "original.tar")
    podman("load", "-i", images / f"{name}.tar")
    shown = [json.loads(podman("image", "inspect", f"t/{image}:v1"))[0] for image in ("original", name)]
    for one in shown:
        assert {key: one["Config"][key] for key in FIELDS} == {key: RUN[key] for key in FIELDS}
        assert one["Healthcheck"] == RUN["Healthcheck"]
    assert shown[0]["RootFS"] == shown[1]["RootFS"]


@pytest.mark.parametrize("name", ["oci", "zstd", "old"])
def test_podman_pulls_the_layout_with_the_same_config(podman: Podman, images: Path, name: str) -> None:
    pulled = podman("pull", f"oci:{images / 'layout'}:{name}").decode().split()[-1]
    [shown] = json.loads(podman("image", "inspect", pulled))
    assert {key: shown["Config"][key] for key in FIELDS} == {key: RUN[key] for key in FIELDS}
    if name != "old":
        assert shown["Id"] == original().document["config"]["digest"].removeprefix("sha256:")


@pytest.mark.parametrize("name", ["oci", "old"])
def test_podman_shows_the_healthcheck_of_what_was_written_to_it_as_docker(
    podman: Podman, images: Path, name: str
) -> None:
    # Of an OCI manifest it shows none, though the config has it.
    target = f"containers-storage:{podman.store}localhost/t/back-{name}:v1"
    ours(images, "copy", "--format", "v2s2", f"oci:layout:{name}", target)
    [shown] = json.loads(podman("image", "inspect", f"localhost/t/back-{name}:v1"))
    assert shown["Healthcheck"] == RUN["Healthcheck"]
    assert {key: shown["Config"][key] for key in FIELDS} == {key: RUN[key] for key in FIELDS}
