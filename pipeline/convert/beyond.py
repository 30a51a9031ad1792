"""What stands in a manifest or index that Docker's formats have no place for, or that speaks of bytes that go.

Sources: Docker "Image Manifest Version 2, Schema 2"; OCI image-spec manifest.md, image-index.md, descriptor.md.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from transship.pipeline.convert.original import ORIGINAL
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.media_types import FOREIGN
from transship.pipeline.manifest.views import Image, Index

IMAGE_FIELDS: Final = frozenset({"schemaVersion", "mediaType", "config", "layers"})
LIST_FIELDS: Final = frozenset({"schemaVersion", "mediaType", "manifests"})
BLOB_FIELDS: Final = frozenset({"mediaType", "digest", "size", "urls"})
ENTRY_FIELDS: Final = BLOB_FIELDS | {"platform"}
OF_BYTES: Final = ("data", "urls")
"""Fields of a descriptor that lead to its bytes, and to no others."""


def beyond_image(image: Image) -> dict[str, Json]:
    """Return each field of ``image`` that a Docker manifest does not hold, by its place."""
    places = [("config descriptor", image.config), *((f"layers[{n}]", layer) for n, layer in enumerate(image.layers))]
    return _top("manifest", image.document, IMAGE_FIELDS) | _below(places, BLOB_FIELDS)


def beyond_list(index: Index, kept: Iterable[Descriptor]) -> dict[str, Json]:
    """Return each field of ``index`` and of its entries ``kept`` that a Docker list does not hold, by its place."""
    places = [(f"manifests[{entry.digest}]", entry) for entry in kept]
    return _top("index", index.document, LIST_FIELDS) | _below(places, ENTRY_FIELDS)


def stale(place: str, old: Descriptor, new: Descriptor) -> tuple[str, ...]:
    """Return the fields of ``old``, at ``place``, that do not lead to the bytes of ``new``, which takes its place.

    A foreign layer whose bytes were fetched has no need of its URLs any more.
    """
    if old.digest == new.digest:
        return ()
    needed = OF_BYTES[:1] if old.media_type in FOREIGN else OF_BYTES
    return tuple(f"{place} {key}" for key in needed if _says((old.document or {}).get(key)))


def losses(beyond: Mapping[str, Json], restored: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the places in ``beyond``, but for what comes back with an original that has the same there."""
    return tuple(place for place, value in beyond.items() if place not in restored or restored[place] != value)


def _top(what: str, document: Object, held: frozenset[str]) -> dict[str, Json]:
    found = {f"{what} {key}": value for key, value in document.items() if key not in held and _says(value)}
    notes = document.get("annotations")
    if isinstance(notes, dict) and ORIGINAL in notes:
        rest = {key: value for key, value in notes.items() if key != ORIGINAL}
        found.pop(f"{what} annotations")
        found |= {f"{what} annotations": rest} if rest else {}
    return found


def _below(places: Iterable[tuple[str, Descriptor]], held: frozenset[str]) -> dict[str, Json]:
    return {
        f"{place} {key}": value
        for place, descriptor in places
        for key, value in (descriptor.document or {}).items()
        if key not in held and _says(value)
    }


def _says(value: Json) -> bool:
    """Say whether a field is more than a spelling of its absence."""
    return value is not None and value not in ("", [], {})
