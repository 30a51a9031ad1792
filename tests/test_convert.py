"""Conversion: bytes kept unless asked, what changes is exact, what is lost is said."""

import gzip
import json

import pytest
import pyzstd
from hypothesis import given, settings
from hypothesis import strategies as st

from support.images import make_image, make_index, make_multi
from support.kinds import with_config
from transship import schemas
from transship.pipeline.compression import Compression
from transship.pipeline.convert.image import build_manifest, plan_image
from transship.pipeline.convert.shape import Shape, bounded
from transship.pipeline.convert.strict import strict_config
from transship.pipeline.copy import convert
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, UsageError
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import (
    DOCKER_MANIFEST,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    MediaType,
)
from transship.pipeline.manifest.views import Image, Index, parse
from transship.pipeline.resolve import resolve
from transship.pipeline.store import Store
from transship.pipeline.tree import Selection, blobs, load


def stored(tmp_path, image):
    store = Store(tmp_path / "store")
    for raw in image.all_blobs.values():
        store.put(raw, MediaType("application/octet-stream"))
    return store, Descriptor(MediaType(image.media_type), image.digest, len(image.manifest_raw))


class _NoSource:
    def manifest(self, instance=None):
        raise NotFoundError(f"asked for {instance}")


def documents(store, root):
    view = load(store, root)
    return view, json.loads(view.raw)


