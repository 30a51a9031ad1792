"""Exit codes of skopeo's commands: 1 for what is wrong or fails, 2 for an image that is not there, and nothing else."""

import json
from pathlib import Path

import pytest

from support.command import command, tree
from support.images import make_image, write_layout
from support.peers import skopeo_code, upload
from support.registry_server import RegistryServer
from transship.pipeline.digest import Digest

PLAIN = ("--tls-verify=false",)
SYNC = ("sync", "--src", "docker", "--dest", "dir", "--src-tls-verify=false")


@pytest.fixture(scope="module")
def server(open_registry: RegistryServer) -> RegistryServer:
    upload(open_registry, "team/app", "v1", make_image("app"))
    return open_registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_layout(tmp_path / "layout", {"v1": make_image("one", docker=False)})
    write_layout(tmp_path / "several", {name: make_image(name, docker=False) for name in ("v1", "v2")})
    return tmp_path


WRONG = {
    "an option that there is not": ["--no-such-option"],
    "a number that is none": ["--retry-times", "many"],
    "a time that is none": ["--command-timeout", "soon"],
}
IMAGES = {
    "copy": ["oci:layout:v1", "dir:out"],
    "inspect": ["oci:layout:v1"],
    "list-tags": ["docker://localhost:1/a"],
    "delete": ["oci:layout:v1"],
    "sync": ["--src", "dir", "--dest", "docker", "layout", "localhost:1/a"],
    "manifest-digest": ["layout/index.json"],
    "login": ["-u", "me", "-p", "x", "localhost:1"],
    "logout": ["localhost:1"],
}
USAGES = [
    *([name, *words, *option] for name, words in IMAGES.items() for option in WRONG.values()),
    *([name] for name in IMAGES),
    *([name, *words, "and", "too", "many"] for name, words in IMAGES.items()),
    ["copy", "nowhere:a", "dir:out"],
    ["copy", "oci:layout:v1", "nowhere:a"],
    ["copy", "oci:layout:v1", "dir:no/such/folder"],
    ["copy", "--all", "--multi-arch", "all", "oci:layout:v1", "dir:out"],
    ["copy", "--format", "v3", "oci:layout:v1", "dir:out"],
    ["inspect", "docker://localhost:1/a:b@sha256:0"],
    ["delete", "dir:layout"],
    ["sync", "--src", "dir", "--dest", "dir", "layout", "out"],
    ["no-such-command"],
]


@pytest.mark.parametrize("words", USAGES, ids=" ".join)
def test_wrong_usage_is_1_as_it_is_skopeos(folder: Path, words: list[str]) -> None:
    before = tree(folder)
    done = command(folder, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert tree(folder) == before


@pytest.mark.parametrize("name", ["run", "lock", "verify", "serve", "status", "report"])
def test_wrong_usage_of_transships_own_commands_is_2(tmp_path: Path, name: str) -> None:
    assert command(tmp_path, name, "--no-such-option", "x").returncode == 2
    assert command(tmp_path, name).returncode == 2


ABSENT = [
    ["copy", "--src-tls-verify=false", "docker://HOST/team/app:none", "dir:out"],
    ["copy", "--src-tls-verify=false", "docker://HOST/team/none:v1", "dir:out"],
    ["copy", "oci:layout:none", "dir:out"],
    ["inspect", *PLAIN, "docker://HOST/team/app:none"],
    ["inspect", "oci:layout:none"],
    ["delete", *PLAIN, "docker://HOST/team/app:none"],
    ["delete", "oci:layout:none"],
]


@pytest.mark.parametrize("words", ABSENT, ids=" ".join)
def test_an_image_that_is_not_there_is_2(folder: Path, server: RegistryServer, words: list[str]) -> None:
    before = tree(folder)
    done = command(folder, *(word.replace("HOST", server.name) for word in words))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert tree(folder) == before


FAILED = [
    ["copy", "oci:nowhere:v1", "dir:out"],
    ["copy", "dir:nowhere", "dir:out"],
    ["copy", "docker-archive:nowhere.tar", "dir:out"],
    ["copy", "oci-archive:nowhere.tar", "dir:out"],
    ["copy", "--src-tls-verify=false", "docker://localhost:1/a:b", "dir:out"],
    ["inspect", "dir:nowhere"],
    ["inspect", "oci:several"],
    ["delete", "oci:nowhere:v1"],
    ["list-tags", *PLAIN, "docker://HOST/team/none"],
    ["list-tags", "docker-archive:nowhere.tar"],
    ["manifest-digest", "nowhere"],
    ["login", *PLAIN, "-u", "me", "-p", "x", "localhost:1"],
    ["logout", "--authfile", "nowhere", "localhost:1"],
    [*SYNC, "HOST/team/none", "out"],
    ["sync", "--src", "dir", "--dest", "docker", "nowhere", "localhost:1/a"],
    ["sync", "--src", "yaml", "--dest", "dir", "nowhere.yaml", "out"],
]


@pytest.mark.parametrize("words", FAILED, ids=" ".join)
def test_what_fails_is_1_as_it_is_skopeos(folder: Path, server: RegistryServer, words: list[str]) -> None:
    given = [word.replace("HOST", server.name) for word in words]
    done = command(folder, *given)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert skopeo_code(folder, *given) == 1


def test_an_image_that_names_what_is_not_there_is_a_failure_of_it(folder: Path) -> None:
    image = make_image("one", docker=False)
    for digest in (Digest.of(image.config), image.layers[0].digest):
        blob = folder / "layout/blobs/sha256" / digest.hex
        kept = blob.read_bytes()
        blob.unlink()
        assert command(folder, "copy", "oci:layout:v1", "dir:out").returncode == 1
        assert skopeo_code(folder, "copy", "oci:layout:v1", "dir:theirs") == 1
        if kept == image.config:
            assert command(folder, "inspect", "oci:layout:v1").returncode == 1
        blob.write_bytes(kept)
    assert json.loads(command(folder, "inspect", "oci:layout:v1").stdout)["Layers"]
