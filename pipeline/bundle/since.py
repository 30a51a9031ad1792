"""What a differential bundle may leave out: all that an older bundle, or the lock of one, says that was carried."""

from collections.abc import Iterable
from pathlib import Path

from transship.pipeline.batch.lock import find_lock, read_lock
from transship.pipeline.batch.model import Job
from transship.pipeline.bundle.opened import opened
from transship.pipeline.bundle.plan import name_of
from transship.pipeline.bundle.trees import Trees
from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError
from transship.pipeline.transports.bundle_file import Base, BaseBlob


def base_of(path: Path) -> Base:
    """Return the base that the bundle or lock at ``path`` is.

    What a lock names and a bundle of it would have converted is in no bundle, and left out of none.

    Raises:
        UsageError: it is neither, or not there.
        ContentError: it is damaged.
        TransportError: the disk refused.
    """
    document = find_lock(path)
    if document is not None:
        return Base(Digest.of(path.read_bytes()), _sorted(_locked(read_lock(document, aimless=True).jobs)))
    if path.is_dir():
        raise UsageError(f"{path}: is a folder", advice="name the older bundle, or its lock")
    with opened(path) as trees:
        return Base(Digest.of(trees.said.raw()), _sorted(_bundled(trees)))


def _locked(jobs: Iterable[Job]) -> Iterable[BaseBlob]:
    for job in jobs:
        if job.resolved:
            sizes = {digest: part.size for digest, part in job.resolved.manifests.items()} | dict(job.resolved.blobs)
            yield from (BaseBlob(digest, size, name_of(job.source)) for digest, size in sizes.items())


def _bundled(trees: Trees) -> Iterable[BaseBlob]:
    # What it was itself made on was there before it.
    yield from trees.said.base.blobs if trees.said.base else ()
    for image in trees.said.images:
        below = trees.below(image).items()
        yield from (BaseBlob(digest, size, image.name) for digest, size in below if digest in trees.sizes)


def _sorted(blobs: Iterable[BaseBlob]) -> tuple[BaseBlob, ...]:
    """Return each once, by the first of its images."""
    found: dict[Digest, BaseBlob] = {}
    for blob in sorted(blobs):
        found.setdefault(blob.digest, blob)
    return tuple(found.values())
