"""What goes wrong for a user: one line that says what, the right exit code, the destination as it was."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from support.command import command, tree
from support.corpus import Sample, pack, push, sample, sha256
from support.hostile import Reply, Seen, serving
from support.images import DOCKER_MANIFEST, OCI_MANIFEST, make_image, write_layout
from support.registry_server import RegistryServer

DOWN = "localhost:1"
IMAGE = sample("app", "v1", [pack({"noise": os.urandom(3 << 20)})], "hello")
BATCH = "version: 1\nimages:\n"


@pytest.fixture(scope="module")
def registry(open_registry: RegistryServer) -> RegistryServer:
    push(open_registry.name, IMAGE)
    return open_registry


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("a file of somebody's\n")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/letter").write_text("dear all\n")
    write_layout(tmp_path / "layout", {"app:v1": make_image(1)})
    return tmp_path


def refused(work: Path, code: int, says: str, *words: str) -> None:
    """Run; expect ``code``, one line with ``says`` and nothing changed."""
    before = tree(work)
    got = command(work, *words)
    assert got.returncode == code, got.stderr
    (line,) = got.stderr.splitlines()
    assert line.startswith("transship: ")
    assert says in line
    assert tree(work) == before


@pytest.mark.parametrize(
    ("source", "destination", "code", "says"),
    [
        ("nope:x", "dir:out", 1, "unknown transport 'nope'"),
        ("docker://host.example/App", "dir:out", 1, "not lower-case"),
        ("docker://host.example/app:t:t", "dir:out", 1, "malformed"),
        ("oci:layout:gone", "dir:out", 2, "no image 'gone'; it has: app:v1"),
        ("oci:nowhere:x", "dir:out", 1, "is no OCI layout"),
        ("oci:layout:app:v1", "dir:no/such/out", 1, "no such folder"),
        ("oci:layout:app:v1", "dir:file/out", 1, "no such folder"),
        ("oci:layout:app:v1", "oci-archive:file/out.tar", 1, "no such folder"),
        ("oci:layout:app:v1", "dir:theirs", 1, "is no image folder"),
        ("oci:layout:app:v1", "oci:theirs:x", 1, "is no OCI layout"),
        ("oci:layout:app:v1", "oci-archive:theirs", 1, "is no regular file"),
        ("oci:layout:app:v1", "dir:file", 1, "is no folder"),
        ("oci:layout:app:v1", "oci:file:x", 1, "file"),
        ("oci:layout:app:v1", "docker-archive:file:x", 1, "is no archive"),
        (f"docker://{DOWN}/app", "dir:out", 1, "connection refused"),
    ],
)
def test_copy(work: Path, source: str, destination: str, code: int, says: str) -> None:
    refused(work, code, says, "copy", source, destination)


def test_copy_of_a_missing_tag(work: Path, registry: RegistryServer) -> None:
    words = ("copy", "--src-tls-verify=false", f"docker://{registry.name}/app:gone", "dir:out")
    refused(work, 2, "app/manifests/gone: 404", *words)
    refused(work, 2, "check the name and the tag: transship list-tags shows what there is", *words)


@pytest.mark.parametrize(
    ("batch", "says"),
    [
        (f"{BATCH}  - from: oci:layout:app:v1\n    to: [dir:out]\n    colour: red\n", "batch.yaml:5: "),
        (f"{BATCH}  - from: oci:layout:app:v1\n    to: [dir:out]\n  - from: oci:layout\n    to: [dir:out]\n", "out"),
        (f"{BATCH}  - from: nope:x\n    to: [dir:out]\n", "unknown transport"),
        (f"{BATCH}  - from: [\n", "not YAML"),
        ("", "is empty"),
        ("version: 7\nimages: []\n", "batch.yaml:"),
    ],
)
def test_batch(work: Path, batch: str, says: str) -> None:
    (work / "batch.yaml").write_text(batch)
    refused(work, 2, says, "run", "batch.yaml")


def test_batch_that_is_not_there(work: Path) -> None:
    refused(work, 2, "No such file", "run", "gone.yaml")


def answers(manifest: bytes, blob: Callable[[Seen, bytes], Reply]) -> Callable[[Seen], Reply]:
    held = {sha256(raw): raw for raw in IMAGE.blobs}

    def script(seen: Seen) -> Reply:
        digest = seen.path.rpartition("/")[2]
        if "/manifests/" in seen.path:
            named = {"Content-Type": IMAGE.media_type, "Docker-Content-Digest": sha256(IMAGE.manifest)}
            return Reply(200, manifest, named)
        return blob(seen, held[digest])

    return script


def mistyped(seen: Seen) -> Reply:
    other = OCI_MANIFEST if IMAGE.media_type != OCI_MANIFEST else DOCKER_MANIFEST
    return Reply(200, IMAGE.manifest, {"Content-Type": other})


HOSTILE = {
    "mistyped": (mistyped, "it is damaged at its source: push or write the image there anew"),
    "blob gone": (
        answers(IMAGE.manifest, lambda _, _raw: Reply(404)),
        "404; the image is not whole there: push it anew",
    ),
    "html": (lambda _: Reply(200, b"<html>log in</html>", {"Content-Type": "text/html"}), "answers HTML"),
    "manifest": (answers(IMAGE.manifest + b" ", lambda _, raw: Reply(200, raw)), "digest"),
    "truncated": (answers(IMAGE.manifest, lambda _, raw: Reply(200, raw[:-1])), "blob"),
    "flipped": (answers(IMAGE.manifest, lambda _, raw: Reply(200, bytes([raw[0] ^ 1]) + raw[1:])), "does not match"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_registry_that_lies(work: Path, fault: str) -> None:
    script, says = HOSTILE[fault]
    with serving(script) as server:
        words = ("copy", "--src-tls-verify=false", f"docker://{server.name}/app:v1", "dir:out")
        refused(work, 1, says, *words)


def test_flipped_blob_in_a_layout(work: Path) -> None:
    blob = work / "layout/blobs/sha256" / make_image(1).layers[0].digest.hex
    raw = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(raw[:-9] + bytes([raw[-9] ^ 1]) + raw[-8:])
    refused(work, 1, "does not match", "copy", "oci:layout:app:v1", "dir:out")


def test_cut_blob_in_a_layout(work: Path) -> None:
    blob = work / "layout/blobs/sha256" / make_image(1).layers[0].digest.hex
    os.truncate(blob, blob.stat().st_size - 1)
    refused(work, 1, "the source holds or sends less of it", "copy", "oci:layout:app:v1", "dir:out")


def test_layer_of_unknown_type_cannot_be_converted(work: Path, registry: RegistryServer) -> None:
    document = json.loads(IMAGE.manifest)
    document["layers"][0]["mediaType"] = "application/vnd.acme.layer"
    odd: Sample = replace(IMAGE, repository="odd", manifest=json.dumps(document).encode())
    push(registry.name, odd)
    words = ("copy", "--src-tls-verify=false", "--format=oci", f"docker://{registry.name}/odd:v1", "oci:out:x")
    refused(work, 1, "application/vnd.acme.layer", *words)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("destination", ["dir:disk/out", "oci:disk/out:x", "docker-archive:disk/out.tar:x:v1"])
@pytest.mark.parametrize(("options", "says"), [("size=1m", "No space left"), ("ro", "ead-only file system")])
def test_disk_that_refuses(work: Path, registry: RegistryServer, options: str, says: str, destination: str) -> None:
    with mounted(work / "disk", options):
        words = ("copy", "--src-tls-verify=false", f"docker://{registry.name}/app:v1", destination)
        refused(work, 1, says, *words)


@pytest.mark.parametrize(("options", "says"), [("size=1m", "No space left"), ("ro", "ead-only file system")])
def test_run_names_the_image_that_found_no_room(work: Path, registry: RegistryServer, options: str, says: str) -> None:
    source = f"docker://{registry.name}/app:v1"
    settings = f"registries: {{'{registry.name}': {{tls-verify: false}}}}\n"
    (work / "batch.yaml").write_text(
        f"{settings}{BATCH}  - from: {source}\n    to: ['docker-archive:disk/o.tar:x:v1']\n"
    )
    with mounted(work / "disk", options):
        got = command(work, "run", "batch.yaml")
        assert got.returncode == 1
        (line,) = got.stderr.splitlines()
        assert line.startswith(f"{source} -> docker-archive:")
        assert says in line
        assert tree(work / "disk") == {}
