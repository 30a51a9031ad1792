"""Tag selectors in a batch, asked of a real registry in the way that the batch file says."""

import json
from dataclasses import replace
from pathlib import Path

from support.command import command
from support.corpus import pack, push, sample
from support.registry_server import running


def test_selectors_reach_an_insecure_registry_and_stay_pinned(tmp_path: Path) -> None:
    image = sample("team/web", "v1.0", [pack({"a": b"a"})], "x")
    with running(tmp_path / "registry") as server:
        for tag in ("v1.0", "v1.1", "v1.2", "v1.2-rc1", "v2.0"):
            push(server.name, replace(image, tag=tag))
        (tmp_path / "batch.yaml").write_text(
            "version: 1\nname: web\nimages:\n"
            f"  - from: docker://{server.name}/team/web\n"
            "    tags: {regex: '^v1[.]', exclude: rc, newest: 2}\n"
            "    to: ['oci:out:{tag}']\n"
            f"registries:\n  {server.name}: {{tls-verify: false}}\n"
        )
        assert command(tmp_path, "run", "batch.yaml").returncode == 0
        push(server.name, replace(image, tag="v1.9"))
        assert command(tmp_path, "run", "batch.yaml").returncode == 0
        assert names(tmp_path) == ["v1.1", "v1.2"]
        assert command(tmp_path, "run", "batch.yaml", "--refresh").returncode == 0
        assert names(tmp_path) == ["v1.1", "v1.2", "v1.9"]


def names(folder: Path) -> list[str]:
    index = json.loads((folder / "out" / "index.json").read_text())
    return sorted(entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"])
