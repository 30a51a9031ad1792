"""Copying what hangs on an image: found with its manifests, written where its subjects are, left behind where not.

Referrers are images of their own to everything else: a `Selection` each, fetched, written and verified as the image
is, and never converted. Source: OCI distribution-spec, "Listing Referrers".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline import tree
from transship.pipeline.copy import Fetched, fetch_blobs, write
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, UsageError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import MANIFESTS, SCHEMA1, MediaType
from transship.pipeline.manifest.referrer import Left, Referrer, beside, described, subject_of
from transship.pipeline.resolve import fetch_below
from transship.pipeline.store import Store
from transship.pipeline.transport import Referring, Sink, Source
from transship.pipeline.tree import Selection

if TYPE_CHECKING:
    from concurrent.futures import Executor

HOLDING: Final = frozenset({"docker", "oci", "oci-archive", "bundle"})
"""Transports whose images can have referrers."""
_COPIED: Final = MANIFESTS - SCHEMA1
_MAX_DEPTH: Final = 8
"""Signatures of attestations of images have two levels."""
_MAX_FOUND: Final = 10_000


class Found(NamedTuple):
    """What hangs on an image, each after what it hangs on, and what of it cannot be copied."""

    referrers: tuple[Referrer, ...] = ()
    left: tuple[Left, ...] = ()

    @property
    def lost(self) -> tuple[str, ...]:
        """What is left behind, as losses are said."""
        return tuple(str(one) for one in self.left if one.referrer)

    def to_document(self) -> Object:
        """Return the JSON object that `Found.read` takes: part of checkpoints and reports."""
        referrers: list[Json] = [referrer.to_document() for referrer in self.referrers]
        left: list[Json] = [one.to_document() for one in self.left]
        return {"referrers": referrers, "left": left}

    @classmethod
    def read(cls, document: Json) -> "Found":
        """Return what an object spells; nothing where it has no word of it.

        Raises:
            ContentError: it is malformed.
        """
        fields = Fields(document if isinstance(document, dict) else {}, "referrers")
        return cls(
            tuple(Referrer.read(item) for item in fields.optional_objects("referrers")),
            tuple(Left.read(item) for item in fields.optional_objects("left")),
        )


class Place(NamedTuple):
    """Where an image is written: the transport, its name there, and the media types that its sink accepts."""

    transport: str
    name: str
    accepts: frozenset[MediaType]

    def name_of(self, referrer: Referrer) -> str:
        """Return the name of ``referrer`` beside the image, empty for none."""
        if self.transport == "docker" or not referrer.tag:
            return referrer.tag
        return beside(self.name, referrer.tag)


def find(source: Source, store: Store, selection: Selection, pool: "Executor | None" = None) -> Found:
    """Return what hangs on the manifests of ``selection``, and on what does, and bring its manifests into the store.

    The source is asked on ``pool`` if there is one. The order depends on what the source says alone.

    Raises:
        ContentError: a manifest is not what its list says; or over 10,000 were found.
        TransportError: the medium failed.
    """
    if not isinstance(source, Referring):
        return Found(left=(Left("the source's transport knows of no referrers"),))
    return _Finding(source, source, store, pool).run(selection)


def fetch_named(source: Source, store: Store, found: Found) -> Found:
    """Bring the manifests of what a lock has ``found`` into the store, without asking what hangs there now; return it.

    Raises:
        NotFoundError: one is no longer there.
        ContentError: one is not what the lock says.
        TransportError: the medium failed.
    """
    for referrer in found.referrers:
        fetch_below(source, store, Selection(referrer.manifest))
    return found


class _Finding:
    def __init__(self, source: Source, referring: Referring, store: Store, pool: "Executor | None") -> None:
        self._source = source
        self._referring = referring
        self._store = store
        self._pool = pool
        self._found: dict[tuple[Digest, Digest, str], Referrer] = {}
        self._left: list[Left] = []

    def run(self, selection: Selection) -> Found:
        asked = dict.fromkeys(descriptor.digest for descriptor, _ in tree.manifests(self._store, selection))
        level = list(asked)
        for depth in range(_MAX_DEPTH + 1):
            fresh: dict[Digest, None] = {}
            for referrer in self._asked(level):
                if depth == _MAX_DEPTH:
                    self._left.append(Left(f"more than {_MAX_DEPTH} deep", referrer))
                elif self._taken(referrer):
                    fresh.update(dict.fromkeys(self._below(referrer)))
            level = [digest for digest in fresh if digest not in asked]
            asked.update(dict.fromkeys(level))
            if not level:
                break
        return Found(tuple(self._found.values()), tuple(self._left))

    def _asked(self, level: Sequence[Digest]) -> "Iterable[Referrer]":
        ask = self._referring.referrers
        answers = self._pool.map(ask, level) if self._pool else map(ask, level)
        for answer in answers:
            yield from answer

    def _taken(self, referrer: Referrer) -> bool:
        """Bring a referrer's manifests into the store and note it; say whether it is one."""
        if len(self._found) + len(self._left) >= _MAX_FOUND:
            raise ContentError(f"over {_MAX_FOUND} manifests hang on the image; gave up")
        why = self._fault(referrer)
        if why:
            self._left.append(Left(why, referrer))
            return False
        # By its own bytes, not by what a list says of it.
        known = described(tree.load(self._store, referrer.manifest))
        self._found[referrer.subject, known.digest, referrer.tag] = referrer._replace(manifest=known)
        return True

    def _fault(self, referrer: Referrer) -> str:
        listed = referrer.manifest
        if listed.media_type not in _COPIED:
            return f"{shown(listed.media_type)} is no manifest known here"
        try:
            fetch_below(self._source, self._store, Selection(listed))
            manifest = tree.load(self._store, listed)
        except NotFoundError as error:
            return f"the source names it and has it not: {error.message}"
        if not referrer.tag and subject_of(manifest) != referrer.subject:
            return f"the source lists it there, but it says it belongs to {subject_of(manifest) or 'nothing'}"
        return ""

    def _below(self, referrer: Referrer) -> Iterator[Digest]:
        for descriptor, _ in tree.manifests(self._store, Selection(referrer.manifest)):
            yield descriptor.digest


