"""The batch file, or a lock of one: from YAML or JSON to jobs. Every refusal names file, line and key.

Reads the one file and asks for the tags of repositories; opens no image and writes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from transship.pipeline.batch.conflicts import refuse_conflicts
from transship.pipeline.batch.entries import Entry, absolute, read_entry, read_registries, refuse_aimless
from transship.pipeline.batch.expand import Expansion, expand
from transship.pipeline.batch.lock import KEY, find_lock, read_lock
from transship.pipeline.batch.model import Batch, Destination, Job, RegistrySettings, Wish
from transship.pipeline.batch.reading import Document, read_document
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError
from transship.pipeline.manifest.referrer import images_of
from transship.schemas import SchemaError, validate

__all__ = ["Batch", "Destination", "Expanded", "Job", "RegistrySettings", "Wish", "expand_batch", "read_batch"]

ListTags: TypeAlias = Callable[[DockerReference, Mapping[str, RegistrySettings]], Sequence[str]]


class Expanded(NamedTuple):
    """A batch file, what it says, and how each of its jobs, in the same order, came of it."""

    document: Document
    batch: Batch
    expansions: Sequence[Expansion]


def read_batch(path: Path, list_tags: ListTags, *, aimless: bool = False) -> Batch:
    """Return the batch that ``path`` holds, or a lock of one, which asks for no tag; else as `expand_batch`."""
    document = find_lock(path)
    return read_lock(document, aimless=aimless) if document else expand_batch(path, list_tags, aimless=aimless).batch


def expand_batch(path: Path, list_tags: ListTags, *, aimless: bool = False) -> Expanded:
    """Return the batch that ``path`` holds: jobs in the file's order, tags of one selector newest first.

    ``list_tags`` gets a repository and what the file says of registries, and is asked once
    per repository, after everything that needs no network was checked. Only with ``aimless`` an image may go nowhere.

    Raises:
        UsageError: the file cannot be read, is malformed or asks for what cannot be; names line and key.
        TransportError: whatever ``list_tags`` raises.
    """
    document = read_document(path)
    if isinstance(document.value, dict) and KEY in document.value:
        raise document.refusal((KEY,), "this is a lock, and none that was written by transship", "make it again")
    root: dict[str, Any] = _checked(document)
    folder = path.absolute().parent
    defaults = root.get("defaults", {})
    registries = read_registries(document, folder, root.get("registries", {}))
    entries = [read_entry(document, folder, defaults, n, image) for n, image in enumerate(root["images"])]
    for entry in () if aimless else entries:
        refuse_aimless(document, entry)

    def tags_of(repository: DockerReference) -> Sequence[str]:
        return list_tags(repository, registries)

    expansions = list(_expand(document, folder, entries, tags_of))
    refuse_conflicts(document, expansions)
    policy = absolute(folder, root["policy"]) if "policy" in root else ""
    jobs = tuple(found.job for found in expansions)
    batch = Batch(_name(document, root), jobs, registries, policy, root.get("require-signed", False))
    return Expanded(document, batch, expansions)


def _checked(document: Document) -> dict[str, Any]:
    try:
        validate("batch", document.value, "")
    except SchemaError as error:
        advice = "quote it" if _unquoted(error.reason) else ""
        raise document.refusal(error.path, error.reason, advice) from error
    found: dict[str, Any] = document.value
    return found


def _unquoted(reason: str) -> bool:
    return reason.endswith("expected a string") and not reason.startswith(("is an object", "is a list"))


def _name(document: Document, root: dict[str, Any]) -> str:
    if "name" in root:
        return str(root["name"])
    stem = document.path.stem
    try:
        validate("batch", {"version": 1, "name": stem, "images": [{"from": ""}]}, "")
    except SchemaError as error:
        raise UsageError(f"{document.path}: the file's stem {error.reason}", advice="say name: in the file") from error
    return stem


def _expand(
    document: Document, folder: Path, entries: list[Entry], list_tags: Callable[[DockerReference], Sequence[str]]
) -> "list[Expansion]":
    listed: dict[DockerReference, Sequence[str]] = {}
    found: list[Expansion] = []
    for entry in entries:
        tags: Sequence[str] = ()
        if entry.selector and entry.selector.needs_listing:
            repository = entry.repository()
            if repository not in listed:
                listed[repository] = list_tags(repository)
            tags = images_of(listed[repository]) if entry.referrers else listed[repository]
        found += expand(document, folder, entry, tags)
    return found
