"""One image through every pair of transports, by transship and by skopeo: what both leave is the same, but for what
docs/from-skopeo.md names."""

import contextlib
import gzip
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.command import command
from support.corpus import pack, push, sample
from support.engines import Docker, Podman, podman_storage, tool
from support.landed import (
    Landed,
    in_directory,
    in_docker,
    in_docker_archive,
    in_layout,
    in_oci_archive,
    in_podman,
    in_registry,
)
from support.registry_server import RegistryServer

PRINTS = "through every door"
TARGETS = ("docker", "oci", "oci-archive", "dir", "docker-archive", "docker-daemon", "containers-storage")
SOURCES = (*TARGETS, "tarball")
DOCUMENT = Path(__file__).parents[1] / "docs/from-skopeo.md"
HEADING = "### Where a copy is another than skopeo's"


@dataclass(frozen=True)
class World:
    """Where images are, as each transport names them; and the options that reach these places."""

    folder: Path
    registry: RegistryServer
    docker: Docker
    podman: Podman
    receiving: Podman

    def reference(self, transport: str, name: str) -> str:
        """Return a reference to the image ``name`` of ``transport``."""
        storage = self.podman if name == "source" else self.receiving
        return {
            "docker": f"docker://{self.registry.name}/matrix/{name}:v1",
            "oci": f"oci:{self.folder}/{name}.layout:v1",
            "oci-archive": f"oci-archive:{self.folder}/{name}.oci.tar:v1",
            "dir": f"dir:{self.folder}/{name}.dir",
            "tarball": f"tarball:{self.folder}/root.tar",
            "docker-archive": f"docker-archive:{self.folder}/{name}.tar:matrix/{name}:v1",
            "docker-daemon": f"docker-daemon:matrix/{name}:v1",
            "containers-storage": f"containers-storage:{storage.store}localhost/matrix/{name}:v1",
        }[transport]

    def landed(self, transport: str, name: str) -> Landed:
        """Return what was written there."""
        read: dict[str, Callable[[], Landed]] = {
            "docker": partial(in_registry, self.registry.name, f"matrix/{name}", "v1"),
            "oci": partial(in_layout, self.folder / f"{name}.layout"),
            "oci-archive": partial(in_oci_archive, self.folder / f"{name}.oci.tar"),
            "dir": partial(in_directory, self.folder / f"{name}.dir"),
            "docker-archive": partial(in_docker_archive, self.folder / f"{name}.tar"),
            "docker-daemon": partial(in_docker, self.docker, f"matrix/{name}:v1"),
            "containers-storage": partial(in_podman, self.receiving, f"localhost/matrix/{name}:v1"),
        }
        return read[transport]()

    def words(self, source: str, target: str, name: str) -> list[str]:
        """Return the command line that copies the image at ``source`` to ``name`` at ``target``."""
        options = {"docker": "tls-verify=false", "docker-daemon": f"daemon-host={self.docker.host}"}
        said = [f"--src-{options[source]}"] if source in options else []
        said += [f"--dest-{options[target]}"] if target in options else []
        return ["copy", "-q", *said, self.reference(source, "source"), self.reference(target, name)]

    @contextlib.contextmanager
    def holding(self, source: str, target: str) -> Iterator[None]:
        """Have Docker hold the image inside if it is the source, and neither it nor Podman hold any afterwards."""
        if source == "docker-daemon":
            self.docker("load", "-i", self.folder / "source.tar")
        yield
        if "docker-daemon" in (source, target):
            self.docker("image", "rm", "-f", *self.docker("image", "ls", "-q").decode().split())
        if target == "containers-storage":
            self.receiving("image", "rm", "-a", "-f")

    def skopeo(self, source: str, target: str, name: str) -> None:
        tool("skopeo", "--insecure-policy", *self.words(source, target, name))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, open_registry: RegistryServer, docker: Docker) -> Iterator[World]:
    """The image in every source but Docker, put there by skopeo."""
    with podman_storage() as podman, podman_storage() as receiving:
        made = World(tmp_path_factory.mktemp("matrix"), open_registry, docker, podman, receiving)
        shell = Path("/bin/busybox").read_bytes()
        layers = [pack({"bin/echo": shell}, {"bin/echo": 0o755})]
        push(open_registry.name, sample("matrix/source", "v1", layers, PRINTS))
        for transport in ("oci", "oci-archive", "dir", "docker-archive", "containers-storage"):
            made.skopeo("docker", transport, "source")
        (made.folder / "root.tar").write_bytes(gzip.decompress(layers[0].raw))
        yield made


def config_kept(document: Any) -> None:
    del document["config"]


def plain_layers(document: Any) -> None:
    del document["layers"]


def called_plain(document: Any) -> None:
    for layer in document["layers"]:
        layer["mediaType"] = layer["mediaType"].removesuffix(".gzip")


DIFFERENCES = {
    "the config is kept": (config_kept, {"manifest", "config"}),
    "plain layers stay plain": (plain_layers, {"manifest", "layers"}),
    "plain layers are called plain": (called_plain, {"manifest"}),
}
"""What makes two manifests alike again, and what of an image differs, by the name that the documentation has for it."""


def documented() -> dict[tuple[str, str], list[str]]:
    """Return the differences that the documentation names, by source and target."""
    found: dict[tuple[str, str], list[str]] = {}
    table = DOCUMENT.read_text().partition(HEADING)[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")] for line in table.splitlines() if line.startswith("|")]
    for _, name, sources, targets, *_ in rows[2:]:
        for source, target in itertools.product(sources.split(), targets.split()):
            found.setdefault((source.strip("`"), target.strip("`")), []).append(name)
    return found


DOCUMENTED = documented()


def test_the_documentation_names_the_differences_that_are_known() -> None:
    assert {name for names in DOCUMENTED.values() for name in names} == set(DIFFERENCES)
    assert {source for source, _ in DOCUMENTED} <= set(SOURCES)
    assert {target for _, target in DOCUMENTED} <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_copy_is_what_skopeo_makes_of_it_but_for_what_is_documented(
    world: World, source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # skopeo says the times of a tarball in the zone of the machine.
    monkeypatch.setenv("TZ", "UTC")
    names = f"{source}-ours", f"{source}-theirs"
    with world.holding(source, target):
        done = command(world.folder, *world.words(source, target, names[0]))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        mine = world.landed(target, names[0])
        if (source, target) == ("docker", "docker-daemon"):
            assert world.docker("run", "--rm", "--network=none", f"matrix/{names[0]}:v1").decode() == f"{PRINTS}\n"
    with world.holding(source, target):
        world.skopeo(source, target, names[1])
        theirs = world.landed(target, names[1])
    expected = [DIFFERENCES[name] for name in DOCUMENTED.get((source, target), [])]
    different = {name for name in Landed._fields if getattr(mine, name) != getattr(theirs, name)}
    assert different == {name for _, fields in expected for name in fields}
    assert mine.diff_ids == theirs.diff_ids
    if expected:
        documents = json.loads(mine.manifest), json.loads(theirs.manifest)
        for (alike, _), document in itertools.product(expected, documents):
            alike(document)
        assert documents[0] == documents[1]
