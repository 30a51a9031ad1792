"""A run whose store lost something between two runs: the next ones do it again."""

from pathlib import Path

import pytest

from support.command import command, tree
from support.corpus import pack, push, sample
from support.registry_server import running


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running(tmp_path_factory.mktemp("registry")) as server:
        push(server.name, sample("app", "v1", [pack({"f": b"x" * 1000})], "hello"))
        yield server


def finished(folder: Path, registry) -> Path:
    folder.mkdir()
    head = f"version: 1\nregistries: {{'{registry.name}': {{tls-verify: false}}}}\n"
    (folder / "batch.yaml").write_text(
        f"{head}images:\n  - from: docker://{registry.name}/app:v1\n    to: ['oci:out:x']\n"
    )
    assert command(folder, "run", "batch.yaml").returncode == 0
    return folder


@pytest.mark.parametrize("damage", ["remove", "flip"])
def test_what_the_store_lost_between_two_runs_is_brought_again_by_the_next(tmp_path, registry, damage):
    work = finished(tmp_path / "work", registry)
    before = tree(work / "out")
    for path in work.glob("runs/batch/checkpoints/*/[VW]*.json"):
        path.unlink()
    for path in work.glob("runs/batch/blobs/sha256/*"):
        if path.read_bytes().startswith(b"{"):
            if damage == "remove":
                path.unlink()
            else:
                raw = path.read_bytes()
                path.unlink()
                path.write_bytes(b"[" + raw[1:])
    again = command(work, "run", "batch.yaml")
    assert (again.returncode, again.stderr) == (0, "")
    assert tree(work / "out") == before
    assert command(work, "verify", "runs/batch").returncode == 0
