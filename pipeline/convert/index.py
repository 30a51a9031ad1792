"""The new bytes of an index whose instances were selected or converted. Source: OCI image-spec image-index.md."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from transship.pipeline.compression.codecs import ZSTD_KINDS
from transship.pipeline.convert import original
from transship.pipeline.convert.beyond import ENTRY_FIELDS, LIST_FIELDS, OF_BYTES, beyond_list, losses, stale
from transship.pipeline.convert.image import digest_lost
from transship.pipeline.convert.shape import Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json, Object, dump
from transship.pipeline.manifest.media_types import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, SCHEMA1, MediaType
from transship.pipeline.manifest.platform import Platform
from transship.pipeline.manifest.views import Index

_NONE: Final[Mapping[Digest, Platform]] = MappingProxyType({})
_REFERENCE: Final = "vnd.docker.reference.digest"
"""BuildKit's tie of an attestation to the image beside it. Source: its docs/attestations/attestation-storage.md."""
_OF_ZSTD: Final = "io.github.containers.compression.zstd"
"""By which containers-image finds the images whose layers are zstd."""


def rebuild_index(
    index: Index,
    kept: Sequence[Descriptor],
    changed: Mapping[Digest, Descriptor],
    shape: Shape,
    *,
    sparse: bool = False,
    platforms: Mapping[Digest, Platform] = _NONE,
) -> tuple[bytes, MediaType, tuple[str, ...]]:
    """Return bytes and type of ``index`` with the entries ``kept``, each pointing at what it became; and the losses.

    Where nothing changes the raw bytes are returned untouched; ``sparse`` where entries that are not kept stay in it.
    ``platforms`` are those that the configs of entries name: a Docker list must say one of each.

    Raises:
        ContentError: it must change and may not, or cannot as it is to name what is not there, or becomes a Docker
            list and has an entry that is no Docker image.
    """
    media_type = {"keep": index.media_type, "oci": OCI_INDEX}.get(shape.manifests, DOCKER_LIST)
    same = all(changed.get(entry.digest, entry).digest == entry.digest for entry in kept)
    if same and media_type == index.media_type and (sparse or len(kept) == len(index.manifests)):
        return index.raw, media_type, ()
    if sparse:
        raise ContentError(
            f"index {index.digest}: it must change, and so would images that are not copied",
            advice="say --strip-removed-platforms (in a batch file: no sparse), or write to dir: or docker:// "
            "without another format",
        )
    if shape.preserve:
        raise digest_lost(index.digest, index.media_type, media_type)
    entries = tuple(changed.get(entry.digest, entry)._replace(document=entry.document) for entry in kept)
    lost: tuple[str, ...] = ()
    for old, new in zip(kept, entries, strict=True):
        lost += stale(f"manifests[{old.digest}]", old, new)
    if media_type not in (OCI_INDEX, index.media_type):
        raw, media_type, more = _docker_list(index, kept, entries, platforms, changed)
        return raw, media_type, lost + more
    made: Object = {"schemaVersion": 2, "mediaType": media_type}
    if index.artifact_type:
        made["artifactType"] = index.artifact_type
    made["manifests"] = [
        _noted(_entry(old, new, all_fields=True), old, changed, shape) for old, new in zip(kept, entries, strict=True)
    ]
    for old in kept:
        lost += _untied(old, changed)
    rest = {key: value for key, value in index.document.items() if key not in LIST_FIELDS | made.keys()}
    made |= {key: rest.pop(key) for key in ("subject", "annotations") if rest.get(key)} | rest
    reversible = shape.reversible and media_type != index.media_type
    original.annotate(made, index.raw if reversible else b"", same=len(kept) == len(index.manifests))
    return dump(made), media_type, lost + (original.too_large(index.raw, "index") if reversible else ())


