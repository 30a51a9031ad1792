"""Every kind of image, converted both ways beside skopeo: equal where both keep; every difference is known.

The differences stand in docs/conversion.md, "Beside skopeo".
"""

import json
from pathlib import Path
from typing import Any

import pytest

from support.command import command
from support.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_MANIFEST, ImageBytes, make_image, make_layer
from support.kinds import ARTIFACTS, KINDS, nested, pointer, remade, with_config, with_unknown_layer, write_folder
from support.peers import ours, skopeo
from transship.pipeline.convert.shape import Shape
from transship.pipeline.copy import convert
from transship.pipeline.digest import Digest
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.store import Store
from transship.pipeline.tree import Selection, load


def view(folder: Path, name: str = "manifest.json") -> Any:
    """Return a manifest, and of a list each image after it."""
    document = json.loads((folder / name).read_bytes())
    below = [
        document
        for entry in document.get("manifests", [])
        for document in view(folder, f"{entry['digest'].removeprefix('sha256:')}.manifest.json")
    ]
    return [document, *below]


def leveled(view: Any, *, rewritten: bool) -> Any:
    """Return a view without what skopeo spells or makes otherwise: see docs/conversion.md."""
    documents = json.loads(json.dumps(view))
    for document in documents:
        for entry in document.get("manifests", []):
            # Of other white space, or another config, another digest.
            del entry["digest"], entry["size"]
            entry["platform"].pop("features", None)
        if rewritten and "config" in document:
            del document["config"]["digest"], document["config"]["size"]
    return documents


@pytest.mark.parametrize("form", ["oci", "v2s2"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_conversion_names_what_skopeos_names(tmp_path: Path, kind: str, form: str) -> None:
    write_folder(tmp_path / "in", KINDS[kind])
    ours(tmp_path, "copy", "--all", "--format", form, "dir:in", "dir:ours")
    skopeo(tmp_path, "copy", "--all", "--format", form, "dir:in", "dir:theirs")
    mine, theirs = view(tmp_path / "ours"), view(tmp_path / "theirs")
    rewritten = form == "oci" and kind.startswith("docker")
    assert leveled(mine, rewritten=rewritten) == leveled(theirs, rewritten=rewritten)
    if kind.startswith("oci") == (form == "oci"):
        assert (tmp_path / "ours/manifest.json").read_bytes() == (tmp_path / "theirs/manifest.json").read_bytes()
        assert (tmp_path / "ours/manifest.json").read_bytes() == KINDS[kind].manifest_raw
    # The config, and so the image ID, stays; skopeo writes Docker's anew.
    configs = {document["config"]["digest"] for document in mine if "config" in document}
    assert configs <= {str(digest) for digest in KINDS[kind].blobs}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("docker")])
def test_every_docker_kind_comes_back_from_oci(tmp_path: Path, kind: str) -> None:
    image, store = KINDS[kind], Store(tmp_path)
    for raw in image.all_blobs.values():
        store.put(raw, MediaType("application/octet-stream"))
    root = Descriptor(MediaType(image.media_type), image.digest, len(image.manifest_raw))
    there = convert(store, Selection(root), Shape("oci", reversible=True))
    back = convert(store, Selection(there.root), Shape("docker"))
    assert load(store, back.root).raw == image.manifest_raw
    assert there.losses == back.losses == ()


