"""Layers made anew: read from the store or straight from the source, repacked, checked against their diff IDs."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from transship.pipeline.compression import Compression, Reader
from transship.pipeline.convert.image import ImagePlan, LayerPlan
from transship.pipeline.convert.layers import compression_of
from transship.pipeline.convert.shape import Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import UNCOMPRESSED, MediaType
from transship.pipeline.pull import Pull, mismatch, naming
from transship.pipeline.store import Store
from transship.pipeline.transport import Make, RangeRefusedError, Source, Write

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

Fill: TypeAlias = Callable[[Digest, Make], int]
"""Has the unpacked layer of that diff ID written at the destination; returns its size."""
Key: TypeAlias = tuple[Digest, MediaType]
"""A layer at the source, and what it is to be: one may become two."""

_STARTS: Final = 3


class Remaker:
    """Makes the layers of one conversion; those not in the store are read from ``source``.

    ``tables`` names, by layer, the format of the table of contents that one had.
    """

    def __init__(
        self, store: Store, shape: Shape, pool: "Executor | None", source: Source | None, *, fill: Fill | None
    ) -> None:
        self._store = store
        self._shape = shape
        self._pool = pool
        self._source = source
        self._fill = fill
        self.tables: dict[Digest, str] = {}

    def all_of(self, plan: ImagePlan, diff_ids: tuple[Digest, ...]) -> dict[Key, Descriptor]:
        """Return what each layer of ``plan`` that is repacked became, made once each.

        Raises:
            ContentError: a layer is damaged, over the budget, or not what ``diff_ids`` say.
        """
        work = {
            (layer.source.digest, layer.media_type): partial(self._repacked, layer, repack, diff_id)
            for layer, repack, diff_id in plan.repacked(diff_ids)
        }
        sizes = {layer.source.digest: layer.source.size for layer in plan.layers}
        # The largest first: begun last, it would end long after the others.
        order = sorted(work, key=lambda key: -sizes[key[0]])
        if self._pool is None or len(order) == 1:
            return {key: work[key]() for key in order}
        running = {key: self._pool.submit(work[key]) for key in order}
        # All have ended before the first failure is raised: the caller may take the store away then.
        failed = [error for future in running.values() if (error := future.exception())]
        if failed:
            raise failed[0]
        return {key: future.result() for key, future in running.items()}

    def _repacked(self, layer: LayerPlan, repack: Compression, diff_id: Digest) -> Descriptor:
        from transship.pipeline.compression.transcoding import transcode  # noqa: PLC0415 - most copies repack nothing

        plain = self._store.path(diff_id)
        if repack is Compression.NONE and self._store.holds(diff_id):
            return Descriptor(layer.media_type, diff_id, plain.stat().st_size)
        have = compression_of(layer.source.media_type)
        said: dict[str, str] = {}

        def make(put: Write) -> Digest:
            with naming(layer.source), self._opened(layer.source, have) as stream:
                made = transcode(stream, have, repack, put, self._shape.level, budget=self._shape.budget)
            if have is Compression.NONE and made.diff_id != layer.source.digest:
                raise mismatch(layer.source, made.diff_id)
            if made.diff_id != diff_id:
                raise ContentError(
                    f"layer {layer.source.digest}: its tar is {made.diff_id}, the config's diff ID says {diff_id}"
                )
            self.tables[layer.source.digest] = made.table
            said.update(made.annotations)
            return made.digest

        for _ in range(_STARTS - 1):
            # A medium that broke off and cannot go on may give it whole the next time.
            with suppress(RangeRefusedError):
                return self._made(layer.media_type, diff_id, make)._replace(annotations=said)
        return self._made(layer.media_type, diff_id, make)._replace(annotations=said)

    def _made(self, media_type: MediaType, diff_id: Digest, make: Callable[[Write], Digest]) -> Descriptor:
        if self._fill is None or media_type not in UNCOMPRESSED:
            return self._store.derive(media_type, make)

        size = self._fill(diff_id, lambda write: make(self._store.unless_cancelled(write)))
        return Descriptor(media_type, diff_id, size)

    def _opened(self, wanted: Descriptor, have: Compression) -> "AbstractContextManager[Reader]":
        if self._source is None or self._store.has(wanted):
            return self._store.get(wanted).path.open("rb")
        return Pull(self._source, wanted, hashed=have is Compression.NONE and wanted.digest.algorithm == "sha256")
