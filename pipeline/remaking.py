"""Layers made anew: read from the store or straight from the source, repacked, encrypted, decrypted; checked."""

import hashlib
from collections.abc import Callable, Mapping
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
from transship.pipeline.manifest.media_types import UNCOMPRESSED, MediaType, decrypted, is_encrypted
from transship.pipeline.pull import Pull, mismatch, naming
from transship.pipeline.store import Store
from transship.pipeline.transport import Make, RangeRefusedError, Source, Write

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from transship.pipeline.trust.encryption.keys import Keys

Fill: TypeAlias = Callable[[Digest, Make], int]
"""Has the unpacked layer of that diff ID written at the destination; returns its size."""
Key: TypeAlias = tuple[Digest, MediaType]
"""A layer at the source, and what it is to be: one may become two."""

_Made: TypeAlias = tuple[Digest, Mapping[str, str]]
"""The digest of what was made of a layer, and what its descriptor must say beside it."""
_STARTS: Final = 3
_PIECE: Final = 1 << 20


class Remaker:
    """Makes the layers of one conversion; those not in the store are read from ``source``.

    ``tables`` names, by layer, the format of the table of contents that one had; ``keys`` the keys that one was
    encrypted for, or that opened it.
    """

    def __init__(
        self,
        store: Store,
        shape: Shape,
        pool: "Executor | None",
        source: Source | None,
        *,
        fill: Fill | None,
        keys: "Keys | None",
    ) -> None:
        self._store = store
        self._shape = shape
        self._pool = pool
        self._source = source
        self._fill = fill
        self._keys = keys
        self._sealed: dict[Key, Descriptor] = {}
        self.tables: dict[Digest, str] = {}
        self.keys: dict[Key, tuple[str, ...]] = {}

    def all_of(self, plan: ImagePlan, diff_ids: tuple[Digest, ...]) -> dict[Key, Descriptor]:
        """Return what each layer of ``plan`` that becomes other bytes became, made once each.

        Raises:
            ContentError: a layer is damaged, over the budget, not what ``diff_ids`` say, or no key opens it.
        """
        work = {
            (layer.source.digest, layer.media_type): partial(self._remade, layer, diff_id)
            for layer, diff_id in plan.remade(diff_ids)
        }
        # Encrypted twice it would be two layers.
        known = {key: self._sealed[key] for key in work if key in self._sealed}
        made = known | self._all({key: call for key, call in work.items() if key not in known}, plan)
        self._sealed |= {key: new for key, new in made.items() if is_encrypted(key[1])}
        return made

    def _all(self, work: dict[Key, Callable[[], Descriptor]], plan: ImagePlan) -> dict[Key, Descriptor]:
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

    def _remade(self, layer: LayerPlan, diff_id: Digest) -> Descriptor:
        plain = self._store.path(diff_id)
        if layer.repack is Compression.NONE and not layer.crypt and self._store.holds(diff_id):
            return Descriptor(layer.media_type, diff_id, plain.stat().st_size)
        way = {"": self._repacked, "encrypt": self._encrypted, "decrypt": self._decrypted}[layer.crypt]
        said: dict[str, str] = {}

        def make(put: Write) -> Digest:
            with naming(layer.source), self._opened(layer) as stream:
                digest, annotations = way(layer, diff_id, stream, put)
            said.update(annotations)
            return digest

        for _ in range(_STARTS - 1):
            # A medium that broke off and cannot go on may give it whole the next time.
            with suppress(RangeRefusedError):
                return self._made(layer.media_type, diff_id, make)._replace(annotations=said)
        return self._made(layer.media_type, diff_id, make)._replace(annotations=said)

    def _repacked(self, layer: LayerPlan, diff_id: Digest, stream: Reader, put: Write) -> _Made:
        from transship.pipeline.compression.transcoding import transcode  # noqa: PLC0415 - most copies repack nothing

        have, want = compression_of(decrypted(layer.source.media_type)), layer.repack or Compression.NONE
        made = transcode(stream, have, want, put, self._shape.level, budget=self._shape.budget)
        if have is Compression.NONE and not layer.crypt and made.diff_id != layer.source.digest:
            raise mismatch(layer.source, made.diff_id)
        if made.diff_id != diff_id:
            raise ContentError(
                f"layer {layer.source.digest}: its tar is {made.diff_id}, the config's diff ID says {diff_id}"
            )
        self.tables[layer.source.digest] = made.table
        return made.digest, made.annotations

    def _encrypted(self, layer: LayerPlan, diff_id: Digest, stream: Reader, put: Write) -> _Made:
        from transship.pipeline.trust.encryption.cipher import Sealing  # noqa: PLC0415 - an extra
        from transship.pipeline.trust.encryption.spelling import recipient_name  # noqa: PLC0415

        sealing, plain = Sealing(put), layer.source.digest
        if layer.repack:
            plain, _ = self._repacked(layer, diff_id, stream, sealing.write)
        else:
            while data := stream.read(_PIECE):
                sealing.write(data)
        self.keys[layer.source.digest, layer.media_type] = tuple(map(recipient_name, self._shape.encrypt))
        return sealing.digest, self._given().annotations(sealing, plain)

    def _decrypted(self, layer: LayerPlan, diff_id: Digest, stream: Reader, put: Write) -> _Made:
        from transship.pipeline.trust.encryption.cipher import Unsealing  # noqa: PLC0415 - an extra

        opening = self._given().open(layer.source)
        unsealing = Unsealing(stream, opening.secret, opening.mac)
        try:
            if layer.repack:
                made = self._repacked(layer, diff_id, unsealing, put)
            else:
                # It stays as it is packed, and is unpacked to see what is in it.
                passing = _Passing(unsealing, put)
                self._repacked(layer, diff_id, passing, _nowhere)
                made = passing.digest, {}
        except ContentError:
            unsealing.drain()
            raise
        self.keys[layer.source.digest, layer.media_type] = (opening.by,)
        return made

    def _given(self) -> "Keys":
        if self._keys is None:
            raise TypeError("a shape with keys, and no keys")
        return self._keys

    def _made(self, media_type: MediaType, diff_id: Digest, make: Callable[[Write], Digest]) -> Descriptor:
        if self._fill is None or media_type not in UNCOMPRESSED:
            return self._store.derive(media_type, make)

        size = self._fill(diff_id, lambda write: make(self._store.unless_cancelled(write)))
        return Descriptor(media_type, diff_id, size)

    def _opened(self, layer: LayerPlan) -> "AbstractContextManager[Reader]":
        wanted = layer.source
        if self._source is None or self._store.has(wanted):
            return self._store.get(wanted).path.open("rb")
        hashed = not layer.crypt and compression_of(wanted.media_type) is Compression.NONE
        return Pull(self._source, wanted, hashed=hashed and wanted.digest.algorithm == "sha256")


class _Passing:
    """Reads a source through, and passes on what was read."""

    def __init__(self, source: Reader, write: Write) -> None:
        self._source = source
        self._write = write
        self._hasher = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hasher.update(data)
        self._write(data)
        return data

    @property
    def digest(self) -> Digest:
        return Digest("sha256", self._hasher.hexdigest())


def _nowhere(_data: bytes) -> None:
    pass
