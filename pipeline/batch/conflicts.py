"""Two images that would write the same place, found before anything starts."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from transship.pipeline.batch.expand import Expansion
from transship.pipeline.batch.model import Target
from transship.pipeline.batch.reading import Document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError
from transship.pipeline.reference import PathReference, Reference, TarballReference


@dataclass(frozen=True, slots=True)
class _Use:
    """One destination: its path with links resolved, or its repository; who writes it, and where that was said."""

    real: str
    transport: str
    name: str
    reference: Target
    source: Reference
    entry: Place
    at: Place


def refuse_conflicts(document: Document, expansions: Sequence[Expansion]) -> None:
    """Raise `UsageError`, naming both lines, where two destinations would overwrite each other.

    A layout, archive or repository takes many images of different names; a ``dir:`` one. No destination lies
    inside another, and none but a layout or repository is also a source.
    """
    owners: dict[str, _Use] = {}
    names: dict[tuple[str, str], _Use] = {}
    uses = list(_uses(expansions))
    for use in uses:
        owner = owners.setdefault(use.real, use)
        if owner.transport != use.transport:
            raise _clash(document, use, owner, "is written in another format")
        other = names.setdefault((use.real, use.name), use)
        if other is not use:
            raise _clash(document, use, other, "is written already")
    for use in uses:
        if not isinstance(use.reference, PathReference):
            continue
        for parent in Path(use.real).parents:
            if str(parent) in owners:
                raise _clash(document, use, owners[str(parent)], "lies inside a destination")
    _refuse_sources(document, expansions, owners)


def _uses(expansions: Sequence[Expansion]) -> Iterator[_Use]:
    for found in expansions:
        for destination, at in zip(found.job.destinations, found.places, strict=True):
            reference = destination.reference
            source = found.job.source
            if isinstance(reference, PathReference):
                name = "" if reference.transport == "dir" else reference.name
                real = os.path.realpath(reference.path)
                yield _Use(real, reference.transport, name, reference, source, found.at, at)
            elif not isinstance(reference, DockerReference):
                yield _Use(str(reference), reference.transport, "", reference, source, found.at, at)
            else:
                # No path begins like this: they are absolute.
                name = str(reference.digest or reference.tag)
                yield _Use(f"docker://{reference.name}", "docker", name, reference, source, found.at, at)


def _clash(document: Document, use: _Use, other: _Use, why: str) -> UsageError:
    mine, theirs = document.line(use.entry), document.line(other.entry)
    return document.refusal(
        use.at,
        f"{use.reference} for {use.source} (line {mine}) {why}: "
        f"{other.reference} for {other.source} (line {theirs}, to: in line {document.line(other.at)})",
        "give each image its own, as with {repository} and {tag}",
    )


def _refuse_sources(document: Document, expansions: Sequence[Expansion], owners: dict[str, _Use]) -> None:
    for found in expansions:
        source = found.job.source
        paths = source.paths if isinstance(source, TarballReference) else ()
        if isinstance(source, PathReference):
            paths = (source.path,)
        use = next(filter(None, (owners.get(os.path.realpath(path)) for path in paths)), None)
        if use and use.transport != "oci":
            raise document.refusal(
                use.at, f"{use.reference} would replace the source of line {document.line((*found.at, 'from'))}"
            )
