"""Layers that only pass through: read once from the source, repacked on the way, hidden until they are verified."""

import gzip
import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import pyzstd

from support.images import ImageBytes, make_image
from transship.pipeline.compression import Compression
from transship.pipeline.convert.shape import Shape
from transship.pipeline.copy import convert, fetch_blobs
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, TransientError, TransportError
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.manifest.views import Image, parse
from transship.pipeline.repacking import layers
from transship.pipeline.resolve import fetch_manifest, resolve
from transship.pipeline.store import Store
from transship.pipeline.transport import RangeRefusedError
from transship.pipeline.tree import load

SIZE = 3 << 20


class MemorySource:
    """An image in memory, whose layers break off after ``breaks`` bytes at each opening."""

    def __init__(self, image: ImageBytes, breaks: int = 0, seekable: bool = True) -> None:
        self.image = image
        self.blobs = dict(image.all_blobs)
        self.breaks = breaks
        self.seekable = seekable
        self.openings: list[tuple[Digest, int]] = []

    def manifest(self, instance: Digest | None = None):
        raw = self.blobs.get(instance or self.image.digest)
        if raw is None:
            raise NotFoundError(f"no {instance}")
        return parse(raw, MediaType(self.image.media_type), "memory")

    @contextmanager
    def blob(self, wanted, start=0):
        if start and not self.seekable:
            raise RangeRefusedError("from its start only")
        self.openings.append((wanted.digest, start))
        stream = io.BytesIO(self.blobs[wanted.digest])
        stream.seek(start)
        breaks = self.breaks if wanted.size > self.breaks else 0
        yield Broken(stream, breaks) if breaks else stream

    def close(self) -> None:
        pass


class Broken(io.RawIOBase):
    """A stream that fails after ``left`` bytes."""

    def __init__(self, stream, left):
        super().__init__()
        self._stream = stream
        self._left = left

    def read(self, size=-1):
        if not self._left:
            raise TransientError("connection reset")
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data


def brought(store, source, shape, pool=None):
    selection = resolve(source, store, fetch_manifest(source, store), "all")
    fetch_blobs(source, store, selection, pool, leave=layers(store, selection, shape).passing)
    made = convert(store, selection, shape, pool, source)
    view = load(store, made.root)
    assert isinstance(view, Image)
    return view


def unpacked(store, view, unpack):
    return [unpack(store.path(layer.digest).read_bytes()) for layer in view.layers]


@pytest.mark.parametrize(
    ("want", "unpack"),
    [(Compression.NONE, bytes), (Compression.ZSTD, pyzstd.decompress), (Compression.GZIP, gzip.decompress)],
)
@pytest.mark.parametrize("compressed", [True, False])
def test_layers_that_pass_leave_nothing_but_what_was_made_of_them(tmp_path, want, unpack, compressed):
    image = make_image("a", layer_size=SIZE, compressed=compressed)
    store, source = Store(tmp_path), MemorySource(image)
    view = brought(store, source, Shape("oci", layers=want, force=True))
    assert unpacked(store, view, unpack) == [layer.tar for layer in image.layers]
    assert sorted(map(str, source.openings)) == sorted(str((digest, 0)) for digest in image.blobs)
    kept = {path.name for path in (tmp_path / "blobs" / "sha256").iterdir()}
    named = {blob.digest.hex for blob in view.blobs} | {view.digest.hex, image.digest.hex}
    assert kept == named
    assert not [path for path in (tmp_path / "ingest").rglob("*") if path.is_file()]


def test_threads_and_a_store_full_of_layers_make_the_same_image(tmp_path):
    image = make_image("b", layers=5, layer_size=SIZE)
    shape = Shape("oci", layers=Compression.GZIP, force=True)
    roots = {brought(Store(tmp_path / "alone"), MemorySource(image), shape).digest}
    for threads in (1, 2, 8):
        with ThreadPoolExecutor(threads) as pool:
            roots.add(brought(Store(tmp_path / f"{threads}"), MemorySource(image), shape, pool).digest)
    store, source = Store(tmp_path / "kept"), MemorySource(image)
    selection = resolve(source, store, fetch_manifest(source, store), "all")
    fetch_blobs(source, store, selection)
    roots.add(convert(store, selection, shape).root.digest)
    assert len(roots) == 1