def untied_subjects(
    subjects: Mapping[Digest, Descriptor | None], changed: Mapping[Digest, Descriptor]
) -> tuple[str, ...]:
    """Return the loss of each manifest of a tree whose subject became another one in it; it still names the old one."""
    return tuple(
        f"manifest {digest} subject: {subject.digest}, which becomes {changed[subject.digest].digest}"
        for digest, subject in subjects.items()
        if subject and changed.get(subject.digest, subject).digest != subject.digest
    )


def _docker_list(
    index: Index,
    kept: Sequence[Descriptor],
    entries: tuple[Descriptor, ...],
    platforms: Mapping[Digest, Platform],
    changed: Mapping[Digest, Descriptor],
) -> tuple[bytes, MediaType, tuple[str, ...]]:
    found = original.original_list(index, entries)
    if found:
        tied = [old._replace(document=_tied(old, changed)) for old in kept]
        return found.raw, DOCKER_LIST, losses(beyond_list(index, tied), _renamed(found, kept))
    listed: list[Json] = []
    for old, new in zip(kept, entries, strict=True):
        if new.media_type not in (DOCKER_MANIFEST, *SCHEMA1):
            raise ContentError(
                f"index {index.digest}: its entry {old.digest} is {shown(new.media_type)}, "
                "a Docker list has Docker's images alone",
                advice="keep the index, or copy some of its platforms",
            )
        entry = _entry(old, new, all_fields=False)
        if not old.platform and old.digest in platforms:
            entry["platform"] = platforms[old.digest].document()
        listed.append(entry)
    made: Object = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": listed}
    return dump(made), DOCKER_LIST, losses(beyond_list(index, kept), {})


def _renamed(found: Index, kept: Sequence[Descriptor]) -> dict[str, Json]:
    """Return what the original list holds beyond its format, by the places of the entries ``kept`` of the index."""
    there = [old._replace(digest=new.digest) for old, new in zip(found.manifests, kept, strict=True)]
    return beyond_list(found, there)


def _entry(old: Descriptor, new: Descriptor, *, all_fields: bool) -> Object:
    made: Object = {"mediaType": new.media_type, "digest": str(new.digest), "size": new.size}
    for key, value in (old.document or {}).items():
        if key in made or (key in OF_BYTES and new.digest != old.digest):
            continue
        if all_fields or key in ENTRY_FIELDS:
            made[key] = value
    return made


def _noted(entry: Object, old: Descriptor, changed: Mapping[Digest, Descriptor], shape: Shape) -> Object:
    """Return ``entry``, made of ``old``, with the annotations that are true of what it names now."""
    notes = {**old.annotations}
    repacked = shape.layers is not None and shape.layers not in ZSTD_KINDS
    if repacked and old.digest in changed:
        notes.pop(_OF_ZSTD, None)
    if subject := _subject(old, changed):
        notes[_REFERENCE] = str(subject.digest)
    if notes != old.annotations:
        entry.pop("annotations")
        entry |= {"annotations": {**notes}} if notes else {}
    return entry


def _tied(old: Descriptor, changed: Mapping[Digest, Descriptor]) -> Object | None:
    """Return the object of ``old`` as it is where what it attests is what it became."""
    subject = _subject(old, changed)
    if subject is None:
        return old.document
    return {**(old.document or {}), "annotations": {**old.annotations, _REFERENCE: str(subject.digest)}}


def _untied(old: Descriptor, changed: Mapping[Digest, Descriptor]) -> tuple[str, ...]:
    """Return the loss of an attestation beside its image: it is found by the new digest, and speaks of the old one."""
    subject = _subject(old, changed)
    if subject is None:
        return ()
    return (f"manifests[{old.digest}] attestation: of {old.annotations[_REFERENCE]}, which becomes {subject.digest}",)


def _subject(old: Descriptor, changed: Mapping[Digest, Descriptor]) -> Descriptor | None:
    """Return what the image became that ``old`` is an attestation of, None where it stays, or is not one."""
    said = old.annotations.get(_REFERENCE)
    return next((new for digest, new in changed.items() if str(digest) == said and new.digest != digest), None)
