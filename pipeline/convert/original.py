"""The way back: a Docker manifest or list kept whole in an annotation of what it became.

Raw bytes are the only thing that a digest comes back from; a manifest made anew of the same fields has another.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.media_types import DOCKER_LIST, DOCKER_MANIFEST, to_oci
from transship.pipeline.manifest.views import Image, Index, Manifest, parse

PREFIX: Final = "io.transship."
"""Of every annotation that transship adds."""
ORIGINAL: Final = f"{PREFIX}original"
"""The text of the Docker manifest or list that this was, to the byte."""
MOST: Final = 1 << 20
"""Bytes of an original that is kept: escaped in JSON it may take twice that, beside what it became."""


def annotate(made: Object, raw: bytes, *, same: bool) -> None:
    """Keep ``raw``, a strict JSON document, in the annotations of ``made``, if any is given and it is not too large.

    Where what ``made`` names is not the ``same`` as before, none is kept, also no older one: it would not come back.
    """
    found = made.get("annotations")
    notes: Object = found if isinstance(found, dict) else {}
    if not same:
        notes = {key: value for key, value in notes.items() if key != ORIGINAL}
    elif raw and len(raw) <= MOST:
        notes = {**notes, ORIGINAL: raw.decode()}
    if notes:
        made["annotations"] = notes
    elif found:
        del made["annotations"]


def too_large(raw: bytes, what: str) -> tuple[str, ...]:
    """Return the loss of ``raw`` that is not kept for its size, if so."""
    return (f"{what} bytes: {len(raw)}, more than the {MOST} that an annotation keeps",) if len(raw) > MOST else ()


def original_image(image: Image, config: Descriptor, layers: tuple[Descriptor, ...]) -> Image | None:
    """Return the Docker manifest that ``image`` keeps, if its blobs are these and it says the same of them."""
    found = _original(image.annotations)
    if not isinstance(found, Image) or found.media_type != DOCKER_MANIFEST or len(found.layers) != len(layers):
        return None
    # What the config is called may be what only Docker takes for one.
    same = found.is_image and (found.config.digest, found.config.size) == (config.digest, config.size)
    same = same and all(_same_blob(old, new) for old, new in zip(found.layers, layers, strict=True))
    return found if same else None


def original_list(index: Index, entries: tuple[Descriptor, ...]) -> Index | None:
    """Return the Docker list that ``index`` keeps, if its entries are these ``entries``, in their order."""
    found = _original(index.annotations)
    if not isinstance(found, Index) or found.media_type != DOCKER_LIST or len(found.manifests) != len(entries):
        return None
    same = all(
        (old.media_type, old.digest, old.size) == (new.media_type, new.digest, new.size) and _where(old) == _where(new)
        for old, new in zip(found.manifests, entries, strict=True)
    )
    return found if same else None


def _original(annotations: Mapping[str, str]) -> Manifest | None:
    # Whatever stands there is no reason to fail: the image is converted without it.
    with suppress(ContentError):
        return parse(annotations[ORIGINAL].encode(), what=ORIGINAL) if ORIGINAL in annotations else None
    return None


def _same_blob(old: Descriptor, new: Descriptor) -> bool:
    with suppress(ContentError):
        same = (old.digest, old.size, to_oci(old.media_type)) == (new.digest, new.size, to_oci(new.media_type))
        return same and old.urls == new.urls
    return False


def _where(entry: Descriptor) -> Json:
    return (entry.document or {}).get("platform")