def test_a_layer_that_stays_as_it_is_does_not_pass(tmp_path):
    image = make_image("c")
    store, source = Store(tmp_path), MemorySource(image)
    selection = resolve(source, store, fetch_manifest(source, store), "all")
    assert layers(store, selection, Shape("oci")).passing == frozenset()
    assert layers(store, selection, Shape("oci", layers=Compression.GZIP)).passing == frozenset()
    digests = {layer.digest for layer in image.layers}
    assert layers(store, selection, Shape("oci", layers=Compression.ZSTD)).passing == digests
    assert layers(store, selection, Shape("docker", layers=Compression.NONE, single=True)).passing == digests


@pytest.mark.parametrize("compressed", [True, False])
def test_a_layer_that_breaks_off_goes_on_where_it_was(tmp_path, compressed):
    image = make_image("d", layers=1, layer_size=SIZE, compressed=compressed)
    store, source = Store(tmp_path), MemorySource(image, breaks=700_000)
    view = brought(store, source, Shape("oci", layers=Compression.ZSTD))
    assert unpacked(store, view, pyzstd.decompress) == [image.layers[0].tar]
    layer = next(iter(set(image.blobs) - {Digest.of(image.config)}))
    starts = [start for digest, start in source.openings if digest == layer]
    assert starts == list(range(0, len(image.blobs[layer]), 700_000))


def test_a_layer_that_never_comes_whole_is_the_mediums_failure(tmp_path):
    image = make_image("e", layers=1, layer_size=SIZE)
    store, source = Store(tmp_path), MemorySource(image, breaks=700_000, seekable=False)
    with pytest.raises(TransportError, match="from its start only"):
        brought(store, source, Shape("oci", layers=Compression.ZSTD))
    assert not [path for path in (tmp_path / "ingest").rglob("*") if path.is_file()]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "other", "trailing member"])
def test_a_damaged_layer_never_gets_a_name(tmp_path, damage, compressed):
    image = make_image("f", layers=2, layer_size=SIZE, compressed=compressed)
    source = MemorySource(image)
    wanted = json.loads(image.manifest_raw)["layers"][1]["digest"]
    good = source.blobs[Digest.parse(wanted)]
    bad = {
        "flip": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
        "cut": good[:-700],
        "longer": good + b"\0",
        "other": make_image("other", layers=1, layer_size=SIZE, compressed=compressed).layers[0].tar[: len(good)],
        "trailing member": good + gzip.compress(b""),
    }[damage]
    source.blobs[Digest.parse(wanted)] = bad
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.raises((ContentError, TransientError), match=r"digest|longer|ended after|not sound"),
    ):
        brought(Store(tmp_path), source, Shape("oci", layers=Compression.ZSTD), pool)
    made = [path.read_bytes() for path in (tmp_path / "blobs" / "sha256").iterdir()]
    tars = [pyzstd.decompress(raw) for raw in made if raw.startswith(b"\x28\xb5\x2f\xfd")]
    assert tars == [image.layers[0].tar]
    assert not [path for path in (tmp_path / "ingest").rglob("*") if path.is_file()]


def test_a_layer_of_another_tar_than_the_config_says_is_refused(tmp_path):
    image, other = make_image("g", layers=1, compressed=False), make_image("h", layers=1, compressed=False)
    document = json.loads(image.manifest_raw)
    document["layers"] = json.loads(other.manifest_raw)["layers"]
    mixed = ImageBytes(json.dumps(document).encode(), image.media_type, {**image.blobs, **other.blobs})
    with pytest.raises(ContentError, match="the config's diff ID says"):
        brought(Store(tmp_path), MemorySource(mixed), Shape("oci", layers=Compression.GZIP))
