"""There and back: what Docker's formats hold comes back to the byte; what they do not hold is said, or refused."""

import json

import pytest

from support.command import command
from support.images import ImageBytes, make_image, make_index, make_multi, write_layout
from transship.pipeline.compression import Compression
from transship.pipeline.convert.original import MOST, ORIGINAL
from transship.pipeline.convert.shape import Shape
from transship.pipeline.copy import convert
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import DOCKER_LIST, OCI_INDEX, OCI_MANIFEST, MediaType
from transship.pipeline.store import Store
from transship.pipeline.tree import Selection, load

THERE, BACK = Shape("oci", reversible=True), Shape("docker")


def stored(tmp_path, image):
    store = Store(tmp_path / "store")
    for raw in image.all_blobs.values():
        store.put(raw, MediaType("application/octet-stream"))
    return store, Descriptor(MediaType(image.media_type), image.digest, len(image.manifest_raw))


def put(store, document, media_type):
    return store.put(json.dumps(document).encode(), MediaType(media_type))


def both_ways(store, root, there=THERE, back=BACK):
    out = convert(store, Selection(root), there)
    return out, convert(store, Selection(out.root), back)


@pytest.mark.parametrize("image", [make_image("one", healthcheck=True), make_multi("many")], ids=["image", "list"])
def test_docker_to_oci_and_back_is_the_same_bytes(tmp_path, image):
    store, root = stored(tmp_path, image)
    there, back = both_ways(store, root)
    assert there.root.media_type in (OCI_MANIFEST, OCI_INDEX)
    assert (back.root.digest, there.losses, back.losses) == (image.digest, (), ())
    assert load(store, back.root).raw == image.manifest_raw


def test_without_being_asked_nothing_is_added(tmp_path):
    store, root = stored(tmp_path, make_image("plain"))
    there, back = both_ways(store, root, Shape("oci"))
    assert "annotations" not in json.loads(load(store, there.root).raw)
    assert back.root.digest != root.digest
    assert load(store, back.root).config.digest == load(store, root).config.digest


def test_fields_that_docker_does_not_define_go_along_and_come_back(tmp_path):
    image = make_image("odd")
    store, _ = stored(tmp_path, image)
    document = image.document | {"annotations": {"a": "b"}, "x-build": 7}
    document["layers"][0] |= {"annotations": {"c": "d"}, "x": None}
    root = put(store, document, image.media_type)
    there, back = both_ways(store, root)
    made = json.loads(load(store, there.root).raw)
    assert (made["annotations"]["a"], made["x-build"], made["layers"][0]["annotations"]) == ("b", 7, {"c": "d"})
    assert (back.root.digest, back.losses) == (root.digest, ())


def test_what_was_added_to_the_oci_manifest_is_lost_on_the_way_back_and_said(tmp_path):
    image = make_image("grown")
    store, root = stored(tmp_path, image)
    there = convert(store, Selection(root), THERE)
    document = json.loads(load(store, there.root).raw)
    document["annotations"]["org.opencontainers.image.title"] = "grown"
    document["layers"][1]["annotations"] = {"k": "v"}
    back = convert(store, Selection(put(store, document, OCI_MANIFEST)), BACK)
    assert back.root.digest == image.digest
    assert back.losses == ("manifest annotations", "layers[1] annotations")


@pytest.mark.parametrize("change", ["layer", "config", "text", "list"])
def test_an_original_that_is_not_of_this_image_is_not_taken(tmp_path, change):
    image, other = make_image("mine"), make_image("other")
    store, root = stored(tmp_path, image)
    there = convert(store, Selection(root), THERE)
    document = json.loads(load(store, there.root).raw)
    claimed = image.document
    claimed["layers"][0] = other.document["layers"][0] if change == "layer" else claimed["layers"][0]
    claimed["config"] = other.document["config"] if change == "config" else claimed["config"]
    text = {"text": "no JSON", "list": make_multi("m").manifest_raw.decode()}
    document["annotations"][ORIGINAL] = text.get(change, json.dumps(claimed))
    back = convert(store, Selection(put(store, document, OCI_MANIFEST)), BACK)
    made = load(store, back.root)
    assert [blob.digest for blob in made.blobs] == [blob.digest for blob in load(store, root).blobs]
    assert "annotations" not in made.document