def test_docker_to_oci_keeps_config_and_layer_bytes(tmp_path):
    image = make_image("a", healthcheck=True)
    store, root = stored(tmp_path, image)
    made = convert(store, Selection(root), Shape("oci"))
    view, document = documents(store, made.root)
    assert (view.media_type, made.losses) == (OCI_MANIFEST, ())
    assert document["config"]["digest"] == image.document["config"]["digest"]
    assert document["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert [layer["digest"] for layer in document["layers"]] == [layer["digest"] for layer in image.document["layers"]]
    assert {layer["mediaType"] for layer in document["layers"]} == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    schemas.validate("oci-manifest", document, "made")


@pytest.mark.parametrize("docker", [True, False])
def test_what_need_not_change_keeps_its_bytes(tmp_path, docker):
    image = make_multi("keep", docker=docker)
    store, root = stored(tmp_path, image)
    made = convert(store, Selection(root), Shape("docker" if docker else "oci"))
    assert (made.root.digest, made.changes, made.losses) == (image.digest, (), ())
    assert convert(store, Selection(root), Shape()).root.digest == image.digest


def test_an_index_points_at_its_converted_instances(tmp_path):
    image = make_multi("multi")
    store, root = stored(tmp_path, image)
    made = convert(store, Selection(root), Shape("oci"))
    view, document = documents(store, made.root)
    assert isinstance(view, Index)
    assert view.media_type == OCI_INDEX
    schemas.validate("oci-index", document, "made")
    assert [entry["platform"] for entry in document["manifests"]] == [
        entry["platform"] for entry in image.document["manifests"]
    ]
    for entry in view.manifests:
        child = load(store, entry)
        assert child.media_type == OCI_MANIFEST
        assert (len(child.raw), child.digest) == (entry.size, entry.digest)


def test_a_platform_list_leaves_an_index_of_those(tmp_path):
    image = make_multi("some")
    store, root = stored(tmp_path, image)
    selection = resolve(_NoSource(), store, root, ("linux/arm64", "linux/amd64"))
    made = convert(store, selection, Shape("oci"))
    view, document = documents(store, made.root)
    assert [str(entry.platform) for entry in view.manifests] == ["linux/amd64", "linux/arm64/v8"]
    assert len(list(blobs(store, selection))) == 8
    assert document["mediaType"] == OCI_INDEX


def test_one_platform_is_that_image_alone(tmp_path):
    image = make_multi("one")
    store, root = stored(tmp_path, image)
    assert resolve(_NoSource(), store, root, "linux/arm/v7").root.digest == image.children[2].digest
    with pytest.raises(NotFoundError, match=r"linux/s390x.*it has: linux/amd64, linux/arm/v7, linux/arm64/v8"):
        resolve(_NoSource(), store, root, "linux/s390x")


@pytest.mark.parametrize("layers", [Compression.GZIP, Compression.ZSTD, Compression.NONE])
@pytest.mark.parametrize("compressed", [True, False])
def test_repacked_layers_hold_the_same_tar(tmp_path, layers, compressed):
    image = make_image("repack", compressed=compressed)
    store, root = stored(tmp_path, image)
    made = convert(store, Selection(root), Shape("oci", layers=layers))
    view = load(store, made.root)
    unpack = {Compression.GZIP: gzip.decompress, Compression.ZSTD: pyzstd.decompress, Compression.NONE: bytes}[layers]
    for descriptor, layer in zip(view.layers, image.layers, strict=True):
        raw = store.path(descriptor.digest).read_bytes()
        assert (Digest.of(raw), len(raw)) == (descriptor.digest, descriptor.size)
        assert unpack(raw) == layer.tar
        if compressed and layers is Compression.GZIP:
            assert descriptor.digest == layer.digest
    again = convert(Store(tmp_path / "store"), Selection(root), Shape("oci", layers=layers))
    assert again.root.digest == made.root.digest


def test_a_layer_that_is_not_its_diff_id_is_refused(tmp_path):
    image = make_image("liar")
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"][1] = "sha256:" + "0" * 64
    raw = json.dumps(config).encode()
    document = image.document
    document["config"] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    manifest = json.dumps(document).encode()
    store, _ = stored(tmp_path, image)
    store.put(raw, MediaType("x"))
    root = store.put(manifest, DOCKER_MANIFEST)
    with pytest.raises(ContentError, match="diff ID"):
        convert(store, Selection(root), Shape("oci", layers=Compression.ZSTD))


def test_strict_config_names_every_field_it_drops(tmp_path):
    image = make_image("strict", healthcheck=True)
    rootfs = json.loads(image.config)["rootfs"]
    image = with_config(image, rootfs={**rootfs, "base_layer": "windows"})
    store, root = stored(tmp_path, image)
    made = convert(store, Selection(root), Shape("oci", config="strict"))
    assert made.losses == (
        "config config Healthcheck",
        "config config OnBuild",
        "config container",
        "config docker_version",
        "config rootfs base_layer",
    )
    config = json.loads(store.read(load(store, made.root).config))
    assert set(config) == {"architecture", "os", "created", "config", "rootfs", "history"}
    assert config["rootfs"] == rootfs
    schemas.validate("image-config", config, "made")


def test_strict_config_without_anything_to_drop_is_the_same_bytes():
    config = make_image("plain").config
    assert strict_config(ImageConfig.parse(config)) == (config, ())


def test_oci_to_docker_says_what_docker_cannot_hold():
    image = parse(make_image("notes", docker=False, annotations={"a": "b"}).manifest_raw)
    plan = plan_image(image, Shape("docker"))
    assert plan.losses == ("manifest annotations",)
    made = build_manifest(plan, image.config, image.layers)
    assert "annotations" not in json.loads(made)


def with_foreign_layer():
    document = make_image("foreign").document
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    document["layers"][0] |= {"mediaType": foreign, "urls": ["https://r.example/base"]}
    return parse(json.dumps(document).encode())


@pytest.mark.parametrize("manifests", ["keep", "oci", "docker"])
def test_a_foreign_layer_is_named_among_the_losses(manifests):
    lost = ("layers[0] content: foreign, only at https://r.example/base",)
    assert plan_image(with_foreign_layer(), Shape(manifests)).losses == lost


def test_a_destination_that_must_hold_every_layer_downloads_the_foreign_ones():
    for transport in ("docker-archive", "docker-daemon", "containers-storage", "dir"):
        shape = bounded(Shape(), transport)
        assert shape.downloads
        assert plan_image(with_foreign_layer(), shape).losses == ()
    for transport in ("oci", "oci-archive", "docker"):
        assert not bounded(Shape(), transport).downloads
        assert bounded(Shape(foreign="download"), transport).downloads
    assert not bounded(Shape(foreign="keep-urls"), "dir").downloads
    with pytest.raises(UsageError, match="docker-archive: holds every layer"):
        bounded(Shape(foreign="keep-urls"), "docker-archive")


def test_a_layer_that_oci_cannot_say_is_an_error_that_names_it():
    document = make_image("odd").document
    document["layers"][1]["mediaType"] = "application/x-odd"
    with pytest.raises(ContentError, match="application/x-odd"):
        plan_image(parse(json.dumps(document).encode()), Shape("oci"))


def test_a_layout_never_gets_docker_manifests():
    with pytest.raises(UsageError, match="OCI manifests only"):
        bounded(Shape("docker"), "oci")
    assert bounded(Shape(), "oci").manifests == "oci"
    plain = Shape("docker", layers=Compression.NONE, single=True, foreign="download")
    assert bounded(Shape("oci"), "docker-archive") == plain


text = st.text(max_size=8)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}")
extra = st.dictionaries(st.text("xyz", min_size=3, max_size=6), st.one_of(text, st.integers(0, 9)), max_size=2)


