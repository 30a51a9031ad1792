"""`list-tags` and `manifest-digest` say what the installed skopeo says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import command
from support.engines import tool
from support.hostile import Reply, Seen, serving
from support.images import make_image, write_layout
from support.peers import ours, skopeo, upload
from support.registry_server import RegistryServer, running


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as server:
        for tag in ("v1", "v2"):
            upload(server, "team/app", tag, make_image(tag))
        yield server


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_layout(folder / "layout", {"one": make_image("one", docker=False)})
    for target in (f"dir:{folder / 'dir'}", f"docker-archive:{folder / 'docker.tar'}:team/one:v1"):
        tool("skopeo", "copy", f"oci:{folder / 'layout'}:one", target)
    tool("skopeo", "copy", "--format", "v2s1", f"oci:{folder / 'layout'}:one", f"dir:{folder / 'schema1'}")
    return folder


def test_all_pages_of_tags_are_listed(registry: RegistryServer, tmp_path: Path) -> None:
    words = ("list-tags", "--tls-verify=false", f"docker://{registry.name}/team/app")
    assert ours(tmp_path, *words) == skopeo(tmp_path, *words).decode()

    def script(seen: Seen) -> Reply:
        if "/tags/" not in seen.path:
            return Reply(200)
        if "last=" in seen.target:
            return Reply(200, b'{"tags":["c"]}')
        return Reply(200, b'{"tags":["a","b"]}', {"Link": '</v2/x/tags/list?last=b>; rel="next"'})

    with serving(script) as server:
        words = ("list-tags", "--tls-verify=false", f"docker://{server.name}/x")
        assert ours(tmp_path, *words) == skopeo(tmp_path, *words).decode()


def test_the_names_in_a_docker_archive_are_listed(world: Path, tmp_path: Path) -> None:
    words = ("list-tags", "docker-archive:docker.tar")
    assert ours(world, *words) == skopeo(world, *words).decode()
    nameless = f"docker-archive:{tmp_path / 'nameless.tar'}"
    tool("skopeo", "copy", f"oci:{world / 'layout'}:one", nameless)
    assert json.loads(ours(tmp_path, "list-tags", nameless)) == {"Tags": ["@0"]}


@pytest.mark.parametrize(
    "what", ["docker://localhost:1/a:tag", "oci:layout", "docker-archive:docker.tar:@0", "docker-archive:none.tar", "x"]
)
def test_what_has_no_tags_to_list_is_an_error(world: Path, what: str) -> None:
    done = command(world, "list-tags", what)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("folder", ["dir", "schema1"])
def test_the_digest_of_a_file_is_skopeos(world: Path, folder: str) -> None:
    words = ("manifest-digest", f"{folder}/manifest.json")
    assert ours(world, *words) == skopeo(world, *words).decode()


def test_the_digest_of_what_is_no_manifest_is_an_error(world: Path) -> None:
    (world / "text").write_text("hello")
    for name in ("text", "absent", "layout"):
        done = command(world, "manifest-digest", name)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
