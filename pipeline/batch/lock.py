"""A lock as a batch: each image is an entry that names one source, and what that had when the lock was made."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from transship.pipeline.batch.conflicts import refuse_conflicts
from transship.pipeline.batch.entries import absolute, read_entry, read_registries, refuse_aimless
from transship.pipeline.batch.expand import Expansion, expand
from transship.pipeline.batch.model import Batch
from transship.pipeline.batch.reading import Document, read_document
from transship.pipeline.batch.resolved import Resolved
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.manifest.document import load
from transship.schemas import SchemaError, validate

KEY: Final = "lock"
"""The key that a lock has and a batch has not."""
MAX_LOCK: Final = 256 << 20
_PEEK: Final = 4096
_BEGIN: Final = re.compile(rb"\s*\{")
_AGAIN: Final = "make the lock again"


def find_lock(path: Path) -> Document | None:
    """Return the document of the lock ``path``, without lines; None where it is anything else, sound or not."""
    try:
        with path.open("rb") as file:
            raw = file.read(_PEEK)
            # Most files are batches, which are YAML, or bundles, which are large.
            raw += file.read(MAX_LOCK + 1 - _PEEK) if _BEGIN.match(raw) else b""
        if not _BEGIN.match(raw) or b'"lock"' not in raw:
            return None
        value = load(raw, str(path), MAX_LOCK)
    except (OSError, ContentError):
        return None
    return Document(path, value, {}) if KEY in value else None


def read_lock(document: Document, *, aimless: bool = False) -> Batch:
    """Return the batch that a lock is; every job has what was ``resolved``. ``aimless`` is as in `expand_batch`.

    Raises:
        UsageError: it is malformed or says two things at once; names line and key.
    """
    try:
        return _batch(document, aimless)
    except UsageError:
        if document.lines:
            raise
        # To find the lines of a large lock takes ten times as long as to read it.
        _batch(read_document(document.path, limit=MAX_LOCK), aimless)
        raise


def _batch(document: Document, aimless: bool) -> Batch:
    try:
        validate("lock", document.value, "")
    except SchemaError as error:
        raise document.refusal(error.path, error.reason, _AGAIN) from error
    root: dict[str, Any] = document.value
    folder = document.path.absolute().parent
    expansions = [_expanded(document, number, image, aimless) for number, image in enumerate(root["images"])]
    refuse_conflicts(document, expansions)
    return Batch(
        root["name"],
        tuple(found.job for found in expansions),
        read_registries(document, folder, root.get("registries", {})),
        absolute(folder, root["policy"]) if "policy" in root else "",
        root.get("require-signed", False),
    )


def _expanded(document: Document, number: int, image: dict[str, Any], aimless: bool) -> Expansion:
    at = ("images", number, "resolved")
    try:
        resolved = Resolved.read(image["resolved"])
    except ContentError as error:
        raise document.refusal(at, error.message, _AGAIN) from error
    said = {key: value for key, value in image.items() if key != "resolved"}
    folder = document.path.absolute().parent
    entry = read_entry(document, folder, {}, number, said)
    if not aimless:
        refuse_aimless(document, entry)
    (found,) = expand(document, folder, entry, ())
    source = found.job.source
    if isinstance(source, DockerReference) and source.digest not in (None, resolved.digest):
        raise document.refusal((*at, "digest"), f"is {resolved.digest}, and from names {source.digest}", _AGAIN)
    if found.job.referrers is not (resolved.hanging is not None):
        wrong = "has no hanging, and referrers are wanted" if found.job.referrers else "has hanging without referrers"
        raise document.refusal(at, wrong, _AGAIN)
    return replace(found, job=replace(found.job, resolved=resolved))
