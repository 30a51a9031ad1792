"""Foreign layers whose bytes a destination shall hold: brought into the store, from the source or their URLs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import BinaryIO

from transship.pipeline import tree
from transship.pipeline.convert.shape import Shape
from transship.pipeline.errors import NotFoundError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.registry.registries import Registries
from transship.pipeline.store import Store
from transship.pipeline.transport import Source
from transship.pipeline.tree import Selection


def fetch_foreign(
    store: Store,
    selection: Selection,
    shape: Shape,
    opened: Callable[[], AbstractContextManager[Source]],
    registries: Registries,
) -> int:
    """Bring the foreign layers of ``selection`` into the store where ``shape`` wants their bytes; return how many.

    The source is asked first, which is ``opened`` only where a layer is lacking: it may have it, as a ``dir:`` often
    does. Size and digest are checked as of any blob. Idempotent.

    Raises:
        ContentError: neither has it as the manifest says.
        TransportError: none has it at all.
    """
    if not shape.downloads:
        return 0
    lacking = [blob for blob in tree.blobs(store, selection, foreign=True) if blob.is_elsewhere and not store.has(blob)]
    if not lacking:
        return 0
    with opened() as source:
        for blob in lacking:
            store.ingest(blob, _opener(blob, source, registries))
    store.sync()
    return len(lacking)


def _opener(
    wanted: Descriptor, source: Source, registries: Registries
) -> Callable[[int], AbstractContextManager[BinaryIO]]:
    def opened(start: int) -> AbstractContextManager[BinaryIO]:
        try:
            return source.blob(wanted, start)
        except NotFoundError:
            pass
        try:
            return registries.foreign.blob(wanted, start)
        except TransportError as error:
            if not error.retriable:
                error.advice = error.advice or "say foreign: keep-urls where the destination can do without it"
            raise

    return opened
