"""Some platforms of a multi-platform image: the index cut down to them, or kept as it is and sparse."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clients import client
from support.command import command
from support.images import make_multi, write_layout
from support.peers import skopeo
from support.registry_server import RegistryServer, running
from support.serving import Reply, served
from transship.pipeline.digest import Digest
from transship.pipeline.errors import NotFoundError

INDEX = make_multi("sparse", docker=False)
LIST = make_multi("sparse list")
KEPT, LEFT = INDEX.children[:2], INDEX.children[2]
TWO = "linux/amd64,linux/arm64"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_layout(tmp_path / "from", {"v1": INDEX, "docker": LIST})
    return tmp_path


def copy(folder: Path, *words: str, code: int = 0) -> str:
    done = command(folder, "copy", "--dest-tls-verify=false", *words)
    assert done.returncode == code, done.stderr
    return done.stderr


def batch(folder: Path, to: str, *, sparse: bool, source: str = "v1", registry: str = "", code: int = 0) -> str:
    document = {
        "version": 1,
        "images": [
            {
                "from": f"oci:from:{source}",
                "platforms": TWO.split(","),
                "to": [to],
                **({"sparse": True} if sparse else {}),
            }
        ],
        "registries": {registry: {"tls-verify": False}} if registry else {},
    }
    (folder / "batch.json").write_text(json.dumps(document))
    done = command(folder, "run", "batch.json", "--progress=none")
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.parametrize("what", [TWO, "index-only"])
def test_a_registry_that_wants_all_images_of_an_index_is_named_as_such_and_gets_no_tag(
    folder: Path, server: RegistryServer, what: str
) -> None:
    repository = f"sparse/{what[:5]}"
    said = copy(folder, "--multi-arch", what, "oci:from:v1", f"docker://{server.name}/{repository}:v1", code=1)
    assert "no index that names images it does not have; copy all platforms" in said
    assert "--strip-removed-platforms" in said
    with pytest.raises(NotFoundError):
        client(server.name).get_manifest(repository, "v1")


def test_a_registry_that_has_the_other_images_already_takes_it(folder: Path, server: RegistryServer) -> None:
    copy(folder, "--all", "oci:from:v1", f"docker://{server.name}/full/app:v1")
    copy(folder, "--multi-arch", TWO, "--preserve-digests", "oci:from:v1", f"docker://{server.name}/full/app:v2")
    assert client(server.name).get_manifest("full/app", "v2").digest == INDEX.digest


def test_an_index_cut_down_is_taken_by_a_registry(folder: Path, server: RegistryServer) -> None:
    target = f"docker://{server.name}/cut/app:v1"
    copy(folder, "--multi-arch", TWO, "--strip-removed-platforms", "oci:from:v1", target)
    made = json.loads(client(server.name).get_manifest("cut/app", "v1").raw)
    assert [entry["digest"] for entry in made["manifests"]] == [str(child.digest) for child in KEPT]
    said = copy(
        folder, "--multi-arch", TWO, "--strip-removed-platforms", "--preserve-digests", "oci:from:v1", target, code=1
    )
    assert "preserve" in said


def test_a_sparse_layout_is_served_and_pulled_from(folder: Path) -> None:
    copy(folder, "--multi-arch", TWO, "oci:from:v1", "oci:some:app:v1")
    with served(folder / "some") as port:
        assert Reply(port, "/v2/app/manifests/v1").body == INDEX.manifest_raw
        assert Reply(port, f"/v2/app/manifests/{LEFT.digest}").code == "MANIFEST_UNKNOWN"
        source = f"docker://localhost:{port}/app:v1"
        plain = "--src-tls-verify=false"
        arm = ["--override-arch=arm64", "--override-variant=v8"]
        skopeo(folder, "--insecure-policy", *arm, "copy", "-q", plain, source, "dir:theirs")
        assert Digest.of((folder / "theirs/manifest.json").read_bytes()) == KEPT[1].digest
        copy(folder, plain, "--multi-arch", TWO, source, "dir:ours")
        assert (folder / "ours/manifest.json").read_bytes() == INDEX.manifest_raw
        assert str(LEFT.digest) in copy(folder, plain, "--all", source, "dir:all", code=2)


def test_a_batch_cuts_the_index_down_unless_told_to_keep_it(folder: Path) -> None:
    batch(folder, "oci:cut:v1", sparse=False)
    (entry,) = json.loads((folder / "cut/index.json").read_bytes())["manifests"]
    made = json.loads((folder / "cut/blobs" / entry["digest"].replace(":", "/")).read_bytes())
    assert [one["digest"] for one in made["manifests"]] == [str(child.digest) for child in KEPT]
    batch(folder, "oci:whole:v1", sparse=True)
    (entry,) = json.loads((folder / "whole/index.json").read_bytes())["manifests"]
    assert entry["digest"] == str(INDEX.digest)
    blobs = {path.name for path in (folder / "whole/blobs/sha256").iterdir()}
    assert {child.digest.hex for child in KEPT} <= blobs
    assert not blobs & {LEFT.digest.hex, LEFT.layers[0].digest.hex}
    (line,) = json.loads((folder / "runs/batch/report.json").read_bytes())["images"]
    assert (line["old"], line["new"]) == (str(INDEX.digest), str(INDEX.digest))
    assert line["kept"] == [str(child.digest) for child in KEPT]
    assert command(folder, "verify", "runs/batch").returncode == 0


def test_a_batch_says_where_a_sparse_index_cannot_be(folder: Path, server: RegistryServer) -> None:
    said = batch(folder, f"docker://{server.name}/batch/app:v1", sparse=True, registry=server.name, code=1)
    assert "without sparse" in said
    assert "no sparse" in batch(folder, "oci:out:v1", sparse=True, source="docker", code=1)
    document = {"version": 1, "images": [{"from": "oci:from:v1", "to": ["oci:out:v1"], "sparse": True}]}
    (folder / "batch.json").write_text(json.dumps(document))
    done = command(folder, "run", "batch.json")
    assert (done.returncode, "list of platforms" in done.stderr) == (2, True)
