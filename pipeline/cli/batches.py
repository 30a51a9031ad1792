"""Batch files and locks, read where registries can be asked; and a lock made of a batch."""

import argparse
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from transship.pipeline.batch import Batch, Expanded, ListTags, RegistrySettings, expand_batch
from transship.pipeline.batch.lock import find_lock, read_lock
from transship.pipeline.batch.reading import Document
from transship.pipeline.batch.resolved import Resolved
from transship.pipeline.cli.connect import connect, plan_settings
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.durable import scratch_folder
from transship.pipeline.errors import Error, TransportError
from transship.pipeline.image_job import ImageJob
from transship.pipeline.locking import lock_document, resolve_image
from transship.pipeline.manifest.document import Object
from transship.pipeline.planning import access, image_job, plan_batch
from transship.pipeline.reference import parse_reference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.store import Store
from transship.pipeline.transports import open_source

_AT_ONCE: Final = 16
"""Images that are asked for at a time; a registry is asked less, as its settings say."""


class Fault(NamedTuple):
    """Why a source cannot be locked."""

    source: str
    error: Error

    def __str__(self) -> str:
        return f"{self.source}: {self.error}"


def listing(options: argparse.Namespace) -> ListTags:
    """Return what lists the tags of a repository, as a batch file says how to reach its registry."""

    def tags(reference: DockerReference, settings: Mapping[str, RegistrySettings]) -> list[str]:
        with _connected(options, settings) as registries:
            client, there = registries.home(reference)
            return list(client.list_tags(there.repository))

    return tags


def _connected(options: argparse.Namespace, settings: Mapping[str, RegistrySettings]) -> Registries:
    return connect(options, settings=plan_settings({host: access(found) for host, found in settings.items()}))


def locked(options: argparse.Namespace, path: Path) -> tuple[Object, Batch]:
    """Return the lock at ``path``, or one made now of the batch there, and the batch that it is.

    The batch has what was resolved in each of its jobs; they may be without destinations. It is the same one whether
    the lock was there or is made, and so is the lock where it lies beside its batch file.

    Raises:
        UsageError: neither is there, or it is malformed.
        TransportError: something cannot be resolved; names the first, and how many there are.
    """
    document = find_lock(path)
    if document is not None:
        return document.value, read_lock(document, aimless=True)
    expanded = expand_batch(path, listing(options), aimless=True)
    found = resolve_all(options, expanded)
    faults = [one for one in found if isinstance(one, Fault)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise TransportError(f"{faults[0].source}: {faults[0].error.message}{more}", advice=faults[0].error.advice)
    made = lock_document(expanded, [one for one in found if isinstance(one, Resolved)], path.absolute().parent)
    # Whatever may be wrong with it stands in no line.
    return made, read_lock(Document(path, made, {(): 1}), aimless=True)


def resolve_all(options: argparse.Namespace, expanded: Expanded) -> Sequence[Resolved | Fault]:
    """Return what each job of a batch names now, or why that cannot be said, in their order.

    Raises:
        UsageError: a destination cannot hold what is asked for.
        TransportError: the disk refused.
    """
    plan_batch(expanded.batch, "")
    jobs = [image_job(job) for job in expanded.batch.jobs]
    near = Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - as copies do
    with scratch_folder(near) as scratch, _connected(options, expanded.batch.registries) as registries:
        store = Store(scratch, durable=False)
        pool = ThreadPoolExecutor(_AT_ONCE, "lock")
        try:
            return list(pool.map(lambda job: _resolved(registries, store, job), jobs))
        finally:
            store.cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _resolved(registries: Registries, store: Store, job: ImageJob) -> Resolved | Fault:
    try:
        with closing(open_source(parse_reference(job.source), registries)) as source:
            return resolve_image(source, store, job)
    except Error as error:
        return Fault(job.source, error)
