"""What a shape makes of the layers below a selection, said before any is read: which change, which stay."""

from typing import Final, NamedTuple

from transship.pipeline import tree
from transship.pipeline.convert.image import plan_image
from transship.pipeline.convert.shape import Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.views import Image
from transship.pipeline.resolve import select
from transship.pipeline.store import Store
from transship.pipeline.tree import Selection

_SHOWN_LOSSES: Final = 5


class Layers(NamedTuple):
    """What becomes of the layers of a selection.

    Those ``passing`` only become other bytes: `convert` can read them straight from the source. Those ``staying`` it
    never reads, as they stay as they are: a destination that has one already needs no bytes of it.
    """

    passing: frozenset[Digest]
    staying: tuple[Descriptor, ...]


def layers(store: Store, selection: Selection, shape: Shape) -> Layers:
    """Return what ``shape`` makes of the layers of ``selection``.

    Of v2s1, which does not say how large layers are, none stay: the store is what says it.

    Raises:
        ContentError: the target cannot hold something.
    """
    repacked: set[Digest] = set()
    kept: dict[Digest, Descriptor] = {}
    for _, manifest in tree.manifests(store, bounded(store, selection, shape)):
        if isinstance(manifest, Image):
            plan = plan_image(manifest, shape)
            refuse_losses(shape, plan.losses)
            for layer in plan.layers:
                if layer.remade:
                    repacked.add(layer.source.digest)
                else:
                    kept[layer.source.digest] = layer.source
    staying = () if shape.manifests == "v2s1" else kept.values()
    return Layers(
        frozenset(repacked - kept.keys()),
        tuple(layer for layer in staying if layer.digest not in repacked and not layer.is_elsewhere),
    )


def refuse_losses(shape: Shape, losses: tuple[str, ...]) -> None:
    """Raise `ContentError` where ``shape`` forbids losses and there are some."""
    if shape.lossless and losses:
        more = f" and {len(losses) - _SHOWN_LOSSES} more" if len(losses) > _SHOWN_LOSSES else ""
        raise ContentError(
            f"the conversion would lose {', '.join(losses[:_SHOWN_LOSSES])}{more}",
            advice="nothing was written; leave out fail-on-loss, or keep the format",
        )


def bounded(store: Store, selection: Selection, shape: Shape) -> Selection:
    """Return what of ``selection`` a destination of ``shape`` can hold: all, or this machine's platform."""
    return select(store, selection.root, "host") if shape.single else selection
