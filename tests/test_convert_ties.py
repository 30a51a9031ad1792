"""What points at something by its digest or holds its bytes, where a conversion makes another thing of that."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from support.command import command
from support.images import OCI_MANIFEST, ImageBytes, make_image, make_index
from support.kinds import ARTIFACTS, pointer, remade, write_folder
from support.peers import ours

ZSTD = ("--all", "--dest-compress-format", "zstd")
IMAGE = make_image("tied", 1, docker=False)


def with_attestations() -> ImageBytes:
    """Return an index of an image, its attestation as BuildKit ties it, and an SBOM that has it as its subject."""
    attestation = ARTIFACTS["attestation"]
    sbom = ARTIFACTS["sbom"]
    sbom = remade(sbom, {**sbom.document, "subject": pointer(OCI_MANIFEST, IMAGE.manifest_raw)})
    index = make_index([IMAGE, attestation, sbom], docker=False)
    document: dict[str, Any] = dict(index.document)
    document["manifests"][1] |= {
        "platform": {"architecture": "unknown", "os": "unknown"},
        "annotations": {
            "vnd.docker.reference.digest": str(IMAGE.digest),
            "vnd.docker.reference.type": "attestation-manifest",
        },
    }
    return remade(index, document)


def copied(folder: Path, *words: str) -> tuple[Any, list[str]]:
    """Copy ``in`` to ``out``; return the manifest there, and the losses that were said."""
    done = command(folder, "copy", *words, "dir:in", "dir:out")
    assert done.returncode == 0, done.stderr
    said = "transship: lost in conversion: "
    losses = [line.removeprefix(said) for line in done.stderr.splitlines() if line.startswith(said)]
    return json.loads((folder / "out/manifest.json").read_bytes()), losses


def test_an_attestation_in_an_index_is_found_by_the_new_digest_and_is_said_to_be_of_the_old(tmp_path: Path) -> None:
    index = with_attestations()
    write_folder(tmp_path / "in", index)
    made, losses = copied(tmp_path, *ZSTD)
    image, attestation, sbom = made["manifests"]
    assert attestation["annotations"]["vnd.docker.reference.digest"] == image["digest"] != str(IMAGE.digest)
    assert attestation["annotations"]["vnd.docker.reference.type"] == "attestation-manifest"
    becomes = f"{IMAGE.digest}, which becomes {image['digest']}"
    assert losses == [
        f"manifests[{attestation['digest']}] attestation: of {becomes}",
        f"manifest {sbom['digest']} subject: {becomes}",
    ]
    # Both are copied to the byte.
    assert [entry["digest"] for entry in made["manifests"][1:]] == [str(child.digest) for child in index.children[1:]]


def test_where_the_image_stays_so_do_its_attestations_and_nothing_is_lost(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", with_attestations())
    made, losses = copied(tmp_path, "--all", "--format", "oci", "--fail-on-loss")
    assert (made, losses) == (with_attestations().document, [])


def test_fail_on_loss_refuses_to_untie_an_attestation(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", with_attestations())
    done = command(tmp_path, "copy", *ZSTD, "--fail-on-loss", "dir:in", "dir:out")
    assert (done.returncode, "would lose manifests[sha256:" in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_list_with_an_attestation_comes_back_as_it_was_and_the_tie_with_it(tmp_path: Path) -> None:
    image, attestation = make_image("listed", 1), ARTIFACTS["attestation"]
    listed = make_index([image, attestation], docker=True)
    document: dict[str, Any] = dict(listed.document)
    document["manifests"][1]["annotations"] = {"vnd.docker.reference.digest": str(image.digest)}
    listed = remade(listed, document)
    write_folder(tmp_path / "docker", listed)
    ours(tmp_path, "copy", "--all", "--reversible", "--format", "oci", "dir:docker", "dir:in")
    made, losses = copied(tmp_path, "--all", "--format", "v2s2", "--fail-on-loss")
    assert (made, losses) == (listed.document, [])
    assert (tmp_path / "out/manifest.json").read_bytes() == listed.manifest_raw


def embedded(image: ImageBytes) -> ImageBytes:
    """Return an index of ``image`` whose descriptors hold the bytes themselves, and say where else they are."""
    document: dict[str, Any] = dict(image.document)
    layer = document["layers"][0]
    layer |= {"data": base64.b64encode(image.layers[0].packed).decode(), "urls": ["https://r.example/layer"]}
    document["config"]["data"] = base64.b64encode(image.config).decode()
    inner = remade(image, document)
    index = make_index([inner], docker=False)
    outer: dict[str, Any] = dict(index.document)
    outer["manifests"][0] |= {
        "data": base64.b64encode(inner.manifest_raw).decode(),
        "urls": ["https://r.example/manifest"],
    }
    return remade(index, outer)


def test_bytes_embedded_in_a_descriptor_go_where_they_are_others_now_and_are_named(tmp_path: Path) -> None:
    index = embedded(IMAGE)
    write_folder(tmp_path / "in", index)
    made, losses = copied(tmp_path, *ZSTD)
    entry = f"manifests[{index.children[0].digest}]"
    assert losses == ["layers[0] data", "layers[0] urls", f"{entry} data", f"{entry} urls"]
    assert not {"data", "urls"} & made["manifests"][0].keys()
    digest = made["manifests"][0]["digest"].removeprefix("sha256:")
    image = json.loads((tmp_path / f"out/{digest}.manifest.json").read_bytes())
    assert not {"data", "urls"} & image["layers"][0].keys()
    # The config is the same, and so is what is embedded of it.
    assert base64.b64decode(image["config"]["data"]) == IMAGE.config


@pytest.mark.parametrize(("kind", "there"), [("zstd", True), ("gzip", False)])
def test_an_entry_is_called_zstd_as_long_as_its_layers_are(tmp_path: Path, kind: str, there: bool) -> None:
    note = "io.github.containers.compression.zstd"
    index = make_index([IMAGE], docker=False)
    document: dict[str, Any] = dict(index.document)
    document["manifests"][0]["annotations"] = {note: "true", "a": "b"}
    write_folder(tmp_path / "plain", remade(index, document))
    ours(tmp_path, "copy", *ZSTD, "dir:plain", "dir:in")
    made, losses = copied(tmp_path, "--all", "--dest-compress-again", "--dest-compress-format", kind)
    assert made["manifests"][0]["annotations"] == {"a": "b", **({note: "true"} if there else {})}
    assert losses == []
