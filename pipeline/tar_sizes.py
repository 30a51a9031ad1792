"""How large the layers of an image will be once unpacked, as far as the image says so before they are.

What a gzip layer says (RFC 1952, section 2.3.1, ISIZE) is its last member's size modulo 4 GiB: a
hint, which whoever uses it checks.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline import tree
from transship.pipeline.compression import Compression
from transship.pipeline.convert.image import LayerPlan, plan_image
from transship.pipeline.convert.layers import compression_of
from transship.pipeline.convert.shape import Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import Error
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.views import Image
from transship.pipeline.store import Store
from transship.pipeline.transport import Source

if TYPE_CHECKING:
    from concurrent.futures import Executor

_TAR_BLOCK: Final = 512
_ISIZE: Final = 4
_LEAST: Final = 20
"""Bytes of the smallest gzip member."""


class TarSizes(NamedTuple):
    """One image: its config as it is, and the tars of all its layers by diff ID, in bytes."""

    config: Descriptor
    layers: dict[Digest, int]


def tar_sizes(
    source: Source, store: Store, selection: tree.Selection, shape: Shape, pool: "Executor | None"
) -> TarSizes | None:
    """Return what the one image of ``selection`` says of its layers, None where it does not say it of all.

    Its manifest and config are in ``store``, its layers at ``source``, whose answers may be wrong.

    Raises:
        ContentError: the target cannot hold something.
    """
    found = [view for _, view in tree.manifests(store, selection)]
    # A strict config may become another one, of another size.
    if pool is None or len(found) != 1 or not isinstance(found[0], Image) or shape.config == "strict":
        return None
    layers = plan_image(found[0], shape).layers
    config = found[0].config
    diff_ids = ImageConfig.parse(store.read(config), f"config {config.digest}").diff_ids
    if len(diff_ids) != len(layers):
        return None
    sizes = pool.map(lambda layer: _said(source, layer), layers)
    made: dict[Digest, int] = {}
    for diff_id, size in zip(diff_ids, sizes, strict=True):
        if size is None or made.setdefault(diff_id, size) != size:
            return None
    return TarSizes(config, made)


def _said(source: Source, plan: LayerPlan) -> int | None:
    layer = plan.source
    if plan.crypt:
        return None
    if plan.repack is None:
        return layer.size
    if compression_of(layer.media_type) is not Compression.GZIP or layer.size < _LEAST:
        return None
    raw = b""
    # Whatever is wrong with the layer is told when it is read as a whole.
    with suppress(Error), source.blob(layer, layer.size - _ISIZE) as stream:
        while len(raw) < _ISIZE and (data := stream.read(_ISIZE - len(raw))):
            raw += data
    size = int.from_bytes(raw, "little") if len(raw) == _ISIZE else 0
    # Of several members only the last one's is said.
    return size if size > layer.size and size % _TAR_BLOCK == 0 else None