def test_repacked_layers_leave_no_original_behind_and_are_a_loss_where_it_was_asked_for(tmp_path):
    image = make_image("packed")
    store, root = stored(tmp_path, image)
    made = convert(store, Selection(root), THERE._replace(layers=Compression.ZSTD))
    assert made.losses == ("manifest bytes: its layers are made anew, so that no way leads back to them",)
    assert "annotations" not in json.loads(load(store, made.root).raw)
    there = convert(store, Selection(root), THERE)
    later = convert(store, Selection(there.root), Shape("oci", layers=Compression.ZSTD))
    assert later.losses == made.losses
    assert "annotations" not in json.loads(load(store, later.root).raw)


def test_the_original_comes_back_where_a_compression_is_asked_for_that_its_layers_have(tmp_path):
    image = make_image("asked")
    store, root = stored(tmp_path, image)
    _, back = both_ways(store, root, back=Shape("docker", layers=Compression.GZIP))
    assert (back.root.digest, back.losses) == (image.digest, ())
    _, made = both_ways(store, root, back=Shape("docker", layers=Compression.NONE))
    assert made.root.digest != image.digest


def test_an_original_too_large_for_an_annotation_is_a_loss(tmp_path):
    image = make_image("huge")
    store, _ = stored(tmp_path, image)
    root = put(store, image.document | {"x": "y" * MOST}, image.media_type)
    made = convert(store, Selection(root), THERE)
    assert len(made.losses) == 1
    assert made.losses[0].endswith(f"more than the {MOST} that an annotation keeps")
    assert ORIGINAL not in load(store, made.root).annotations


def test_an_index_of_some_of_a_lists_platforms_keeps_no_original(tmp_path):
    image = make_multi("some")
    store, root = stored(tmp_path, image)
    made = convert(store, Selection(root, (image.children[0].digest,)), THERE)
    assert ORIGINAL not in load(store, made.root).annotations


def rich_index():
    """Return an OCI index with everything that OCI 1.1 lets stand there, and its image."""
    image = make_image("rich", docker=False, annotations={"note": "manifest"})
    index = make_index([image], docker=False)
    document = index.document | {
        "artifactType": "application/x-kind",
        "annotations": {"note": "index"},
        "subject": {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(b"s")), "size": 1},
    }
    document["manifests"][0] |= {"annotations": {"note": "entry"}, "artifactType": "application/x-kind"}
    document["manifests"][0]["platform"] |= {"os.version": "10.0", "os.features": ["win32k"], "features": ["sse4"]}
    return image, document


def test_oci_to_docker_names_each_field_that_has_no_place(tmp_path):
    image, document = rich_index()
    store, _ = stored(tmp_path, image)
    made = convert(store, Selection(put(store, document, OCI_INDEX)), BACK)
    entry = f"manifests[{image.digest}]"
    assert set(made.losses) == {
        "manifest annotations",
        "index artifactType",
        "index annotations",
        "index subject",
        f"{entry} annotations",
        f"{entry} artifactType",
    }
    listed = json.loads(load(store, made.root).raw)
    assert set(listed) == {"schemaVersion", "mediaType", "manifests"}
    assert listed["manifests"][0]["platform"] == document["manifests"][0]["platform"]


def test_all_of_it_stays_in_an_index_that_is_written_anew(tmp_path):
    image, document = rich_index()
    store, _ = stored(tmp_path, image)
    root = put(store, document, OCI_INDEX)
    made = convert(store, Selection(root), Shape("oci", layers=Compression.ZSTD))
    written = json.loads(load(store, made.root).raw)
    for one in (written, document):
        one["manifests"][0].pop("digest")
        one["manifests"][0].pop("size")
    assert (written, made.losses) == (document, ())


