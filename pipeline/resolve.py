"""The first verbs of a copy: fetch the manifest that a reference names, and those of the instances wanted."""

from typing import TypeAlias

from transship.pipeline import trace, tree
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.platform import Platform, host
from transship.pipeline.manifest.views import Index, Manifest
from transship.pipeline.store import Store
from transship.pipeline.transport import Source
from transship.pipeline.tree import Selection

Platforms: TypeAlias = "str | tuple[str, ...]"
"""``all``, ``host``, one ``os/arch[/variant]`` (that image alone), or a tuple of those (an index of them)."""


def fetch_manifest(source: Source, store: Store) -> Descriptor:
    """Bring the manifest that the source's reference names into the store; return its descriptor."""
    found = _keep(store, source.manifest())
    trace.tell("manifest %s: %s, %d bytes", found.digest, found.media_type, found.size)
    return found


def resolve(source: Source, store: Store, root: Descriptor, wanted: Platforms) -> Selection:
    """Choose the instances for ``wanted`` and bring their manifests into the store.

    Raises:
        NotFoundError: an index has no instance for a platform asked for.
    """
    selection = select(store, root, wanted)
    fetch_below(source, store, selection)
    return selection


def fetch_below(source: Source, store: Store, selection: Selection) -> None:
    """Bring the manifests of a selection into the store; raises as `Source.manifest` does."""
    _fetch_below(source, store, selection, [(selection.root, 0)])


def select(store: Store, root: Descriptor, wanted: Platforms) -> Selection:
    """Return what ``wanted`` chooses of the image ``root`` in the store.

    Raises:
        NotFoundError: an index has no instance for a platform asked for.
    """
    view = tree.load(store, root)
    if wanted == "all" or not isinstance(view, Index):
        return Selection(root)
    if isinstance(wanted, str):
        entry = view.select(host() if wanted == "host" else Platform.parse(wanted))
        return Selection(Descriptor(entry.media_type, entry.digest, entry.size))
    return Selection(root, tuple(view.select(Platform.parse(text)).digest for text in wanted))


def _keep(store: Store, manifest: Manifest) -> Descriptor:
    # Destinations have manifests of their own; one that a power cut takes from the store is fetched again.
    return store.put(manifest.raw, manifest.media_type, manifest.digest, durable=False)


def _fetch_below(source: Source, store: Store, selection: Selection, waiting: list[tuple[Descriptor, int]]) -> None:
    seen: set[Digest] = set()
    while waiting:
        node, depth = waiting.pop()
        # One manifest named a thousand times, on each of eight levels, is still one.
        if node.digest in seen:
            continue
        seen.add(node.digest)
        if depth > tree.MAX_NESTING or len(seen) > tree.MAX_MANIFESTS:
            problem = "nested deeper than" if depth > tree.MAX_NESTING else "more manifests below it than"
            limit = tree.MAX_NESTING if depth > tree.MAX_NESTING else tree.MAX_MANIFESTS
            raise ContentError(f"index {selection.root.digest}: {problem} {limit}")
        _bring(source, store, node)
        view = tree.load(store, node)
        if isinstance(view, Index):
            below = [entry for entry in selection.entries(view, node) if entry.media_type in MANIFESTS]
            waiting += [(entry, depth + 1) for entry in reversed(below)]


def _bring(source: Source, store: Store, node: Descriptor) -> None:
    if store.has(node):
        return
    got = _keep(store, source.manifest(node.digest))
    if (got.size, got.media_type) != (node.size, node.media_type):
        raise ContentError(
            f"manifest {node.digest}: its descriptor says {node.media_type} of {node.size} bytes, "
            f"it is {got.media_type} of {got.size}"
        )