def sort_out(
    store: Store,
    found: Found,
    image: Selection,
    changed: Mapping[Digest, Digest],
    place: Place,
) -> Found:
    """Return what of ``found`` goes to ``place``, and what is left behind, with the reason.

    ``image`` is what is written there; ``changed`` says what conversion made of manifests of the source.
    """
    if not found.referrers:
        return found
    present = {descriptor.digest for descriptor, _ in tree.manifests(store, image)}
    taken: list[Referrer] = []
    left = list(found.left)
    for referrer in found.referrers:
        below = [descriptor for descriptor, _ in tree.manifests(store, Selection(referrer.manifest))]
        strange = [descriptor.media_type for descriptor in below if descriptor.media_type not in place.accepts]
        why = ""
        if place.transport not in HOLDING:
            why = f"{place.transport}: has no place for it"
        elif referrer.subject in changed:
            why = f"conversion made {changed[referrer.subject]} of what it belongs to"
        elif referrer.subject not in present:
            why = "what it belongs to is left behind"
        elif strange:
            why = f"{place.transport}: cannot hold {strange[0]}, and it is not converted"
        if why:
            left.append(Left(why, referrer))
        else:
            taken.append(referrer)
            present.update(descriptor.digest for descriptor in below)
    return Found(tuple(taken), tuple(left))


def refuse_place(transport: str, name: str) -> None:
    """Raise `UsageError` where an image at ``transport``, called ``name`` there, can have no referrers."""
    if transport not in HOLDING:
        raise UsageError(
            f"{transport}: has no place for what hangs on an image", advice="write to docker://, oci: or oci-archive:"
        )
    if not name:
        raise UsageError(f"{transport}: what hangs on an image stands beside it", advice="give the image a name there")


def fetch(
    source: Source,
    store: Store,
    referrers: Iterable[Referrer],
    pool: "Executor | None" = None,
    on_bytes: Callable[[Descriptor, int], None] = lambda _blob, _count: None,
    *,
    leave: frozenset[Digest] = frozenset(),
) -> Fetched:
    """Bring every blob of ``referrers`` into the store, as `fetch_blobs` does."""
    done = [fetch_blobs(source, store, Selection(one.manifest), pool, on_bytes, leave=leave) for one in referrers]
    return Fetched(*(sum(counts) for counts in zip((0, 0, 0), *done, strict=True)))


def put(
    store: Store,
    referrers: Iterable[Referrer],
    sink: Sink,
    place: Place,
    *,
    leave: frozenset[Digest] = frozenset(),
) -> int:
    """Put ``referrers`` into the entered sink of ``place``, before their image; return their bytes.

    The blobs to ``leave`` are there already.
    """
    return sum(write(store, one.manifest, sink, place.name_of(one), leave=leave) for one in referrers)


def refuse_untied(written: Source, referrers: Iterable[Referrer]) -> None:
    """Raise `ContentError` where the destination, opened as ``written``, does not tie each to its subject."""
    for referrer in referrers:
        if not isinstance(written, Referring) or not written.has_referrer(referrer):
            raise ContentError(
                f"{referrer}: is there, and nothing ties it to that", advice="run again to write it anew"
            )
