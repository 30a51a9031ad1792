"""What skopeo wrote, of every image and in every format, becomes images that all tools take and Docker runs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.acceptance import (
    COUNT,
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
from support.corpus import Sample, push
from support.engines import Docker, docker_engine, podman_storage, spent, tool
from support.images import OCI_INDEX, OCI_MANIFEST
from support.registry_server import running

pytestmark = pytest.mark.timeout(PATIENCE)
SUFFIX = {"oci": ":v1", "dir": "", "docker-archive": ":example.com/app:v1", "oci-archive": ":v1"}
INDEXES = ("oci", "dir", "oci-archive")


@dataclass(frozen=True)
class Case:
    """One image as skopeo wrote it in one format."""

    transport: str
    number: int

    def __str__(self) -> str:
        return f"{self.transport}-{self.number}"

    @property
    def image(self) -> Sample:
        return images()[self.number]

    @property
    def name(self) -> str:
        return f"{self.transport}/{flat(self.image)}:v1"

    def theirs(self, folder: Path) -> str:
        return f"{self.transport}:{folder / 'theirs' / str(self)}{SUFFIX[self.transport]}"


SINGLE = [Case(transport, number) for transport in SUFFIX for number in range(COUNT - 1)]
MULTI = [Case(transport, COUNT - 1) for transport in INDEXES]
by_name = pytest.mark.parametrize("case", SINGLE, ids=str)
EACH = [case for number, case in enumerate(SINGLE) if number % COUNT == 0]
"""Every format and every image, where images are few: what is unpacked and run of the others differs in nothing."""
by_each = pytest.mark.parametrize("case", EACH if len(SUFFIX) + 1 == COUNT else SINGLE, ids=str)


def entry(case: Case, folder: Path) -> dict[str, object]:
    to = [f"oci:layout:{case.name}", f"dir:dir-{case}"]
    return {"from": case.theirs(folder), "to": to, "manifests": "oci"}


def archived(case: Case, folder: Path) -> dict[str, object]:
    return {"from": case.theirs(folder), "to": [f"docker-archive:many.tar:{case.name}"], "platforms": "host"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what skopeo wrote in ``theirs``, and what one run made of all that in ``out``."""
    root = tmp_path_factory.mktemp("skopeo")
    (root / "theirs").mkdir()
    (root / "out").mkdir()
    with running(root / "registry") as server:
        for image in images():
            push(server.name, image)
        for case in (*SINGLE, *MULTI):
            source = f"docker://{server.name}/{name_of(case.image)}"
            every = ("--all",) if case in MULTI else ()
            skopeo("copy", *every, "--src-tls-verify=false", source, case.theirs(root))
    entries = [*(entry(case, root) for case in (*SINGLE, *MULTI)), *(archived(case, root) for case in SINGLE)]
    (root / "out" / "batch.yaml").write_text(json.dumps({"version": 1, "images": entries}))
    transship("run", root / "out" / "batch.yaml", "--runs", root / "runs", "--progress", "none")
    yield root
    print(f"\n{sizes(root / 'out')}\n{spent()}")


@pytest.fixture(scope="module")
def docker(folder: Path) -> Iterator[Docker]:
    """A Docker that has loaded the archive."""
    with docker_engine() as engine:
        said = engine("load", "-i", folder / "out" / "many.tar").decode()
        assert {f"Loaded image: {case.name}" for case in SINGLE} <= set(said.splitlines())
        yield engine


def ours(case: Case, folder: Path) -> str:
    return f"oci:{folder / 'out' / 'layout'}:{case.name}"


def layers_of(case: Case, manifest: Any, config: bytes) -> list[str]:
    # Skopeo itself unpacks the layers into a docker-archive.
    if case.transport == "docker-archive":
        return [str(digest) for digest in document(config)["rootfs"]["diff_ids"]]
    return [layer["digest"] for layer in manifest["layers"]]


@by_name
def test_layout_holds_it_in_oci_types_with_its_layers_and_config(folder: Path, case: Case) -> None:
    theirs, made = case.theirs(folder), ours(case, folder)
    config = skopeo("inspect", "--raw", "--config", theirs)
    assert skopeo("inspect", "--raw", "--config", made) == config
    layers = layers_of(case, document(skopeo("inspect", "--raw", theirs)), config)
    check_oci(document(skopeo("inspect", "--raw", made)), config, layers)
    assert document(config)["rootfs"]["diff_ids"] == document(case.image.blobs[0])["rootfs"]["diff_ids"]


@pytest.mark.parametrize("case", MULTI, ids=str)
def test_layout_holds_the_index_with_its_instances(folder: Path, case: Case, tmp_path: Path) -> None:
    theirs, made = case.theirs(folder), ours(case, folder)
    index = document(skopeo("inspect", "--raw", made))
    assert index["mediaType"] == OCI_INDEX
    assert [one["mediaType"] for one in index["manifests"]] == [OCI_MANIFEST] * 2
    for architecture in ("amd64", "arm64"):
        before = document(instance(theirs, architecture, tmp_path / f"theirs-{architecture}"))
        after = document(instance(made, architecture, tmp_path / f"ours-{architecture}"))
        config = skopeo("--override-arch", architecture, "inspect", "--raw", "--config", theirs)
        check_oci(after, config, [layer["digest"] for layer in before["layers"]])


def test_oci_image_tool_accepts_every_name_of_the_layout(folder: Path) -> None:
    tool("oci-image-tool", "validate", "--type", "image", folder / "out" / "layout", timeout=PATIENCE)


@by_each
def test_umoci_unpacks_from_the_layout(folder: Path, case: Case, tmp_path: Path) -> None:
    check_unpacks(f"{folder / 'out' / 'layout'}:{case.name}", case.image, tmp_path / "bundle")


@pytest.mark.parametrize("case", [*SINGLE, *MULTI], ids=str)
def test_skopeo_reads_the_folder_back(folder: Path, case: Case, tmp_path: Path) -> None:
    back = f"oci:{tmp_path / 'back'}:v1"
    skopeo("copy", "--all", "--preserve-digests", f"dir:{folder / 'out' / f'dir-{case}'}", back)
    assert skopeo("inspect", "--raw", back) == skopeo("inspect", "--raw", ours(case, folder))


@by_each
def test_docker_runs_what_it_loaded(docker: Docker, case: Case) -> None:
    said = docker("run", "--rm", "--network", "none", case.name).decode()
    assert said == f"{case.image.prints}\n"


def test_podman_loads_the_archive(folder: Path) -> None:
    with podman_storage() as podman:
        podman("load", "-i", folder / "out" / "many.tar")
        for case in SINGLE:
            [shown] = document(podman("image", "inspect", case.name))
            assert shown["RootFS"]["Layers"] == document(case.image.blobs[0])["rootfs"]["diff_ids"]
            assert shown["Config"]["Cmd"] == ["/bin/echo", case.image.prints]
