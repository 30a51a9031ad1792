"""The documents of an OCI layout, without I/O: which image a name means, and how names are added.

Source: OCI image-spec image-layout.md.
"""

from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ConflictError, ContentError, NotFoundError, UsageError, shown
from transship.pipeline.manifest.descriptor import REF_NAME, Descriptor
from transship.pipeline.manifest.document import Object, dump, load
from transship.pipeline.manifest.media_types import MANIFESTS, OCI_INDEX, MediaType
from transship.pipeline.manifest.referrer import artifact_type, subject_of
from transship.pipeline.manifest.views import Index, Manifest, parse

MARKER: Final = "oci-layout"
INDEX: Final = "index.json"
VERSION: Final = "1.0.0"
MARKER_RAW: Final = dump({"imageLayoutVersion": VERSION})
MAX_MARKER: Final = 4096
"""Bytes of an oci-layout file."""
MAX_INDEX: Final = 64 << 20
"""Bytes of an index.json; no registry ever takes it, and it has an entry of about 250 bytes per image."""
_LISTED: Final = 10


class Root(NamedTuple):
    """A root to add: an entry of index.json, named or not ("")."""

    media_type: MediaType
    digest: Digest
    size: int
    name: str
    artifact_type: str = ""

    @classmethod
    def of(cls, manifest: Manifest, name: str) -> "Root":
        """Return the root entry of ``manifest`` under ``name``; one that refers to another says what it is."""
        kind = artifact_type(manifest) if subject_of(manifest) else ""
        return cls(manifest.media_type, manifest.digest, len(manifest.raw), name, kind)

    def to_document(self) -> Object:
        """Return its descriptor."""
        annotations = {REF_NAME: self.name} if self.name else {}
        made = Descriptor(
            self.media_type, self.digest, self.size, annotations=annotations, artifact_type=self.artifact_type
        )
        return dict(made.to_document())


def blob_name(digest: Digest) -> str:
    """Return where a layout keeps the blob, relative to its root."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def check_marker(raw: bytes, where: str) -> None:
    """Raise `ContentError` unless ``raw`` is an oci-layout file of the version known here."""
    version = load(raw, f"{where} {MARKER}", MAX_MARKER).get("imageLayoutVersion")
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


def choose(index: Index, name: str, position: int | None, where: str) -> Descriptor:
    """Return the entry that ``name`` or ``position`` means; with neither, the only one.

    Raises:
        NotFoundError: there is none; the message lists names.
        UsageError: there are several to choose from.
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
        raise UsageError(f"{where}: {len(entries)} images, and none was named", advice=_offer(index))
    return entries[0]


def conflict(where: str) -> ConflictError:
    """Return the error for a folder that is not empty and no layout."""
    return ConflictError(
        f"{where} is not empty and is no OCI layout; it is left as it is", advice="name another folder, or empty it"
    )


def unnamed(entry: Object) -> Object:
    """Return the descriptor ``entry`` without its name."""
    annotations = entry.get("annotations")
    kept = (
        {key: value for key, value in annotations.items() if key != REF_NAME} if isinstance(annotations, dict) else {}
    )
    bare: Object = {key: value for key, value in entry.items() if key != "annotations"}
    return {**bare, "annotations": kept} if kept else bare


def name_of(entry: Object) -> str:
    """Return the name in the annotations of the descriptor ``entry``, empty where it has none."""
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else ""


def _offer(index: Index) -> str:
    names = sorted({entry.name for entry in index.manifests if entry.name})
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"it has: {', '.join(shown(name) for name in names[:_LISTED]) or 'none with a name'}{more}"
