"""The tools people have: skopeo writes and we read, we write and skopeo, umoci and oci-image-tool read."""

import json
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from support.conformance import put, read_all
from support.images import ImageBytes, make_base, make_image, make_multi, write_layout
from transship.pipeline.digest import Digest
from transship.pipeline.manifest.views import Image
from transship.pipeline.reference import PathReference, parse_reference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.transport import Source
from transship.pipeline.transports import open_sink, open_source

_NONE: Registries = None  # type: ignore[assignment]
_NAMES = {"oci": ":v1", "oci-archive": ":v1", "dir": "", "docker-archive": ":example.com/app:v1"}
TRANSPORTS = sorted(_NAMES)


def run(*command: str | Path) -> bytes:
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def skopeo(*command: str | Path) -> bytes:
    return run("skopeo", "--insecure-policy", *command)


def opened(text: str) -> Source:
    return open_source(parse_reference(text), _NONE)


def image_for(transport: str) -> ImageBytes:
    docker = transport == "docker-archive"
    return make_image(7, docker=docker, compressed=not docker, base_layers=make_base(3))


def written(transport: str, path: Path, *images: ImageBytes) -> Path:
    reference = parse_reference(f"{transport}:{path}{_NAMES[transport]}")
    assert isinstance(reference, PathReference)
    with open_sink(reference) as sink:
        for number, image in enumerate(images):
            name = reference.name if not number else f"{reference.name}-{number}"
            put(sink, image, name, path.with_name("store"))
    return path


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_skopeo_reads_what_we_wrote(transport: str, tmp_path: Path) -> None:
    image = image_for(transport)
    path = written(transport, tmp_path / "ours", image)
    seen = json.loads(skopeo("inspect", "--raw", f"{transport}:{path}{_NAMES[transport]}"))
    assert seen["config"]["digest"] == str(Digest.of(image.config))
    skopeo("copy", f"{transport}:{path}{_NAMES[transport]}", f"dir:{tmp_path / 'theirs'}")
    copied = json.loads((tmp_path / "theirs" / "manifest.json").read_text())
    assert len(copied["layers"]) == len(image.layers)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_we_read_what_skopeo_wrote(transport: str, tmp_path: Path) -> None:
    image = make_image(8, docker=False, base_layers=make_base(3))
    write_layout(tmp_path / "from", {"v1": image})
    skopeo("copy", f"oci:{tmp_path / 'from'}:v1", f"{transport}:{tmp_path / 'theirs'}{_NAMES[transport]}")
    with closing(opened(f"{transport}:{tmp_path / 'theirs'}{_NAMES[transport]}")) as source:
        found = read_all(source)
        root = source.manifest()
    assert isinstance(root, Image)
    assert found[root.config.digest] == image.config
    for digest, raw in found.items():
        assert Digest.of(raw) == digest
    if transport == "docker-archive":
        assert [layer.digest for layer in root.layers] == [layer.diff_id for layer in image.layers]
    else:
        assert found == image.all_blobs


@pytest.mark.parametrize("transport", ["oci", "oci-archive", "dir"])
def test_skopeo_reads_an_index_we_wrote(transport: str, tmp_path: Path) -> None:
    multi = make_multi(9, docker=False)
    path = written(transport, tmp_path / "ours", multi)
    skopeo("copy", "--all", f"{transport}:{path}{_NAMES[transport]}", f"dir:{tmp_path / 'theirs'}")
    with closing(opened(f"dir:{tmp_path / 'theirs'}")) as source:
        assert read_all(source) == multi.all_blobs


def test_skopeo_adds_to_our_layout_and_we_to_its(tmp_path: Path) -> None:
    path = written("oci", tmp_path / "both", image_for("oci"))
    write_layout(tmp_path / "from", {"v1": make_image(11, docker=False)})
    skopeo("copy", f"oci:{tmp_path / 'from'}:v1", f"oci:{path}:theirs")
    with open_sink(PathReference("oci", str(path))) as sink:
        put(sink, make_image(12, docker=False), "third", tmp_path / "store")
    for name, seed in (("v1", 7), ("theirs", 11), ("third", 12)):
        base = make_base(3) if seed == 7 else ()
        with closing(opened(f"oci:{path}:{name}")) as source:
            assert read_all(source) == make_image(seed, docker=False, base_layers=base).all_blobs


def test_several_images_in_one_archive_are_all_there_for_skopeo(tmp_path: Path) -> None:
    images = [make_image(n, docker=True, compressed=False) for n in range(3)]
    path = written("docker-archive", tmp_path / "many.tar", *images)
    for number, image in enumerate(images):
        raw = json.loads(skopeo("inspect", "--raw", f"docker-archive:{path}:@{number}"))
        assert raw["config"]["digest"] in {str(Digest.of(each.config)) for each in images}
        name = "example.com/app:v1" if not number else f"example.com/app:v1-{number}"
        raw = json.loads(skopeo("inspect", "--raw", f"docker-archive:{path}:{name}"))
        assert raw["config"]["digest"] == str(Digest.of(image.config))


def test_oci_tools_accept_our_layout(tmp_path: Path) -> None:
    path = written("oci", tmp_path / "ours", image_for("oci"))
    run("oci-image-tool", "validate", "--type", "image", "--ref", "name=v1", path)
    run("umoci", "unpack", "--rootless", "--image", f"{path}:v1", tmp_path / "bundle")
    assert (tmp_path / "bundle" / "rootfs" / "opt" / "7-0" / "name").read_text() == "7-0\n"


def test_oci_archive_is_an_ordinary_tar(tmp_path: Path) -> None:
    path = written("oci-archive", tmp_path / "ours.tar", image_for("oci-archive"))
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.mode) for member in members} == {(0, 0, 0, 0o444)}
