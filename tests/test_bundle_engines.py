"""Bundles and real engines: loaded into them, by transship or as a file, and pulled together with a base."""

from pathlib import Path

import pytest

from support.acceptance import document, skopeo
from support.bundles import create, write_batch
from support.command import command
from support.engines import Containerd, Docker, Podman
from support.images import ImageBytes, make_base, make_image, make_index
from support.serving import served
from transship.pipeline.digest import Digest

BASE = make_base("engines", layers=1)
APP, NEWER = (make_image(f"engines {n}", docker=False, layers=1, base_layers=BASE) for n in ("app", "newer"))
TOOL = make_index(
    [make_image(f"engines {name}", docker=False, layers=1, platform=name) for name in ("linux/amd64", "linux/arm64")],
    docker=False,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where one.tar and all.tar are, of one image and of two, and next.tar on one.tar."""
    made = tmp_path_factory.mktemp("bundles")
    for name, images, words in (
        ("one", {"team/loaded:v1": APP}, ()),
        ("all", {"team/both:v1": APP, "tool:v2": TOOL}, ()),
        ("next", {"team/loaded:v1": NEWER}, ("--since", f"{made}/one.tar")),
    ):
        (made / name).mkdir()
        create(write_batch(made / name, images), made / f"{name}.tar", *words)
    return made


def config_of(image: ImageBytes) -> str:
    return str(Digest.of((image.children[0] if image.children else image).config))


def loaded(folder: Path, tmp_path: Path, to: str) -> None:
    done = command(tmp_path, "bundle", "load", str(folder / "all.tar"), "--to", to)
    assert done.returncode == 0, done.stderr
    assert f"oci:from:team/both:v1 -> {to}docker.io/team/both:v1\n" in done.stdout
    assert f"oci:from:tool:v2 -> {to}docker.io/library/tool:v2\n" in done.stdout


def test_docker_has_the_images_of_a_bundle_that_was_loaded(folder, docker: Docker, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    loaded(folder, tmp_path, "docker-daemon:")
    for name, image in (("team/both:v1", APP), ("tool:v2", TOOL)):
        [shown] = document(docker("image", "inspect", name))
        assert shown["Id"] == config_of(image)


def test_podman_has_the_images_of_a_bundle_that_was_loaded(folder, podman: Podman, tmp_path) -> None:
    loaded(folder, tmp_path, f"containers-storage:{podman.store}")
    for name, image in (("docker.io/team/both:v1", APP), ("docker.io/library/tool:v2", TOOL)):
        [shown] = document(podman("image", "inspect", name))
        assert shown["Id"] == config_of(image).removeprefix("sha256:")


def test_containerd_imports_a_bundle_and_podman_loads_one_of_one_image(folder, ctr: Containerd, podman: Podman) -> None:
    ctr("images", "import", "--all-platforms", "--snapshotter", "native", folder / "all.tar")
    assert {"team/both:v1": str(APP.digest), "tool:v2": str(TOOL.digest)}.items() <= ctr.digests().items()
    podman("load", "-q", "-i", folder / "one.tar")
    assert document(podman("image", "inspect", "localhost/team/loaded:v1"))[0]["Id"] == str(Digest.of(APP.config))[7:]


def test_of_several_images_podman_load_wants_one_named_and_docker_load_knows_no_layout(folder, docker, podman) -> None:
    """Podman pulls them one by one as oci-archive:FILE:NAME, Docker takes them by bundle load."""
    with pytest.raises(AssertionError, match="more than one image in oci, choose an image"):
        podman("load", "-q", "-i", folder / "all.tar")
    with pytest.raises(AssertionError, match="no such file or directory"):
        docker("load", "-q", "-i", folder / "one.tar")


def test_a_bundle_served_with_its_base_is_pulled_whole(folder, docker, podman, ctr, tmp_path) -> None:
    with served(folder / "next.tar", folder / "one.tar") as port:
        name = f"127.0.0.1:{port}/team/loaded:v1"
        skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/out")
        assert (tmp_path / "out/manifest.json").read_bytes() == NEWER.manifest_raw
        docker("pull", "-q", name)
        assert document(docker("image", "inspect", name))[0]["Id"] == config_of(NEWER)
        podman("pull", "-q", "--tls-verify=false", name)
        ctr.pull(name)
        assert ctr.digests()[name] == str(NEWER.digest)
