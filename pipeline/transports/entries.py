"""The entries of a layout's index.json, kept as the bytes that stand in it.

A long index is read and written again and again while a batch adds to it. An entry that was
read once is known by its bytes; only what is new is parsed.
"""

from collections.abc import Iterable
from typing import Final, Self

from transship.pipeline.errors import ContentError, TransportError
from transship.pipeline.manifest.document import Json, Object, dump, load
from transship.pipeline.manifest.media_types import OCI_INDEX
from transship.pipeline.transports.layout import INDEX, MAX_INDEX, Root, name_of, parse_index, unnamed

_Key = tuple[str, str]
_BETWEEN: Final = b"},{"


class Entries:
    """The entries by name and digest; never changed once made. ``where`` names the layout in messages."""

    def __init__(self, head: bytes, tail: bytes, found: dict[_Key, bytes]) -> None:
        self._head = head
        self._tail = tail
        self._found = found
        self._names: dict[str, bytes | None] | None = None

    @classmethod
    def empty(cls) -> Self:
        """Return those of an index.json that is not there yet."""
        return cls(*_around({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}), {})

    def read(self, raw: bytes, where: str) -> "Entries":
        """Return the entries of ``raw``, parsing none whose bytes are among these.

        Raises:
            ContentError: it is malformed, or no index.
        """
        if raw.startswith(self._head) and raw.endswith(self._tail) and len(raw) > len(self._head) + len(self._tail):
            found = self._pieces(raw[len(self._head) : -len(self._tail)], where)
            if found is not None:
                return Entries(self._head, self._tail, found)
        document = parse_index(raw, where).document
        listed = document.get("manifests")
        entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
        return Entries(*_around({**document, "manifests": []}), {_key(entry): dump(entry) for entry in entries})

    def add(self, roots: Iterable[Root]) -> "Entries":
        """Return these with ``roots`` added, sorted by name and digest.

        A name moves to its new image; the old one stays without a name, as skopeo leaves it. An
        image without a name is listed only where it is not listed under one.
        """
        found = dict(self._found)
        names = {name: digest for name, digest in found if name}
        for root in roots:
            key = (root.name, str(root.digest))
            if root.name and names.get(root.name, key[1]) != key[1]:
                old = load(found.pop((root.name, names[root.name])), INDEX)
                found["", names[root.name]] = dump(unnamed(old))
            if key not in found:
                found[key] = dump(root.to_document())
            if root.name:
                names[root.name] = key[1]
        listed = {digest for name, digest in found if name}
        kept = {key: found[key] for key in sorted(found) if key[0] or key[1] not in listed}
        return Entries(self._head, self._tail, kept)

    def without(self, name: str, digest: str) -> "Entries":
        """Return these but for the entry of that name ("" for none) and digest."""
        kept = {key: entry for key, entry in self._found.items() if key != (name, digest)}
        return Entries(self._head, self._tail, kept)

    def named(self, name: str) -> Object | None:
        """Return the one entry of that name, None where there is none, or several."""
        if self._names is None:
            # Those who only add names have no use for it, and ten thousand entries.
            self._names = _by_name(self._found)
        entry = self._names.get(name)
        return load(entry, INDEX) if entry and name else None

    def has(self, name: str, digest: str) -> bool:
        """Say whether there is an entry of that digest, under ``name`` unless that is empty."""
        return (name, digest) in self._found or (not name and any(digest == one for _, one in self._found))

    def raw(self, where: str) -> bytes:
        """Return the bytes of the index.json.

        Raises:
            TransportError: it would be larger than readers accept.
        """
        raw = b"".join((self._head, b",".join(self._found.values()), self._tail))
        if len(raw) > MAX_INDEX:
            raise TransportError(f"{where}: its index.json would pass {MAX_INDEX} bytes", advice="use a second layout")
        return raw

    def _pieces(self, body: bytes, where: str) -> dict[_Key, bytes] | None:
        """Cut at what looks like the end of an entry; None unless each piece is one, for then none is cut wrong."""
        pieces = body.split(_BETWEEN)
        last = len(pieces) - 1
        known = {entry: key for key, entry in self._found.items()}
        found: dict[_Key, bytes] = {}
        for position, piece in enumerate(pieces):
            entry = (b"{" if position else b"") + piece + (b"}" if position < last else b"")
            key = known.get(entry)
            if key is not None:
                # The one at hand, so that a long index is not there twice.
                entry = self._found[key]
            else:
                try:
                    document = load(entry, f"{where} {INDEX}")
                    parse_index(b"".join((self._head, entry, self._tail)), where)
                except ContentError:
                    return None
                key = _key(document)
            found[key] = entry
        return found if len(found) == len(pieces) else None


def _key(entry: Object) -> _Key:
    return name_of(entry), str(entry["digest"])


def _by_name(found: dict[_Key, bytes]) -> dict[str, bytes | None]:
    names: dict[str, bytes | None] = {}
    for (name, _), entry in found.items():
        names[name] = None if name in names else entry
    return names


def _around(document: Object) -> tuple[bytes, bytes]:
    """Return the bytes before and after the list of ``manifests``, every other field in its place."""
    fields: list[tuple[str, Json]] = list(document.items())
    place = list(document).index("manifests")
    before = "".join(_field(key, value) + "," for key, value in fields[:place])
    after = "".join("," + _field(key, value) for key, value in fields[place + 1 :])
    return ("{" + before + '"manifests":[').encode(), ("]" + after + "}").encode()


def _field(key: str, value: Json) -> str:
    return dump({key: value})[1:-1].decode()
