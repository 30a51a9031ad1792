"""From an entry of the batch file to its jobs: tags chosen, placeholders filled."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from transship.pipeline.batch.entries import PLACEHOLDER, Entry, settle
from transship.pipeline.batch.model import Destination, Job, Target
from transship.pipeline.batch.reading import Document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.batch.signatures import filled
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.reference import (
    DaemonReference,
    PathReference,
    Reference,
    StorageReference,
    TarballReference,
    parse_reference,
)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A job, where its entry stands, and where each of its destinations was said.

    ``texts`` are the destinations as they were said, filled; ``said`` is the entry as it stands, with the defaults.
    """

    at: Place
    job: Job
    places: tuple[Place, ...]
    texts: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)


def expand(document: Document, folder: Path, entry: Entry, tags: Sequence[str]) -> list[Expansion]:
    """Return the jobs of ``entry``; ``tags`` are those of its repository, if its selector wants them.

    Raises:
        UsageError: no tag is chosen, or a destination is malformed once filled.
    """
    return [_job(document, folder, entry, source) for source in _sources(document, entry, tags)]


def _sources(document: Document, entry: Entry, tags: Sequence[str]) -> list[Reference]:
    if entry.selector is None:
        return [entry.source]
    repository = entry.repository()
    chosen = entry.selector.select(tags)
    at = (*entry.at, "tags")
    if not chosen:
        raise document.refusal(at, f"none of the {len(tags)} tags of {repository.name} is chosen")
    try:
        return [DockerReference.parse(f"{repository.name}:{tag}") for tag in chosen]
    except UsageError as error:
        raise document.refusal(at, f"{repository.name}: {error.message}") from error


def _job(document: Document, folder: Path, entry: Entry, source: Reference) -> Expansion:
    values = _values(source)
    places = tuple(at for at, _ in entry.templates)
    texts = tuple(_filled(document, entry, at, template, values) for at, template in entry.templates)
    destinations = tuple(
        Destination(_destination(document, folder, at, text)) for at, text in zip(places, texts, strict=True)
    )
    job = Job(
        source,
        entry.platforms,
        entry.explicit_platforms,
        entry.wish,
        destinations,
        referrers=entry.referrers,
        sparse=entry.sparse,
        signing=filled(document, entry.at, entry.signing, lambda at, text: _filled(document, entry, at, text, values)),
    )
    return Expansion(entry.at, job, places, texts, entry.said)


def _values(source: Reference) -> dict[str, str]:
    """Return what the placeholders stand for; one that the source has nothing for is left out."""
    if isinstance(source, PathReference):
        if source.transport != "docker-archive" or not source.name:
            return {"name": source.name or Path(source.path).name}
        source = DockerReference.parse(source.name)
    if isinstance(source, DaemonReference | StorageReference) and source.named:
        source = source.named
    if isinstance(source, TarballReference) and len(source.paths) == 1:
        return {"name": Path(source.paths[0]).name}
    if not isinstance(source, DockerReference):
        return {}
    found = {
        "registry": source.registry,
        "repository": source.repository,
        "name": source.repository.rpartition("/")[2],
        "tag": source.tag,
        "digest": str(source.digest or ""),
    }
    return {key: value for key, value in found.items() if value}


def _filled(document: Document, entry: Entry, at: Place, template: str, values: Mapping[str, str]) -> str:
    missing = [name for name in PLACEHOLDER.findall(template) if name not in values]
    if missing:
        line = document.line(entry.at)
        raise document.refusal(at, f"the image of line {line}, {entry.source}, has no {{{missing[0]}}} to fill in")
    return PLACEHOLDER.sub(lambda match: values[match[1]], template)


def _destination(document: Document, folder: Path, at: Place, text: str) -> Target:
    try:
        found = parse_reference(text)
        if isinstance(found, PathReference) and found.index is None:
            return settle(folder, found)
        if isinstance(found, DockerReference) or _is_named(found):
            return found
    except UsageError as error:
        raise document.refusal(at, error.message, error.advice) from error
    raise document.refusal(at, f"{shown(text)!r} names an image by index or ID", "give it a name instead")


def _is_named(found: Reference) -> "TypeGuard[DaemonReference | StorageReference]":
    """Say whether it is an image of an engine or a storage by its name and tag, which alone can be given."""
    if isinstance(found, StorageReference) and found.image_id:
        return False
    return isinstance(found, DaemonReference | StorageReference) and bool(found.named and not found.named.digest)
