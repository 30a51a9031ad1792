"""``sync`` of 50 images that is killed again and again; and two sources for one name, to folders and to registries."""

import signal
import time
from pathlib import Path

import pytest

from support.command import begin, command, tree
from support.images import ImageBytes, make_base, make_image
from support.peers import upload
from support.registry_server import RegistryServer
from transship.pipeline.digest import Digest

IMAGES = 50
AFTER = (1, 40, 120, 200)
"""Checkpoints after which the command is killed; five an image, so it is done with none, some, most."""


def made() -> dict[str, ImageBytes]:
    base = make_base("killed", layer_size=200_000)
    return {f"v{n:02}": make_image(f"killed-{n}", 1, base_layers=base, layer_size=50_000) for n in range(IMAGES)}


def fetched(server: RegistryServer, since: int) -> list[str]:
    """Return the digests of the blobs that the registry was asked for, after so many requests."""
    asked = server.asked()[since:]
    return [one.target.rpartition("/")[2] for one in asked if one.method == "GET" and "/blobs/" in one.target]


def stored(folder: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in folder.glob("runs/*/blobs/sha256/*")}


def test_fifty_images_killed_again_and_again_are_all_there_and_nothing_was_fetched_twice(
    tmp_path: Path, open_registry: RegistryServer
) -> None:
    images = made()
    for tag, image in images.items():
        upload(open_registry, "killed/app", tag, image)
    words = ["sync", "--src", "docker", "--dest", "dir", "--src-tls-verify=false", f"{open_registry.name}/killed/app"]
    kills = 0
    for limit in AFTER:
        had, since = stored(tmp_path), len(open_registry.asked())
        process = begin(tmp_path, *words, "out")
        while process.poll() is None and sum(1 for _ in tmp_path.glob("runs/*/checkpoints/*/[!.]*.json")) < limit:
            time.sleep(0.001)
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        assert not had & set(fetched(open_registry, since))
    assert kills > 1
    had, since = stored(tmp_path), len(open_registry.asked())
    done = command(tmp_path, *words, "out")
    assert (done.returncode, done.stdout.partition(" ")[0]) == (0, str(IMAGES)), done.stderr
    assert had
    assert not had & set(fetched(open_registry, since))
    last = fetched(open_registry, since)
    assert len(last) == len(set(last))
    for tag, image in images.items():
        folder = tmp_path / "out" / f"app:{tag}"
        assert (folder / "manifest.json").read_bytes() == image.manifest_raw
        assert {Digest.of((folder / digest.hex).read_bytes()) for digest in image.blobs} == set(image.blobs)
    since = len(open_registry.asked())
    assert command(tmp_path, *words, "out").returncode == 0
    assert fetched(open_registry, since) == []


@pytest.mark.parametrize("kind", ["dir", "docker"])
def test_two_sources_with_one_base_name_are_refused_before_anything_is_written(
    tmp_path: Path, open_registry: RegistryServer, kind: str
) -> None:
    for repository in ("twice/one/app", "twice/two/app"):
        upload(open_registry, repository, "v1", make_image(repository))
    images = "images: {twice/one/app: [v1], twice/two/app: [v1]}"
    (tmp_path / "source.yaml").write_text(f"{open_registry.name}:\n  tls-verify: false\n  {images}\n")
    to = "out" if kind == "dir" else f"{open_registry.name}/twice/mirror"
    before, since = tree(tmp_path), len(open_registry.asked())
    words = ["sync", "--src", "yaml", "--dest", kind, "source.yaml", to]
    options = ["--dest-tls-verify=false"] if kind == "docker" else []
    done = command(tmp_path, *words, *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "twice/one/app:v1" in done.stderr
    assert "twice/two/app:v1" in done.stderr
    assert tree(tmp_path) == before
    assert {one.method for one in open_registry.asked()[since:]} <= {"GET", "HEAD"}
