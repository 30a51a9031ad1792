"""`layers`, which skopeo deprecates: the blobs of an image in a folder made in the one that it runs in."""

from pathlib import Path

import pytest

from support.command import command, tree
from support.images import make_image, make_multi, write_layout
from support.peers import ours, skopeo


@pytest.fixture
def world(tmp_path: Path) -> Path:
    write_layout(
        tmp_path / "layout", {"one": make_image("one", docker=False), "many": make_multi("many", docker=False)}
    )
    return tmp_path


def made(world: Path) -> Path:
    [folder] = world.glob("layers-*")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {name: content for name, (_, content) in tree(folder).items()}


def blobs(world: Path, name: str) -> list[str]:
    ours(world, "copy", "-q", f"oci:layout:{name}", f"dir:{name}")
    return sorted(path.name for path in (world / name).iterdir() if len(path.name) == 64)


@pytest.mark.parametrize("name", ["one", "many"])
def test_every_blob_and_the_manifest_are_written_as_skopeo_writes_them(world: Path, name: str) -> None:
    done = command(world, "layers", f"oci:layout:{name}")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "transship: layers is deprecated, say transship copy\n"
    mine = contents(made(world))
    made(world).rename(world / "mine")
    skopeo(world, "layers", f"oci:layout:{name}")
    assert contents(made(world)) == mine


def test_blobs_named_are_written_with_or_without_their_algorithm(world: Path) -> None:
    first, second, *_ = blobs(world, "one")
    ours(world, "layers", "oci:layout:one", first, f"sha256:{second}")
    assert set(contents(made(world))) == {first, second, "manifest.json", "version"}


@pytest.mark.parametrize(("digest", "code"), [("0" * 64, 1), ("sha256:short", 1)])
def test_a_blob_that_it_has_not_is_an_error_and_nothing_is_written(world: Path, digest: str, code: int) -> None:
    before = tree(world)
    done = command(world, "layers", "oci:layout:one", digest)
    assert done.returncode == code
    assert tree(world) == before


def test_a_damaged_blob_is_an_error_and_nothing_is_written(world: Path) -> None:
    damaged = world / "layout/blobs/sha256" / blobs(world, "one")[0]
    damaged.chmod(0o644)
    damaged.write_bytes(bytes(damaged.stat().st_size))
    before = tree(world)
    done = command(world, "layers", "oci:layout:one")
    assert done.returncode == 1
    assert tree(world) == before


def test_an_image_that_is_not_there_is_exit_code_2(world: Path) -> None:
    assert command(world, "layers", "oci:layout:none").returncode == 2
