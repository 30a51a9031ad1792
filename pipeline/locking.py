"""Making a lock of a batch: what each source names now, written down beside what is wanted of it.

Nothing of time, user or machine is in it, so that the same state of the registries gives the same bytes.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from transship.pipeline import tree
from transship.pipeline.batch import Expanded
from transship.pipeline.batch.expand import Expansion
from transship.pipeline.batch.keys import recipient, secret
from transship.pipeline.batch.resolved import Part, Resolved
from transship.pipeline.batch.signatures import FILES
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.image_job import ImageJob
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.platform import host
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.manifest.views import Index
from transship.pipeline.planning import platforms
from transship.pipeline.reference import PathReference, TarballReference, parse_reference
from transship.pipeline.referrers import Found, find
from transship.pipeline.resolve import fetch_manifest, resolve
from transship.pipeline.store import Store
from transship.pipeline.transport import Source, size_of
from transship.pipeline.tree import Selection

_APART: Final = ("from", "tags", "to", "platforms", "encrypt", "decrypt", "signing")
"""Keys of an entry that a lock has in another form."""
_REGISTRY_FILES: Final = ("authfile", "cert-dir")


def resolve_image(source: Source, store: Store, job: ImageJob) -> Resolved:
    """Return what ``source`` names now, and all that a run of ``job`` would read of it; brings manifests alone.

    Raises:
        NotFoundError: there is no such image, or no instance of it for a platform asked for.
        ContentError: a manifest is not what it should be.
        TransportError: the medium failed.
    """
    root = fetch_manifest(source, store)
    selection = resolve(source, store, root, job.platforms)
    hanging = _ordered(store, selection, find(source, store, selection)) if job.referrers else None
    manifests: dict[Digest, Part] = {}
    blobs: dict[Digest, int] = {}
    said = _platforms(store, Selection(root), selection)
    for chosen in (selection, *(Selection(one.manifest) for one in (hanging.referrers if hanging else ()))):
        for found, _ in tree.manifests(store, chosen):
            manifests[found.digest] = Part(found.media_type, found.size, said.get(found.digest, ""))
        blobs |= {blob.digest: blob.size for blob in tree.blobs(store, chosen, partial(size_of, source))}
    return Resolved(root.digest, root.media_type, root.size, manifests, blobs, hanging)


def _platforms(store: Store, *selections: Selection) -> dict[Digest, str]:
    """Return the platforms that the indexes of ``selections`` say of what they name."""
    found: dict[Digest, str] = {}
    for selection in selections:
        view = tree.load(store, selection.root)
        for entry in view.manifests if isinstance(view, Index) else ():
            if entry.platform:
                found.setdefault(entry.digest, str(entry.platform))
    return found


def _ordered(store: Store, selection: Selection, found: Found) -> Found:
    """Return ``found`` in an order that no registry decides: each after what it hangs on, by digests."""
    known = {descriptor.digest for descriptor, _ in tree.manifests(store, selection)}
    waiting, made = sorted(found.referrers, key=_place), list[Referrer]()
    while waiting:
        level = [one for one in waiting if one.subject in known] or waiting
        known |= {below.digest for one in level for below, _ in tree.manifests(store, Selection(one.manifest))}
        made += level
        waiting = [one for one in waiting if one not in level]
    return Found(tuple(made), tuple(sorted(found.left, key=str)))


def _place(one: Referrer) -> tuple[str, str, str]:
    return str(one.subject), str(one.manifest.digest), one.tag


def lock_document(expanded: Expanded, found: Sequence[Resolved], folder: Path) -> Object:
    """Return the lock of a batch whose jobs name what was ``found``, as a file in ``folder`` has it.

    Paths that are relative in the batch are relative to ``folder`` there.
    """
    root = expanded.document.value
    move = _Move(expanded.document.path.absolute().parent, folder.absolute())
    images: list[Json] = [
        _image(expansion, resolved, move) for expansion, resolved in zip(expanded.expansions, found, strict=True)
    ]
    registries: dict[str, Json] = {
        host: _moved(said, _REGISTRY_FILES, move) for host, said in root.get("registries", {}).items()
    }
    return {
        "lock": 1,
        "name": expanded.batch.name,
        "images": images,
        **({"registries": registries} if registries else {}),
        **({"policy": move.path(root["policy"])} if "policy" in root else {}),
        **({"require-signed": True} if expanded.batch.require_signed else {}),
    }


class _Move(NamedTuple):
    """From the folder of a batch to that of its lock."""

    old: Path
    new: Path

    def path(self, text: str) -> str:
        """Return a path of the batch as the lock says it; what is absolute stays so."""
        if self.old == self.new or os.path.isabs(text):
            return text
        return os.path.relpath(os.path.normpath(self.old / text), os.path.normpath(self.new))

    def reference(self, text: str) -> str:
        """Return a reference of the batch as the lock says it."""
        found = parse_reference(text)
        if self.old == self.new:
            return text
        if isinstance(found, PathReference):
            return str(PathReference(found.transport, self.path(found.path), found.name, found.index))
        if isinstance(found, TarballReference):
            return str(TarballReference(tuple(map(self.path, found.paths))))
        return text


def _image(found: Expansion, resolved: Resolved, move: _Move) -> Object:
    job, said = found.job, found.said
    made: dict[str, Any] = {key: value for key, value in said.items() if key not in _APART}
    # With the tag that was chosen, or meant where none was said.
    made["from"] = str(job.source) if isinstance(job.source, DockerReference) else move.reference(said["from"])
    if found.texts:
        made["to"] = [move.reference(text) for text in found.texts]
    if platforms(job) == "host":
        # What this machine is, the next one need not be.
        made["platforms"] = str(host())
    elif job.explicit_platforms:
        made["platforms"] = said["platforms"]
    for key, moved in (("encrypt", recipient), ("decrypt", secret)):
        if key in said:
            made[key] = [moved(move.path, text) for text in said[key]]
    if "signing" in said:
        filled = {"identity": job.signing.identity} if job.signing.identity else {}
        made["signing"] = {**_moved(said["signing"], FILES, move), **filled}
    return {**made, "resolved": resolved.to_document()}


def _moved(said: dict[str, Any], files: Sequence[str], move: _Move) -> Object:
    return {key: move.path(value) if key in files else value for key, value in said.items()}


def differences(old: Object, new: Object) -> Iterator[str]:
    """Yield a line for each thing that is another one in ``new`` than in ``old``, two locks of one batch."""
    before, after = _by_source(old), _by_source(new)
    for key in dict.fromkeys((*before, *after)):
        source = key[0]
        if key not in after:
            yield f"{source}: gone, was {_digest(before[key])}"
        elif key not in before:
            yield f"{source}: new, {_digest(after[key])}"
        elif _digest(before[key]) != _digest(after[key]):
            yield f"{source}: moved, {_digest(before[key])} -> {_digest(after[key])}"
        else:
            yield from (f"{source}: {what}" for what in _changed(before[key], after[key]))
    for name in sorted({*old, *new} - {"images"}):
        if old.get(name) != new.get(name):
            yield f"{name}: another in the batch file than in the lock"


def _by_source(lock: Object) -> dict[tuple[str, int], Any]:
    """Return the images of a lock by what they are from; one that is there twice counts twice."""
    seen: Counter[str] = Counter()
    found: dict[tuple[str, int], Any] = {}
    images = lock["images"]
    for image in images if isinstance(images, list) else ():
        source = str(image["from"]) if isinstance(image, dict) else ""
        found[source, seen[source]] = image
        seen[source] += 1
    return found


def _digest(image: Any) -> str:
    return str(image["resolved"]["digest"])


def _changed(before: Any, after: Any) -> Iterator[str]:
    """Yield what is asked of an image in another way, or has changed around it while it stayed what it is."""
    asked = sorted(key for key in {*before, *after} - {"resolved"} if before.get(key) != after.get(key))
    if asked:
        yield f"{', '.join(asked)}: another in the batch file than in the lock"
    one, other = before["resolved"], after["resolved"]
    if one.get("hanging") != other.get("hanging"):
        yield "other things hang on it"
    elif not asked and one != other:
        yield "other manifests or blobs are read of it"