@st.composite
def docker_manifests(draw):
    gz = "application/vnd.docker.image.rootfs.diff.tar.gzip"

    def blob(kind, largest=1 << 40):
        return {"mediaType": kind, "size": draw(st.integers(0, largest)), "digest": draw(digests), **draw(extra)}

    return {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": blob("application/vnd.docker.container.image.v1+json", 4 << 20),
        "layers": [blob(gz) for _ in range(draw(st.integers(0, 6)))],
    }


@settings(max_examples=60, deadline=None)
@given(document=docker_manifests())
def test_any_docker_manifest_becomes_an_oci_one_with_the_same_blobs(document):
    image = parse(json.dumps(document).encode())
    plan = plan_image(image, Shape("oci"))
    config = Descriptor(plan.config_media_type, image.config.digest, image.config.size)
    layers = tuple(Descriptor(lp.media_type, lp.source.digest, lp.source.size) for lp in plan.layers)
    made = parse(build_manifest(plan, config, layers))
    assert isinstance(made, Image)
    assert made.media_type == OCI_MANIFEST
    assert [(b.digest, b.size) for b in made.blobs] == [(b.digest, b.size) for b in image.blobs]
    for old, new in zip([document["config"], *document["layers"]], made.blobs, strict=True):
        assert {k: v for k, v in new.document.items() if k != "mediaType"} == {
            k: v for k, v in old.items() if k != "mediaType"
        }


@settings(max_examples=200, deadline=None)
@given(
    raw=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | text,
            lambda c: (
                st.lists(c, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "Layers", "x"]),
                    c,
                    max_size=4,
                )
            ),
        ).map(lambda d: json.dumps(d).encode()),
    )
)
def test_any_bytes_are_a_manifest_or_a_clear_error(raw):
    try:
        assert parse(raw).media_type in MANIFESTS
    except ContentError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right, a third is not


def test_an_ambiguous_manifest_is_refused():
    both = make_image("x").document | {"manifests": []}
    with pytest.raises(ContentError, match="at once"):
        parse(json.dumps(both).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b'{"schemaVersion":2,"schemaVersion":2,"config":{}}',
        b'{"schemaVersion":2,"layers":[],"Layers":[]}',
        b'\xef\xbb\xbf{"schemaVersion":2}',
        b'{"schemaVersion":2} {}',
        b'{"schemaVersion":' + b"9" * 30 + b"}",
        b'{"schemaVersion":NaN}',
        b'{"schemaVersion":1e400}',
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"null",
    ],
    ids=["duplicate", "case", "bom", "trailing", "digits", "nan", "huge", "deep", "null"],
)
def test_json_that_readers_disagree_about_is_refused(raw):
    with pytest.raises(ContentError):
        parse(raw)


def test_labels_that_differ_in_case_are_the_users_own():
    config = json.loads(make_image("labels").config)
    config["config"]["Labels"] = {"A": "1", "a": "2"}
    assert ImageConfig.parse(json.dumps(config).encode()).diff_ids


def test_index_of_one_kind_converts_with_platform_kept(tmp_path):
    image = make_index([make_image("w", platform="windows/amd64")])
    document = image.document
    document["manifests"][0]["platform"]["os.version"] = "10.0.17763.1"
    document["manifests"][0]["platform"]["features"] = ["sse4"]
    raw = json.dumps(document).encode()
    store, _ = stored(tmp_path, image)
    root = store.put(raw, MediaType(image.media_type))
    made = convert(store, Selection(root), Shape("oci"))
    _, new = documents(store, made.root)
    assert new["manifests"][0]["platform"] == document["manifests"][0]["platform"]
