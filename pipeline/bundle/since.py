"""What a differential bundle may leave out: all that an older bundle, or the lock of one, says that was carried."""

from pathlib import Path

from transship.pipeline.batch.lock import find_lock, read_lock
from transship.pipeline.bundle.opened import opened
from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError
from transship.pipeline.transports.bundle_file import Base, BundledBlob


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
        jobs = read_lock(document, aimless=True).jobs
        found = {digest: part.size for job in jobs if job.resolved for digest, part in job.resolved.manifests.items()}
        found |= {digest: size for job in jobs if job.resolved for digest, size in job.resolved.blobs.items()}
        blobs = tuple(BundledBlob(*one) for one in sorted(found.items()))
        return Base(Digest.of(path.read_bytes()), blobs)
    if path.is_dir():
        raise UsageError(f"{path}: is a folder", advice="name the older bundle, or its lock")
    with opened(path) as trees:
        said = trees.said
    before = {*said.blobs, *(said.base.blobs if said.base else ())}
    return Base(Digest.of(said.raw()), tuple(sorted(before)))
