"""The documents of an OCI layout, without I/O: which image a name means, and how names are added.

Source: OCI image-spec image-layout.md.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ConflictError, ContentError, NotFoundError, TransportError, shown
from transship.pipeline.manifest.descriptor import REF_NAME, Descriptor
from transship.pipeline.manifest.document import Json, Object, dump, load
from transship.pipeline.manifest.media_types import MANIFESTS, OCI_INDEX, MediaType
from transship.pipeline.manifest.views import Index, Manifest, parse

MARKER: Final = "oci-layout"
INDEX: Final = "index.json"
VERSION: Final = "1.0.0"
MARKER_RAW: Final = dump({"imageLayoutVersion": VERSION})
MAX_INDEX: Final = 64 << 20
"""Bytes of an index.json; no registry ever takes it, and it has an entry of about 250 bytes per image."""
_LISTED: Final = 10


class Root(NamedTuple):
    """A root to add: an entry of index.json, named or not ("")."""

    media_type: MediaType
    digest: Digest
    size: int
    name: str

    @classmethod
    def of(cls, manifest: Manifest, name: str) -> "Root":
        """Return the root entry of ``manifest`` under ``name``."""
        return cls(manifest.media_type, manifest.digest, len(manifest.raw), name)

    def to_document(self) -> Object:
        """Return its descriptor."""
        annotations = {REF_NAME: self.name} if self.name else {}
        return dict(Descriptor(self.media_type, self.digest, self.size, annotations=annotations).to_document())


def blob_name(digest: Digest) -> str:
    """Return where a layout keeps the blob, relative to its root."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def check_marker(raw: bytes, where: str) -> None:
    """Raise `ContentError` unless ``raw`` is an oci-layout file of the version known here."""
    version = load(raw, f"{where} {MARKER}").get("imageLayoutVersion")
    if version != VERSION:
        raise ContentError(f"{where}: OCI layout of version {shown(repr(version))}, only {VERSION} is known")


def parse_index(raw: bytes, where: str) -> Index:
    """Return the view of an index.json.

    Raises:
        ContentError: it is malformed, or no index.
    """
    view = parse(raw, OCI_INDEX, f"{where} {INDEX}", MAX_INDEX)
    if not isinstance(view, Index):
        raise ContentError(f"{where} {INDEX}: not an index")
    return view


def load_index(raw: bytes, where: str) -> Object:
    """Return the document of an index.json, for `merge` and `names_of`; of its entries only the digests are looked at.

    Raises:
        ContentError: it is malformed, or no index.
    """
    document = load(raw, f"{where} {INDEX}", MAX_INDEX)
    entries = document.get("manifests")
    sound = isinstance(entries, list) and all(isinstance(entry, dict) and entry.get("digest") for entry in entries)
    # An entry of a long index costs more to check than the name that is looked up.
    return document if sound and document.get("schemaVersion") == 2 else parse_index(raw, where).document


def choose(index: Index, name: str, position: int | None, where: str) -> Descriptor:
    """Return the entry that ``name`` or ``position`` means; with neither, the only one.

    Raises:
        NotFoundError: there is none, or several to choose from; the message lists names.
        ContentError: several different images have that name.
    """
    entries = [entry for entry in index.manifests if entry.media_type in MANIFESTS]
    if position is not None:
        if position >= len(index.manifests):
            raise NotFoundError(f"{where}: no image @{position}", advice=f"it has {len(index.manifests)}, from @0 on")
        return index.manifests[position]
    if name:
        entries = [entry for entry in entries if entry.name == name]
        if len({entry.digest for entry in entries}) > 1:
            raise ContentError(f"{where}: {len(entries)} images are called {shown(name)!r}", advice="choose one by @N")
    if not entries:
        wanted = f"no image {shown(name)!r}" if name else "no image at all"
        raise NotFoundError(f"{where}: {wanted}", advice=_offer(index))
    if len(entries) > 1 and not name:
        raise NotFoundError(f"{where}: {len(entries)} images, and none was named", advice=_offer(index))
    return entries[0]


def merge(document: Object, roots: Iterable[Root]) -> Object:
    """Return the index.json ``document`` with ``roots`` added, sorted by name and digest; other fields stay.

    A name moves to its new image; the old one stays without a name, as skopeo leaves it. An
    image without a name is listed only where it is not listed under one.
    """
    entries = {(_name(entry), str(entry["digest"])): entry for entry in _objects(document.get("manifests"))}
    names = {name: digest for name, digest in entries if name}
    for root in roots:
        digest = str(root.digest)
        if root.name and names.get(root.name, digest) != digest:
            old = entries.pop((root.name, names[root.name]))
            entries[("", str(old["digest"]))] = _unnamed(old)
        entries.setdefault((root.name, digest), root.to_document())
        if root.name:
            names[root.name] = digest
    listed = {digest for name, digest in entries if name}
    manifests: list[Json] = [entries[key] for key in sorted(entries) if key[0] or key[1] not in listed]
    return {**(document or {"schemaVersion": 2, "mediaType": OCI_INDEX}), "manifests": manifests}


def names_of(document: Object) -> dict[str, Object]:
    """Return the entries of an index.json by name; a name that several have is left out."""
    found: dict[str, Object] = {}
    twice = set()
    for entry in _objects(document.get("manifests")):
        name = _name(entry)
        if name in found:
            twice.add(name)
        found[name] = entry
    return {name: entry for name, entry in found.items() if name and name not in twice}


def dump_index(document: Object, where: str) -> bytes:
    """Return the bytes of an index.json.

    Raises:
        TransportError: it would be larger than readers accept.
    """
    raw = dump(document)
    if len(raw) > MAX_INDEX:
        raise TransportError(f"{where}: its index.json would pass {MAX_INDEX} bytes", advice="use a second layout")
    return raw


def conflict(where: str) -> ConflictError:
    """Return the error for a folder that is not empty and no layout."""
    return ConflictError(
        f"{where} is not empty and is no OCI layout; it is left as it is", advice="name another folder, or empty it"
    )


def _unnamed(entry: Object) -> Object:
    annotations = entry.get("annotations")
    kept = (
        {key: value for key, value in annotations.items() if key != REF_NAME} if isinstance(annotations, dict) else {}
    )
    bare: Object = {key: value for key, value in entry.items() if key != "annotations"}
    return {**bare, "annotations": kept} if kept else bare


def _name(entry: Object) -> str:
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else ""


def _objects(value: Json) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _offer(index: Index) -> str:
    names = sorted({entry.name for entry in index.manifests if entry.name})
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"it has: {', '.join(shown(name) for name in names[:_LISTED]) or 'none with a name'}{more}"
