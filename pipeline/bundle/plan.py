"""From a lock to the plan of a bundle: each image under a name of its own, all of them one delivery. Pure."""

import re
from dataclasses import replace
from pathlib import Path

from transship.pipeline.batch import Batch, Destination, Job
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.jobs import Plan
from transship.pipeline.manifest.document import Object, dump_lines
from transship.pipeline.reference import (
    BUNDLE,
    BUNDLE_NAME,
    DaemonReference,
    PathReference,
    Reference,
    StorageReference,
    TarballReference,
)
from transship.pipeline.transports.bundle import Packing
from transship.pipeline.transports.bundle_file import Base
from transship.pipeline.transports.volumes import MAX_VOLUMES


def bundle_batch(batch: Batch, path: Path, base: Base | None = None) -> Batch:
    """Return ``batch`` with the bundle at ``path``, made on ``base``, for the one destination of every image.

    Raises:
        UsageError: an image has no name that a bundle could have, or two have the same one.
    """
    names: dict[str, str] = {}
    jobs = []
    for job in batch.jobs:
        name, source = name_of(job.source), str(job.source)
        if name in names:
            raise UsageError(
                f"{shown(source)}: would be called {name} in the bundle, as {shown(names[name])} is",
                advice="name one image once, or make two bundles",
            )
        names[name] = source
        # What is packed anew or encrypted is made of layers that the base need not have.
        since = str(base.digest) if base and _keeps_layers(job) else ""
        goes = (Destination(PathReference(BUNDLE, str(path), name)),)
        jobs.append(replace(job, destinations=goes, since=since))
    return replace(batch, jobs=tuple(jobs))


def _keeps_layers(job: Job) -> bool:
    return job.wish.layers == "keep" and not job.wish.encrypt and not job.wish.decrypt


def refuse_many_volumes(batch: Batch, packing: Packing, base: Base | None = None) -> None:
    """Raise `UsageError` where a batch that is locked fills more volumes than there may be: before all is fetched.

    Goes by what is known then: the blobs of images that are kept as they are, of a bundle that zstd does not pack.
    """
    if not packing.split or packing.zstd:
        return
    kept = (job.resolved.blobs for job in batch.jobs if job.resolved and _keeps_layers(job))
    sizes = {digest: size for blobs in kept for digest, size in blobs.items()}
    left = {blob.digest for blob in base.blobs} if base else set()
    total = sum(size for digest, size in sizes.items() if digest not in left)
    if total > MAX_VOLUMES * packing.split:
        raise UsageError(
            f"--split: {total} bytes make more than {MAX_VOLUMES} volumes of {packing.split} bytes",
            advice=f"say at least --split {-(-total // MAX_VOLUMES)}",
        )


def name_of(source: Reference) -> str:
    """Return the name of an image in a bundle: ``registry/repository:tag``, or @digest; its own where it is local.

    Raises:
        UsageError: it has none that a bundle could have.
    """
    name = _named(source)
    if not re.fullmatch(BUNDLE_NAME, name):
        raise UsageError(
            f"{shown(str(source))}: {shown(name)!r} is no name for an image in a bundle", advice="name the image"
        )
    return name


def _named(source: Reference) -> str:
    if isinstance(source, PathReference):
        return source.name or Path(source.path).name + (f"@{source.index}" if source.index is not None else "")
    if isinstance(source, TarballReference):
        return Path(source.paths[0]).name
    if isinstance(source, DaemonReference | StorageReference):
        if source.named is None:
            return source.name.rpartition(":")[2] or str(source).rpartition("@")[2]
        source = source.named
    assert isinstance(source, DockerReference)
    tag = f":{source.tag}" if source.tag else ""
    return source.name + (f"@{source.digest}" if source.digest else tag)


def bundle_plan(plan: Plan, lock: Object, packing: Packing, base: Base | None = None) -> Plan:
    """Return the plan of a bundle: that of a `bundle_batch`, and what decides its bytes besides."""
    said: dict[str, Object] = {"lock": lock, **({"base": base.document()} if base else {})}
    texts = {key: str(Digest.of(dump_lines(value))) for key, value in said.items()}
    packing = packing._replace(lock=texts["lock"], base=texts.get("base", ""))
    made = [replace(delivery, packing=packing.to_text()) for delivery in plan.deliveries.values()]
    return replace(plan, deliveries={delivery.key: delivery for delivery in made}, bundle=dict(said))
