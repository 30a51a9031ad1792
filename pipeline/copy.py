"""The verbs of a copy that move blobs: fetch them, convert, write; `resolve` has those before.

The only place where source, store and sink meet. Every verb is idempotent: what the store or
the sink already has is not read or written again.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from transship.pipeline import trace, tree
from transship.pipeline.chunked.annotations import table_of
from transship.pipeline.compression import Compression
from transship.pipeline.convert.image import ImagePlan, build_manifest, digest_lost, plan_image, refuse_unnamed
from transship.pipeline.convert.index import rebuild_index, untied_subjects
from transship.pipeline.convert.shape import Shape, keeps_schema1
from transship.pipeline.convert.strict import strict_config
from transship.pipeline.digest import Digest
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import (
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1_SIGNED,
    SCHEMA1,
    MediaType,
)
from transship.pipeline.manifest.platform import Platform
from transship.pipeline.manifest.views import Image, Index, Schema1, parse
from transship.pipeline.remaking import Fill, Remaker
from transship.pipeline.repacking import bounded, refuse_losses
from transship.pipeline.store import Store
from transship.pipeline.transport import Sink, Source, size_of
from transship.pipeline.tree import Selection

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from transship.pipeline.trust.encryption.keys import Keys

_MOST_FAILED: Final = 8
SMALL_BLOB: Final = 1 << 20
"""Bytes below which handing a blob to another thread costs more than fetching it."""


class Fetched(NamedTuple):
    """What `fetch_blobs` did: blobs named, blobs read from the source, bytes read."""

    blobs: int
    fetched: int
    bytes: int


class Change(NamedTuple):
    """One entry of the digest map; ``kind`` is manifest, config or layer."""

    kind: str
    old: Descriptor
    new: Descriptor


class Crypted(NamedTuple):
    """A layer as it is now that it was encrypted for ``keys``, or decrypted with one: their names."""

    kind: Literal["encrypt", "decrypt"]
    layer: Digest
    keys: tuple[str, ...]


class Conversion(NamedTuple):
    """What `convert` made: the new root, every change below it, what the target could not hold, what keys did."""

    root: Descriptor
    changes: tuple[Change, ...]
    losses: tuple[str, ...]
    crypted: tuple[Crypted, ...] = ()

    @property
    def changed(self) -> dict[Digest, Digest]:
        """What became of each manifest that is another one now."""
        return {change.old.digest: change.new.digest for change in self.changes if change.kind == "manifest"}


def fetch_blobs(
    source: Source,
    store: Store,
    selection: Selection,
    pool: "Executor | None" = None,
    on_bytes: Callable[[Descriptor, int], None] = lambda _blob, _count: None,
    *,
    leave: frozenset[Digest] = frozenset(),
) -> Fetched:
    """Bring every blob of the selection but those to ``leave`` into the store, large ones on ``pool`` if there is one.

    Raises the first failure after the others have ended, so that what came stays for the next call; after
    eight nothing more is begun.
    """
    wanted = [blob for blob in tree.blobs(store, selection, partial(size_of, source)) if blob.digest not in leave]
    missing = [blob for blob in wanted if not store.has(blob)]
    absent = {blob.digest for blob in missing}
    for digest in (blob.digest for blob in wanted if blob.digest not in absent):
        trace.tell("blob %s: in the store already", digest)

    def bring(blob: Descriptor) -> bool:
        read = store.ingest(blob, lambda start: source.blob(blob, start), lambda count: on_bytes(blob, count))
        trace.tell("blob %s: %s, %d bytes", blob.digest, "fetched" if read else "fetched by another", blob.size)
        return read

    waiting = {blob.digest: pool.submit(bring, blob) for blob in missing if pool and blob.size >= SMALL_BLOB}
    read: list[Descriptor] = []
    errors: list[Exception] = []
    # Small ones are fetched here while the pool is at the large ones.
    for blob in sorted(missing, key=lambda blob: blob.digest in waiting):
        future = waiting.get(blob.digest)
        # An image of thousands of layers that are not there is not asked for one by one.
        if len(errors) >= _MOST_FAILED and (future is None or future.cancel()):
            continue
        try:
            if future.result() if future else bring(blob):
                read.append(blob)
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
    store.sync()
    return Fetched(len(wanted), len(read), sum(blob.size for blob in read))


def convert(
    store: Store,
    selection: Selection,
    shape: Shape,
    pool: "Executor | None" = None,
    source: Source | None = None,
    *,
    fill: Fill | None = None,
    keys: "Keys | None" = None,
) -> Conversion:
    """Make the manifests, configs and layers of ``shape`` in the store; the source's stay.

    Layers are repacked on ``pool`` if there is one; its threads are waited for. Those not in the
    store are read from ``source``. Those unpacked go through ``fill``, if given, past the store.
    The result does not depend on any of these, but that what is encrypted with ``keys``, those that ``shape``
    names, is another each time.

    Raises:
        ContentError: the target cannot hold something, or a layer does not match its diff ID.
    """
    return _Converter(
        store, bounded(store, selection, shape), shape, Remaker(store, shape, pool, source, fill=fill, keys=keys), pool
    ).run()


def write(
    store: Store,
    root: Descriptor,
    sink: Sink,
    name: str,
    *,
    leave: frozenset[Digest] = frozenset(),
    kept: tuple[Digest, ...] | None = None,
    foreign: bool = False,
) -> int:
    """Put the tree under ``root`` into an entered sink: blobs, manifests, the named root last.

    The blobs to ``leave`` are there already; of an index only the entries ``kept`` are put, if given. Foreign layers
    are put if ``foreign`` says so.
    Returns the bytes of everything that the tree names, each once.
    """
    selection = Selection(root, kept)
    total = 0
    for blob in tree.blobs(store, selection, foreign=foreign):
        if blob.digest not in leave:
            trace.tell("blob %s: to the destination, %d bytes", blob.digest, blob.size)
            sink.put_blob(store.get(blob))
        total += blob.size
    for descriptor, manifest in tree.manifests(store, selection):
        sink.put_manifest(manifest, name if descriptor.digest == root.digest else None)
        total += descriptor.size
    return total


class _Converter:
    """One conversion of one tree, children before parents."""

    def __init__(
        self,
        store: Store,
        selection: Selection,
        shape: Shape,
        remaker: Remaker,
        pool: "Executor | None",
    ) -> None:
        self._store = store
        self._selection = selection
        self._shape = shape
        self._pool = pool
        self._remaker = remaker
        self._crypted: list[Crypted] = []
        self._changed: dict[Digest, Descriptor] = {}
        self._changes: list[Change] = []
        self._losses: list[str] = []
        self._platforms: dict[Digest, Platform] = {}

    def run(self) -> Conversion:
        subjects: dict[Digest, Descriptor | None] = {}
        for descriptor, manifest in tree.manifests(self._store, self._selection):
            if isinstance(manifest, Schema1) and keeps_schema1(self._shape):
                continue
            raw, media_type = (
                self._index(descriptor, manifest) if isinstance(manifest, Index) else self._image(manifest)
            )
            named = parse(raw, media_type).digest if media_type in SCHEMA1 else None
            self._note("manifest", descriptor, self._store.put(raw, media_type, named))
            subjects[descriptor.digest] = None if isinstance(manifest, Schema1) else manifest.subject
        root = self._changed.get(self._selection.root.digest, self._selection.root)
        self._losses += untied_subjects(subjects, self._changed)
        losses = tuple(dict.fromkeys(self._losses))
        refuse_losses(self._shape, losses)
        return Conversion(root, tuple(self._changes), losses, tuple(dict.fromkeys(self._crypted)))

    def _index(self, descriptor: Descriptor, index: Index) -> tuple[bytes, MediaType]:
        kept = self._selection.entries(index, descriptor)
        sparse = self._selection.sparse and descriptor.digest == self._selection.root.digest
        raw, media_type, losses = rebuild_index(
            index, kept, self._changed, self._shape, sparse=sparse, platforms=self._platforms
        )
        self._losses += losses
        return raw, media_type

    def _image(self, manifest: Image | Schema1) -> tuple[bytes, MediaType]:
        shape = self._shape
        if isinstance(manifest, Schema1):
            if shape.preserve:
                raise digest_lost(manifest.digest, manifest.media_type, DOCKER_MANIFEST)
            # Of v2s1 there is no way back.
            shape = shape._replace(reversible=False)
            from transship.pipeline.lifting import lifted  # noqa: PLC0415 - few images are v2s1

            made = lifted(self._store, manifest, shape.budget, self._pool, keep_tars=shape.layers is Compression.NONE)
            self._losses += made.losses
            manifest = made.image
        plan = plan_image(manifest, shape)
        refuse_unnamed(manifest, shape, partial(self._config_view, plan))
        self._losses += plan.losses
        if self._shape.manifests == "docker" and not manifest.foreign_type:
            self._platforms[manifest.digest] = self._config_view(plan).platform
        lowering = shape.manifests == "v2s1" and not manifest.foreign_type
        if plan.unchanged and not lowering:
            return manifest.raw, plan.media_type
        self._config_view(plan).check_layers(len(manifest.layers), f"config {manifest.config.digest}")
        config = self._config(plan)
        layers = self._layers(plan)
        if lowering:
            from transship.pipeline.lifting import lowered  # noqa: PLC0415

            lost, raw = lowered(self._store, plan, config, layers, shape.named)
            self._losses += lost
            return raw, DOCKER_SCHEMA1_SIGNED
        self._losses += plan.stale(config, layers)
        return build_manifest(plan, config, layers), plan.media_type

    def _config(self, plan: ImagePlan) -> Descriptor:
        old = plan.image.config
        new = Descriptor(plan.config_media_type, old.digest, old.size)
        if plan.strict_config:
            raw, dropped = strict_config(self._config_view(plan))
            self._losses += dropped
            if dropped:
                new = self._store.put(raw, plan.config_media_type)
        self._note("config", old, new)
        return new

    def _config_view(self, plan: ImagePlan) -> ImageConfig:
        config = plan.image.config
        return ImageConfig.parse(self._store.read(config), f"config {config.digest}")

    def _layers(self, plan: ImagePlan) -> tuple[Descriptor, ...]:
        remade = self._remaker.all_of(plan, self._config_view(plan).diff_ids)
        made = []
        for number, layer in enumerate(plan.layers):
            table = self._remaker.tables.get(layer.source.digest)
            if layer.remade and table and not table_of(layer.source.annotations):
                self._losses.append(f"layers[{number}] table of contents: {table}")
            kept = Descriptor(layer.media_type, layer.source.digest, layer.source.size)
            key = layer.source.digest, layer.media_type
            new = remade[key] if layer.remade else kept
            if layer.crypt:
                self._crypted.append(Crypted(layer.crypt, new.digest, self._remaker.keys[key]))
            self._note("layer", layer.source, new)
            made.append(new)
        return tuple(made)

    def _note(self, kind: str, old: Descriptor, new: Descriptor) -> None:
        if (old.digest, old.media_type) != (new.digest, new.media_type):
            self._changed[old.digest] = new
            self._changes.append(Change(kind, old, new))
