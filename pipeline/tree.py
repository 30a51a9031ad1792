"""The tree of an image in a store: its manifests, down to the blobs they name."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import DOCKER_LAYER_GZIP, MANIFESTS, MediaType
from transship.pipeline.manifest.views import Image, Index, Manifest, Schema1, parse
from transship.pipeline.store import Store

MAX_NESTING: Final = 8
"""Indexes inside indexes; real ones have one level."""
MAX_MANIFESTS: Final = 10_000
"""Manifests below one root; real ones have some dozens."""
_MOST_KEPT: Final = 256
_LARGEST_KEPT: Final = 64 << 10
_MOST_BYTES: Final = 1 << 20
"""Of the documents whose views are kept: a view can take thirty times its document."""
# Each stage of an image looks at its manifest again.
_views: dict[tuple[Digest, MediaType], Manifest] = {}


SizeOf: TypeAlias = Callable[[Digest], int]
"""Returns the size of a blob in bytes."""


class Selection(NamedTuple):
    """A root manifest, and which entries of it (an index) are wanted; ``kept`` None means all.

    Where it is ``sparse`` the index keeps its bytes, and so names entries that are not there.
    """

    root: Descriptor
    kept: tuple[Digest, ...] | None = None
    sparse: bool = False

    def entries(self, index: Index, of: Descriptor) -> tuple[Descriptor, ...]:
        """Return the wanted entries of ``index``, the view of ``of``, in its order."""
        if self.kept is None or of.digest != self.root.digest:
            return index.manifests
        return tuple(entry for entry in index.manifests if entry.digest in self.kept)


def load(store: Store, wanted: Descriptor) -> Manifest:
    """Return the view of a manifest in the store; raises as `Store.read` and `parse` do."""
    raw = store.read(wanted)
    key = wanted.digest, wanted.media_type
    view = _views.get(key)
    if view is None or view.raw != raw:
        view = parse(raw, wanted.media_type, f"manifest {wanted.digest}")
        if len(raw) <= _LARGEST_KEPT:
            while len(_views) >= _MOST_KEPT or sum(len(kept.raw) for kept in list(_views.values())) > _MOST_BYTES:
                with suppress(StopIteration, KeyError, RuntimeError):
                    del _views[next(iter(_views))]
            _views[key] = view
    return view


def manifests(store: Store, selection: Selection) -> Iterator[tuple[Descriptor, Manifest]]:
    """Yield every wanted manifest once with its view, children before parents, the root last.

    An entry of an index that is no manifest yields nothing: it is a blob (`blobs`).
    """
    yield from _below(store, selection, selection.root, set(), 0)


def blobs(
    store: Store, selection: Selection, size_of: SizeOf | None = None, *, foreign: bool = False
) -> Iterator[Descriptor]:
    """Yield every config and layer below ``selection`` once, in the order of the manifests.

    Foreign layers with URLs are left out, unless ``foreign`` says otherwise: registries do not hold them.
    ``size_of`` says what v2s1 manifests do not; the store does, where it has the layers.
    """
    seen: set[Digest] = set()
    for _, manifest in manifests(store, selection):
        for blob in named_blobs(manifest, size_of or store.size):
            if blob.digest not in seen and (foreign or not blob.is_elsewhere):
                seen.add(blob.digest)
                yield blob


def kept_layers(store: Store, selections: Iterable[Selection], sizes: Mapping[Digest, int]) -> frozenset[Digest]:
    """Return the layers below ``selections`` that are among ``sizes``, and that nobody who keeps them needs to read.

    What a config is needs to be read, and v2s1 manifests are converted by what their layers hold.
    """
    found: set[Digest] = set()
    needed: set[Digest] = set()
    for selection in selections:
        for _, manifest in manifests(store, selection):
            if isinstance(manifest, Image):
                needed.add(manifest.config.digest)
                here = (layer for layer in manifest.layers if not layer.is_elsewhere)
                found.update(layer.digest for layer in here if sizes.get(layer.digest) == layer.size)
            elif isinstance(manifest, Schema1):
                needed.update(layer.digest for layer in manifest.layers)
    return frozenset(found - needed)


def named_blobs(manifest: Manifest, size_of: SizeOf) -> tuple[Descriptor, ...]:
    """Return the blobs that a manifest names itself; ``size_of`` says what v2s1 manifests do not, and its errors.

    Raises:
        ContentError: an image's config is larger than anybody reads.
    """
    if isinstance(manifest, Image):
        manifest.refuse_large_config()
        return manifest.blobs
    if isinstance(manifest, Schema1):
        digests = dict.fromkeys(layer.digest for layer in manifest.layers)
        return tuple(Descriptor(DOCKER_LAYER_GZIP, digest, size_of(digest)) for digest in digests)
    return tuple(entry for entry in manifest.manifests if entry.media_type not in MANIFESTS)


def _below(
    store: Store, selection: Selection, node: Descriptor, seen: set[Digest], depth: int
) -> Iterator[tuple[Descriptor, Manifest]]:
    if depth > MAX_NESTING:
        raise ContentError(f"index {selection.root.digest}: nested deeper than {MAX_NESTING}")
    manifest = load(store, node)
    seen.add(node.digest)
    if len(seen) > MAX_MANIFESTS:
        raise ContentError(f"index {selection.root.digest}: more than {MAX_MANIFESTS} manifests below it")
    if isinstance(manifest, Index):
        for entry in selection.entries(manifest, node):
            if entry.digest not in seen and entry.media_type in MANIFESTS:
                yield from _below(store, selection, entry, seen, depth + 1)
    yield node, manifest
