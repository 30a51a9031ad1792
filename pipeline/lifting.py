"""Docker v2s1 images out of a store, made v2s2, and the other way round.

The one way unpacks their layers, which say neither size nor diff ID; the other adds a layer of nothing.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from transship.pipeline.compression import Budget, Compression
from transship.pipeline.compression.transcoding import transcode
from transship.pipeline.convert.image import ImagePlan
from transship.pipeline.convert.lower import EMPTY_LAYER, lower
from transship.pipeline.convert.schema1 import Lifted, Unpacked, layers, lift
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    OCI_LAYER,
)
from transship.pipeline.manifest.views import Schema1
from transship.pipeline.store import Store
from transship.pipeline.transport import Write

if TYPE_CHECKING:
    from concurrent.futures import Executor

_TYPES: Final = {
    Compression.NONE: DOCKER_LAYER,
    Compression.GZIP: DOCKER_LAYER_GZIP,
    Compression.ZSTD: DOCKER_LAYER_ZSTD,
}
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


def lifted(store: Store, manifest: Schema1, budget: Budget, pool: "Executor | None", *, keep_tars: bool) -> Lifted:
    """Return what ``manifest`` becomes, its layers being in ``store``; its config is put there.

    Every layer is unpacked, on ``pool`` if there is one; its threads are waited for. With ``keep_tars`` the
    store gets the unpacked layers too.

    Raises:
        ContentError: the history is malformed, or a layer is damaged or over ``budget``.
        LostBlobError: a layer is not in the store.
    """
    wanted = dict.fromkeys(layers(manifest))
    work = {digest: partial(_unpacked, store, digest, budget, keep_tar=keep_tars) for digest in wanted}
    made = lift(manifest, _all(work, pool))
    store.put(made.config, DOCKER_CONFIG)
    return made


def _all(work: Mapping[Digest, Callable[[], Unpacked]], pool: "Executor | None") -> dict[Digest, Unpacked]:
    if pool is None or len(work) == 1:
        return {digest: call() for digest, call in work.items()}
    running = {digest: pool.submit(call) for digest, call in work.items()}
    # All have ended before the first failure is raised: the caller may take the store away then.
    failed = [error for future in running.values() if (error := future.exception())]
    if failed:
        raise failed[0]
    return {digest: future.result() for digest, future in running.items()}


def _unpacked(store: Store, digest: Digest, budget: Budget, *, keep_tar: bool) -> Unpacked:
    size = store.size(digest)
    path = store.path(digest)
    with path.open("rb") as stream:
        have = _packing(stream.read(len(_ZSTD)))

    def make(write: Write) -> Digest:
        with path.open("rb") as stream:
            return transcode(stream, have, Compression.NONE, write, budget=budget).diff_id

    if keep_tar:
        return Unpacked(size, store.derive(OCI_LAYER, make).digest, _TYPES[have])
    return Unpacked(size, make(store.unless_cancelled(len)), _TYPES[have])


def _packing(start: bytes) -> Compression:
    if start.startswith(_GZIP):
        return Compression.GZIP
    return Compression.ZSTD if start == _ZSTD else Compression.NONE


def lowered(
    store: Store, plan: ImagePlan, config: Descriptor, layers: tuple[Descriptor, ...], named: tuple[str, str]
) -> tuple[tuple[str, ...], bytes]:
    """Return losses and bytes of a planned image's v2s1 manifest; the empty layer it may name is put into ``store``.

    ``config``, in ``store``, and ``layers`` are what the v2s2 manifest would name, ``named`` is repository and tag.

    Raises:
        ContentError: a layer is at a URL alone, or the config has no history that fits.
    """
    for layer in plan.layers:
        if layer.source.is_elsewhere:
            raise ContentError(
                f"layer {layer.source.digest} is foreign, which v2s1 cannot say", advice="say v2s2 or oci"
            )
    store.put(EMPTY_LAYER, DOCKER_LAYER_GZIP)
    made = lower(ImageConfig.parse(store.read(config), f"config {config.digest}"), layers, named)
    return made.losses, made.raw
