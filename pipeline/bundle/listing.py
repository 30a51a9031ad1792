"""What is in a bundle, image by image, and what one has that another has not."""

from collections.abc import Iterator
from typing import NamedTuple

from transship.pipeline.bundle.trees import Trees
from transship.pipeline.digest import Digest
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.views import Image, Index
from transship.pipeline.transports.bundle_file import BundledImage


class Listed(NamedTuple):
    """An image, the digests and bytes of all that it needs, and what of it is a layer."""

    image: BundledImage
    below: dict[Digest, int]
    layers: frozenset[Digest]

    @property
    def bytes(self) -> int:
        """Bytes of all that it needs, what it shares with others too."""
        return sum(self.below.values())

    def document(self) -> Object:
        """Return its JSON object."""
        return {**self.image.document(), "bytes": self.bytes, "blobs": len(self.below)}


def listed(trees: Trees) -> Iterator[Listed]:
    """Yield the images of a bundle, by name; raises `ContentError` where one is malformed."""
    return (_listed(trees, image) for image in trees.said.images)


def _listed(trees: Trees, image: BundledImage) -> Listed:
    below = trees.below(image)
    return Listed(image, below, frozenset(_layers(trees, below)))


def _layers(trees: Trees, below: dict[Digest, int]) -> Iterator[Digest]:
    for view in trees.manifests(below):
        if isinstance(view, Image):
            yield from (layer.digest for layer in view.layers)
        elif isinstance(view, Index):
            yield from (entry.digest for entry in view.manifests if entry.media_type not in MANIFESTS)


class Change(NamedTuple):
    """An image that came, went or changed: its digests, empty for none, and the layers of it that came or went."""

    name: str
    old: str
    new: str
    came: dict[Digest, int]
    went: dict[Digest, int]

    def document(self) -> Object:
        """Return its JSON object."""
        return {
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "layers-new": [_layer(*one) for one in self.came.items()],
            "layers-gone": [_layer(*one) for one in self.went.items()],
        }


class Difference(NamedTuple):
    """What another bundle has more and less: images, and all blobs with their bytes."""

    changes: tuple[Change, ...]
    came: dict[Digest, int]
    went: dict[Digest, int]

    def document(self) -> Object:
        """Return its JSON object."""
        images: list[Json] = [change.document() for change in self.changes]
        return {
            "images": images,
            "blobs-new": len(self.came),
            "bytes-new": sum(self.came.values()),
            "blobs-gone": len(self.went),
            "bytes-gone": sum(self.went.values()),
        }


def difference(old: Trees, new: Trees) -> Difference:
    """Return what ``new`` has that ``old`` has not, and the other way; raises as `listed`.

    What a base is to have brought counts as there.
    """
    before, after = ({image.name: image for image in trees.said.images} for trees in (old, new))
    had, has = ({**trees.sizes, **trees.left} for trees in (old, new))
    came, went = _less(has, had), _less(had, has)
    pairs = ((name, before.get(name), after.get(name)) for name in sorted({*before, *after}))
    found = (
        _change(name, _listed(old, was) if was else None, _listed(new, now) if now else None)
        for name, was, now in pairs
        # What is the same in both is not looked into.
        if was is None or now is None or was.digest != now.digest
    )
    # A layer that another image has or had is neither new nor gone.
    changes = tuple(one._replace(came=_among(one.came, came), went=_among(one.went, went)) for one in found)
    return Difference(changes, came, went)


def _change(name: str, old: Listed | None, new: Listed | None) -> Change:
    was, now = (str(one.image.digest) if one else "" for one in (old, new))
    return Change(name, was, now, _layers_of(new), _layers_of(old))


def _among(some: dict[Digest, int], others: dict[Digest, int]) -> dict[Digest, int]:
    return {digest: some[digest] for digest in sorted(some) if digest in others}


def _layers_of(one: Listed | None) -> dict[Digest, int]:
    return {digest: one.below[digest] for digest in one.layers if digest in one.below} if one else {}


def _less(some: dict[Digest, int], others: dict[Digest, int]) -> dict[Digest, int]:
    return {digest: some[digest] for digest in sorted(some) if digest not in others}


def _layer(digest: Digest, size: int) -> Object:
    return {"digest": str(digest), "size": size}
