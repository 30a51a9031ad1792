"""What a shape makes of the layers below a selection, said before any is read: which it repacks, which stay."""

from typing import Final

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


def passing(store: Store, selection: Selection, shape: Shape) -> frozenset[Digest]:
    """Return the layers that ``shape`` only needs repacked: `convert` can read those straight from the source.

    Raises:
        ContentError: the target cannot hold something.
    """
    repacked, kept = _sorted(store, selection, shape)
    return frozenset(repacked - kept.keys())


def staying(store: Store, selection: Selection, shape: Shape) -> list[Descriptor]:
    """Return the layers that `convert` never reads, as ``shape`` leaves them as they are; raises as `passing`.

    A destination that has one already needs no bytes of it. Of v2s1, which does not say how large layers are, all are
    read: the store is what says it.
    """
    if shape.manifests == "v2s1":
        return []
    repacked, kept = _sorted(store, selection, shape)
    return [layer for digest, layer in kept.items() if digest not in repacked and not layer.is_elsewhere]


def _sorted(store: Store, selection: Selection, shape: Shape) -> tuple[set[Digest], dict[Digest, Descriptor]]:
    """Return the layers that ``shape`` repacks in some image, and those that it keeps in some."""
    repacked: set[Digest] = set()
    kept: dict[Digest, Descriptor] = {}
    for _, manifest in tree.manifests(store, bounded(store, selection, shape)):
        if isinstance(manifest, Image):
            plan = plan_image(manifest, shape)
            refuse_losses(shape, plan.losses)
            for layer in plan.layers:
                if layer.repack:
                    repacked.add(layer.source.digest)
                else:
                    kept[layer.source.digest] = layer.source
    return repacked, kept


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