def test_an_entry_without_a_platform_gets_that_of_its_config(tmp_path):
    image = make_image("bare", docker=False, platform="linux/arm64/v8")
    index = make_index([image], docker=False)
    document = index.document
    del document["manifests"][0]["platform"]
    store, _ = stored(tmp_path, image)
    made = convert(store, Selection(put(store, document, OCI_INDEX)), BACK)
    listed = json.loads(load(store, made.root).raw)
    assert listed["mediaType"] == DOCKER_LIST
    assert listed["manifests"][0]["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v8"}


def nested(docker: bool = False) -> ImageBytes:
    inner = make_index([make_image("inner", docker=docker)], docker=docker)
    outer = make_index([make_image("outer", docker=docker)], docker=docker)
    document = outer.document
    document["manifests"].append(
        {"mediaType": inner.media_type, "digest": str(inner.digest), "size": len(inner.manifest_raw)}
    )
    raw = json.dumps(document).encode()
    return ImageBytes(raw, outer.media_type, outer.blobs | inner.all_blobs, children=(*outer.children, inner))


def test_a_nested_index_stays_nested_and_is_no_docker_list(tmp_path):
    index = nested()
    store, root = stored(tmp_path, index)
    repacked = convert(store, Selection(root), Shape("oci", layers=Compression.ZSTD))
    entries = load(store, repacked.root).manifests
    assert [entry.media_type for entry in entries] == [OCI_MANIFEST, OCI_INDEX]
    assert load(store, load(store, entries[1]).manifests[0]).media_type == OCI_MANIFEST
    with pytest.raises(ContentError, match="a Docker list has Docker's images alone"):
        convert(store, Selection(root), BACK)


def test_copy_keeps_the_way_back_open_and_says_what_is_lost(tmp_path):
    image = make_multi("cli")
    write_layout(tmp_path / "in", {"v1": make_image("notes", docker=False, annotations={"a": "b"})})
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_bytes(image.manifest_raw)
    for digest, raw in image.blobs.items():
        known = digest in {child.digest for child in image.children}
        (folder / f"{digest.hex}{'.manifest.json' if known else ''}").write_bytes(raw)
    there = command(tmp_path, "copy", "--all", "--reversible", "dir:docker", "oci:out:v1")
    assert (there.returncode, "lost" in there.stderr) == (0, False), there.stderr
    back = command(tmp_path, "copy", "--all", "--format", "v2s2", "oci:out:v1", "dir:back")
    assert (back.returncode, "lost" in back.stderr) == (0, False), back.stderr
    assert (tmp_path / "back" / "manifest.json").read_bytes() == image.manifest_raw
    lossy = command(tmp_path, "copy", "--format", "v2s2", "oci:in:v1", "dir:lossy")
    assert "transship: lost in conversion: manifest annotations" in lossy.stderr
    assert lossy.returncode == 0


@pytest.mark.parametrize("destination", ["dir:out", "docker-archive:out:a/b:v1"])
def test_fail_on_loss_writes_nothing(tmp_path, destination):
    write_layout(tmp_path / "in", {"v1": make_image("notes", docker=False, annotations={"a": "b"})})
    done = command(tmp_path, "copy", "--format", "v2s2", "--fail-on-loss", "oci:in:v1", destination)
    assert done.returncode == 1
    assert "the conversion would lose manifest annotations; nothing was written" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_batch_refuses_losses_and_keeps_the_way_back(tmp_path):
    write_layout(
        tmp_path / "in", {"notes": make_image("n", docker=False, annotations={"a": "b"}), "v1": make_image("d")}
    )
    batch = {
        "version": 1,
        "defaults": {"fail-on-loss": True, "reversible": True},
        "images": [
            {"from": "oci:in:notes", "to": ["dir:lossy"], "manifests": "docker"},
            {"from": "oci:in:v1", "to": ["oci:out:v1"]},
        ],
    }
    (tmp_path / "batch.yaml").write_text(json.dumps(batch))
    done = command(tmp_path, "run", "batch.yaml", "--progress", "none")
    assert done.returncode == 1
    assert "would lose manifest annotations" in done.stderr
    assert not (tmp_path / "lossy").exists()
    assert command(tmp_path, "copy", "--format", "v2s2", "oci:out:v1", "dir:back").returncode == 0
    assert (tmp_path / "back" / "manifest.json").read_bytes() == make_image("d").manifest_raw