def mixed(docker: bool) -> ImageBytes:
    """Return an image whose manifest is of one format and calls config and layers by the other's names."""
    image = make_image("mixed", 2, docker=not docker)
    return remade(image, {**image.document, "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST})


@pytest.mark.parametrize(("docker", "own", "other"), [(True, "v2s2", "oci"), (False, "oci", "v2s2")])
def test_a_manifest_with_the_other_formats_names_keeps_its_bytes_and_is_converted_whole(
    tmp_path: Path, docker: bool, own: str, other: str
) -> None:
    image = mixed(docker)
    write_folder(tmp_path / "in", image)
    for n, words in enumerate(((), ("--format", own))):
        ours(tmp_path, "copy", *words, "dir:in", f"dir:kept{n}")
        assert (tmp_path / f"kept{n}/manifest.json").read_bytes() == image.manifest_raw
    ours(tmp_path, "copy", "--reversible", "--format", other, "dir:in", "dir:out")
    [made] = view(tmp_path / "out")
    kinds = {made["mediaType"], made["config"]["mediaType"], *(layer["mediaType"] for layer in made["layers"])}
    assert {kind.split(".")[1] for kind in kinds} == {"oci" if docker else "docker"}
    if docker:
        ours(tmp_path, "copy", "--format", "v2s2", "dir:out", "dir:back")
        assert (tmp_path / "back/manifest.json").read_bytes() == image.manifest_raw


@pytest.mark.parametrize("name", ["application/octet-stream", "application/json", "text/html", ""])
def test_a_config_that_old_registries_misnamed_is_converted_and_comes_back(tmp_path: Path, name: str) -> None:
    image = make_image("misnamed", 2)
    document: dict[str, Any] = dict(image.document)
    document["config"]["mediaType"] = name
    image = remade(image, document)
    write_folder(tmp_path / "in", image)
    ours(tmp_path, "copy", "dir:in", "dir:kept")
    ours(tmp_path, "copy", "--reversible", "dir:in", "oci:out:v1")
    made = json.loads(skopeo(tmp_path, "inspect", "--raw", "oci:out:v1"))
    assert made["config"] == {**document["config"], "mediaType": "application/vnd.oci.image.config.v1+json"}
    ours(tmp_path, "copy", "--format", "v2s2", "oci:out:v1", "dir:back")
    for there in ("kept", "back"):
        assert (tmp_path / there / "manifest.json").read_bytes() == image.manifest_raw
    ours(tmp_path, "copy", "dir:in", "docker-archive:out.tar:a/b:v1")
    assert json.loads(skopeo(tmp_path, "inspect", "docker-archive:out.tar"))["Labels"] == {"seed": "misnamed"}


def test_an_index_in_an_index_is_converted_where_skopeo_gives_up(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", nested())
    ours(tmp_path, "copy", "--all", "--dest-compress-format", "zstd", "dir:in", "oci:out:v1")
    index = json.loads(skopeo(tmp_path, "inspect", "--raw", "oci:out:v1"))
    assert index["manifests"][1]["mediaType"] == nested().media_type
    assert "verified" in ours(tmp_path, "verify", "oci:out:v1")
    done = command(tmp_path, "copy", "--all", "--format", "v2s2", "dir:in", "dir:out2")
    assert (done.returncode, "a Docker list has Docker's images alone" in done.stderr) == (1, True)
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize("form", ["oci", "v2s2"])
@pytest.mark.parametrize("kind", ARTIFACTS)
def test_what_is_no_image_is_copied_as_it_is(tmp_path: Path, kind: str, form: str) -> None:
    write_folder(tmp_path / "in", ARTIFACTS[kind])
    words = ("--dest-compress-format", "gzip", "--config", "strict", "--reversible", "--fail-on-loss")
    ours(tmp_path, "copy", "--format", form, *words, "dir:in", "dir:out")
    assert (tmp_path / "out/manifest.json").read_bytes() == ARTIFACTS[kind].manifest_raw


UNKNOWN = "application/vnd.example.layer.v9+rar"


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("beside", [0, 1])
def test_an_image_with_a_layer_of_an_unknown_type_is_refused_by_name_in_another_format(
    tmp_path: Path, docker: bool, beside: int
) -> None:
    """Also where it is the only layer, and the manifest might be taken for an artifact's."""
    write_folder(tmp_path / "in", image := with_unknown_layer(docker, beside))
    other, wish = ("oci", "oci") if docker else ("v2s2", "docker")
    (tmp_path / "batch.yaml").write_text(
        f"version: 1\ndefaults: {{manifests: {wish}}}\nimages: [{{from: 'dir:in', to: ['dir:out']}}]\n"
    )
    for words in (("copy", "--format", other, "dir:in", "dir:out"), ("run", "batch.yaml", "--progress", "none")):
        done = command(tmp_path, *words)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert f"layer {image.layers[0].digest}: media type '{UNKNOWN}' has no " in done.stderr
        assert "copy the image as it is: leave out --format, or in a batch file say manifests: keep" in done.stderr
        assert not (tmp_path / "out").exists()
    for words in ((), ("--format", "oci" if not docker else "v2s2")):
        ours(tmp_path, "copy", *words, "dir:in", "dir:kept")
        assert (tmp_path / "kept/manifest.json").read_bytes() == image.manifest_raw


@pytest.mark.parametrize("tie", ["artifactType", "subject"])
def test_what_says_that_it_is_an_artifact_is_one_whatever_its_config(tmp_path: Path, tie: str) -> None:
    image = with_unknown_layer()
    value = "application/x-thing" if tie == "artifactType" else pointer(OCI_MANIFEST, image.manifest_raw)
    image = remade(image, {**image.document, tie: value})
    write_folder(tmp_path / "in", image)
    ours(tmp_path, "copy", "--format", "v2s2", "dir:in", "dir:out")
    assert (tmp_path / "out/manifest.json").read_bytes() == image.manifest_raw


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_what_is_no_image_is_refused_where_only_images_are(tmp_path: Path, kind: str) -> None:
    write_folder(tmp_path / "in", ARTIFACTS[kind])
    done = command(tmp_path, "copy", "dir:in", "docker-archive:out.tar:a/b:v1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "not an image but application/" in done.stderr
    assert "copy it to oci:, oci-archive:, dir: or docker://" in done.stderr
    assert not (tmp_path / "out.tar").exists()


def test_a_docker_plugin_is_refused_by_an_oci_layout(tmp_path: Path) -> None:
    # skopeo makes an image of it there, with an empty config.
    write_folder(tmp_path / "in", ARTIFACTS["plugin"])
    done = command(tmp_path, "copy", "dir:in", "oci:out:v1")
    assert (done.returncode, "cannot hold" in done.stderr) == (1, True)


def test_a_config_over_4_mib_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_folder(tmp_path / "in", with_config(make_image("fat"), x="y" * (4 << 20)))
    for words in ((), ("--format", "oci")):
        done = command(tmp_path, "copy", *words, "dir:in", "dir:out")
        assert (done.returncode, "over the limit of 4194304" in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("destination", ["dir:out", "oci:out:v1", "docker-archive:out:a/b:v1"])
def test_another_number_of_diff_ids_than_layers_is_said_first(tmp_path: Path, destination: str) -> None:
    image = make_image("counts")
    document: dict[str, Any] = dict(image.document)
    layer = make_layer("one more")
    document["layers"].append(pointer(document["layers"][0]["mediaType"], layer.packed))
    write_folder(tmp_path / "in", remade(image, document, layer.packed))
    # Counted before a layer is unpacked: damaged ones would be another error.
    done = command(
        tmp_path, "copy", "--format", "oci" if "docker" not in destination else "v2s2", "dir:in", destination
    )
    assert (done.returncode, "3 diff IDs for 4 layers" in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_list_that_names_one_image_twice_names_it_twice_afterwards(tmp_path: Path) -> None:
    image = make_image("both")
    entry = {**pointer(DOCKER_MANIFEST, image.manifest_raw)}
    platforms = [{"architecture": "amd64", "os": "linux"}, {"architecture": "amd64", "os": "linux", "variant": "v2"}]
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST,
        "manifests": [{**entry, "platform": platform} for platform in platforms],
    }
    raw = json.dumps(document).encode()
    write_folder(tmp_path / "in", ImageBytes(raw, DOCKER_LIST, image.all_blobs, children=(image,)))
    ours(tmp_path, "copy", "--all", "--reversible", "dir:in", "oci:out:v1")
    index = json.loads(skopeo(tmp_path, "inspect", "--raw", "oci:out:v1"))
    assert [found["platform"] for found in index["manifests"]] == platforms
    ours(tmp_path, "copy", "--all", "--format", "v2s2", "oci:out:v1", "dir:back")
    assert Digest.of((tmp_path / "back/manifest.json").read_bytes()) == Digest.of(raw)
