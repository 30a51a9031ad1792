"""What hangs on the manifests of an OCI layout, found by reading those that its index.json names.

A layout has no list of referrers. Those who write one, oras-go's store among them, name each manifest that refers to
another in index.json, without a name of its own; regclient keeps an index under the tag of the distribution-spec's
schema instead. Both are read. cosign's tags are names like others.
"""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.referrer import Referrer, beside, cosign_tags, described, subject_of
from transship.pipeline.manifest.views import Index, Manifest

ReadManifest: TypeAlias = Callable[[Descriptor], Manifest]
"""Returns a manifest of the layout by its descriptor, checked; raises where it is not there."""

_LIST: Final = r"sha(256|384|512)-[0-9a-f]{64}"
"""What a tag of the schema looks like: `schema_tag` of some digest."""
_MOST_KEPT: Final = 100_000
# By the bytes that a digest stands for, so true of every layout for ever.
_read: dict[Digest, "tuple[Digest, Descriptor] | None"] = {}


class LayoutReferrers:
    """What hangs on the manifests of one layout whose entries do not change, found when first asked for."""

    def __init__(self, entries: Sequence[Descriptor], read: ReadManifest) -> None:
        self.entries = entries
        self._read = read
        self._lock = threading.Lock()
        self._found: dict[Digest, list[Descriptor]] | None = None
        self._named = {entry.name: entry for entry in entries if entry.name and entry.media_type in MANIFESTS}

    def subjected(self, subject: Digest) -> list[Descriptor]:
        """Return what refers to ``subject`` by its own ``subject`` field."""
        with self._lock:
            if self._found is None:
                self._found = referrers_in(self.entries, self._read)
        return self._found.get(subject, [])

    def referrers(self, subject: Digest, name: str) -> list[Referrer]:
        """Return all that hangs on ``subject``, the image's name being ``name``."""
        tied = [Referrer(subject, entry) for entry in self.subjected(subject)]
        return [*tied, *self._tagged(subject, name)]

    def has(self, referrer: Referrer, name: str) -> bool:
        """Say whether an entry ties ``referrer`` to its subject, the image's name being ``name``."""
        if not referrer.tag:
            return any(entry.digest == referrer.manifest.digest for entry in self.entries)
        wanted = (beside(name, referrer.tag), referrer.manifest.digest)
        return any((entry.name, entry.digest) == wanted for entry in self.entries)

    def _tagged(self, subject: Digest, name: str) -> Iterator[Referrer]:
        """Yield what cosign's tags for ``subject`` lead to, beside an image called ``name`` or under the bare tag."""
        for tag in cosign_tags(subject):
            entry = self._named.get(beside(name, tag)) or self._named.get(tag)
            if entry is not None:
                bare = Descriptor(entry.media_type, entry.digest, entry.size, artifact_type=entry.artifact_type)
                yield Referrer(subject, bare, tag)


def referrers_in(entries: Iterable[Descriptor], read: ReadManifest) -> dict[Digest, list[Descriptor]]:
    """Return what refers to each subject among ``entries``, each once, in their order.

    One that cannot be read is no referrer of any: to find that is for who copies or verifies it.
    """
    found: dict[Digest, dict[Digest, Descriptor]] = {}
    for entry in _with_lists(entries, read):
        tied = _tie(entry, read)
        if tied is not None:
            found.setdefault(tied[0], {})[entry.digest] = tied[1]
    return {subject: list(those.values()) for subject, those in found.items()}


def _with_lists(entries: Iterable[Descriptor], read: ReadManifest) -> Iterator[Descriptor]:
    """Yield the entries, and those of the indexes that list referrers by the tag schema."""
    for entry in entries:
        if entry.media_type not in MANIFESTS:
            continue
        yield entry
        if re.fullmatch(_LIST, entry.name.rpartition(":")[2]):
            with suppress(ContentError, TransportError):
                view = read(entry)
                yield from view.manifests if isinstance(view, Index) else ()


def _tie(entry: Descriptor, read: ReadManifest) -> "tuple[Digest, Descriptor] | None":
    if entry.digest not in _read:
        try:
            view = read(entry)
        except (ContentError, TransportError):
            return None
        subject = subject_of(view)
        if len(_read) >= _MOST_KEPT:
            _read.clear()
        _read[entry.digest] = (subject, described(view)) if subject else None
    return _read[entry.digest]
