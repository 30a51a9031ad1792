"""Conversion of anything: every valid Docker image comes back as it was, everything else is a clear error."""

import copy
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from transship.pipeline.compression import Compression
from transship.pipeline.convert.shape import Shape
from transship.pipeline.copy import convert
from transship.pipeline.digest import Digest
from transship.pipeline.errors import Error
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import (
    DOCKER_CONFIG,
    DOCKER_FOREIGN_GZIP,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MediaType,
)
from transship.pipeline.manifest.views import parse
from transship.pipeline.store import Store
from transship.pipeline.tree import Selection, load

BLOB = MediaType("application/octet-stream")
THERE, BACK = Shape("oci", reversible=True), Shape("docker")
# Any text that UTF-8 can hold, in any spelling of JSON.
text = st.text(max_size=6) | st.sampled_from(["\u2028", "<&>", "\x00", "a\\u0041"])
digests = st.binary(min_size=32, max_size=32).map(lambda raw: f"sha256:{raw.hex()}")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | text,
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text("pqr", max_size=3), children, max_size=2),
    max_leaves=4,
)
extra = st.dictionaries(st.text("xyz", min_size=3, max_size=6), json_values, max_size=2)
spellings = st.sampled_from([{}, {"indent": 3}, {"separators": (",", ":")}, {"ensure_ascii": True, "sort_keys": True}])


def spelt(draw, document) -> bytes:
    return json.dumps(document, **{"ensure_ascii": False, **draw(spellings)}).encode()


@st.composite
def configs(draw, layers):
    run = {
        "Env": draw(st.lists(text, max_size=2)),
        "Labels": draw(st.dictionaries(text, st.text(max_size=4), max_size=2)),
        "Healthcheck": {"Test": ["CMD", draw(text)]},
        "Volumes": {"/v": {}},
    }
    document = {
        "architecture": draw(st.sampled_from(["amd64", "arm64", ""])),
        "os": draw(st.sampled_from(["linux", "windows"])),
        "config": draw(st.none() | st.just(run)),
        "rootfs": {"type": "layers", "diff_ids": draw(st.lists(digests, min_size=layers, max_size=layers))},
        "history": draw(
            st.lists(st.fixed_dictionaries({"created_by": text, "empty_layer": st.booleans()}), max_size=3)
        ),
        **draw(extra),
    }
    return spelt(draw, document)


@st.composite
def images(draw):
    """Return a v2s2 manifest and its config; its layers are anywhere, and only named."""
    kinds = st.sampled_from([DOCKER_LAYER_GZIP, DOCKER_LAYER, DOCKER_FOREIGN_GZIP])
    count = draw(st.integers(0, 5) | st.just(127))
    # One of each for 127 layers: what is looked for there is the count.
    drawn = [draw(st.tuples(kinds, st.integers(0, 1 << 40), digests, extra)) for _ in range(min(count, 5))]
    layers = []
    for n in range(count):
        kind, size, digest, more = drawn[n % 5]
        urls = {"urls": ["https://r.example/layer"]} if kind == DOCKER_FOREIGN_GZIP else {}
        layers.append({"mediaType": kind, "size": size, "digest": digest, **urls, **more})
    config = draw(configs(count))
    return manifest_of(draw, config, layers, draw(extra)), config


def manifest_of(draw, config, layers, more):
    described = {"mediaType": DOCKER_CONFIG, **pointer(config)}
    return spelt(
        draw, {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": described, "layers": layers, **more}
    )


def pointer(raw):
    return {"size": len(raw), "digest": str(Digest.of(raw))}


@st.composite
def lists(draw):
    """Return a manifest list and its images."""
    made = draw(st.lists(images(), max_size=3))
    entries = [
        {
            "mediaType": DOCKER_MANIFEST,
            **pointer(manifest),
            "platform": {"architecture": "amd64", "os": "linux", "features": ["sse4"], **draw(extra)},
            **draw(extra),
        }
        for manifest, _ in made
    ]
    document = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries, **draw(extra)}
    return spelt(draw, document), made


@pytest.fixture(scope="module")
def store():
    with tempfile.TemporaryDirectory() as name:
        yield Store(Path(name), durable=False)


def there_and_back(store, raw, media_type):
    root = store.put(raw, media_type)
    there = convert(store, Selection(root), THERE)
    back = convert(store, Selection(there.root), BACK)
    assert load(store, back.root).raw == raw
    # Parsed as anyone who gets it would: from its bytes.
    made = load(store, there.root)
    assert parse(made.raw).digest == there.root.digest
    # A foreign layer's bytes are elsewhere before and after: that alone is said.
    assert {loss.partition(" ")[2][:16] for loss in there.losses + back.losses} <= {"content: foreign"}


thorough = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@thorough
@given(image=images())
def test_any_docker_image_comes_back_from_oci_as_it_was(store, image):
    manifest, config = image
    store.put(config, BLOB)
    there_and_back(store, manifest, DOCKER_MANIFEST)


@thorough
@given(made=lists())
def test_any_docker_list_comes_back_from_oci_as_it_was(store, made):
    raw, below = made
    for manifest, config in below:
        store.put(manifest, DOCKER_MANIFEST)
        store.put(config, BLOB)
    there_and_back(store, raw, DOCKER_LIST)


def places(document, at=()):
    yield at
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))
        else:
            yield (*at, key)


@st.composite
def damaged(draw):
    """Return a manifest and a config of which something is other than it should be."""
    manifest, config = draw(images().filter(lambda image: len(image[0]) < 20_000))
    document = [json.loads(manifest), json.loads(config)]
    *way, last = draw(st.sampled_from([at for at in places(document) if len(at) > 1]))
    spot = copy.deepcopy(document)
    inner = spot
    for step in way:
        inner = inner[step]
    inner[last] = draw(json_values)
    changed = json.dumps(spot[1]).encode()
    if isinstance(spot[0].get("config"), dict) and way[:1] == [1]:
        spot[0]["config"] |= pointer(changed)
    return json.dumps(spot[0]).encode(), changed


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    made=damaged(), shape=st.sampled_from([THERE, BACK, Shape("oci", "strict"), Shape("oci", layers=Compression.ZSTD)])
)
def test_anything_else_is_converted_or_a_clear_error(store, made, shape):
    raw, config = made
    store.put(config, BLOB)
    root = store.put(raw, DOCKER_MANIFEST)
    try:
        done = convert(store, Selection(Descriptor(DOCKER_MANIFEST, root.digest, root.size)), shape)
    except Error as error:
        event("refused")
        assert "\n" not in str(error)  # noqa: PT017 - either outcome is right, a third is not
    else:
        event("converted")
        assert parse(load(store, done.root).raw).digest == done.root.digest
