"""One run of a run folder: drive the tasks, keep what failed and why."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from luigi.task import Task

from transship.pipeline.doubts import seal
from transship.pipeline.durable import sweep_folder, write_durably
from transship.pipeline.errors import Error, TransportError
from transship.pipeline.jobs import Delivery, ImageJob
from transship.pipeline.manifest.document import Object
from transship.pipeline.referrers import find
from transship.pipeline.report import CHECKPOINTS, ERROR
from transship.pipeline.transport import Source
from transship.tasks.checkpoint import Result
from transship.tasks.delivery import VerifyDigests, WriteImage
from transship.tasks.engine import drive
from transship.tasks.healing import heal
from transship.tasks.image import FetchManifest, ResolvePlatform
from transship.tasks.processes import Events, Teller, fan_out
from transship.tasks.segments import Drive, OnTask, reach, share
from transship.tasks.units import Unit, units
from transship.tasks.workspace import Workspace, descriptor

OnDelivery: TypeAlias = Callable[[str, bool], None]
"""Hears of each delivery that is settled: its key, and whether it is verified."""
OnUnkept: TypeAlias = Callable[[str, Object], None]
"""Hears why an image or delivery failed, by its key, where that could not be written down."""
_LOOKED_AT: Final = frozenset({"dir", "docker"})
_UNITS_PER_PROCESS: Final = 8
"""Images from which another process is worth what it takes to start."""


@dataclass(slots=True)
class Outcome:
    """What one run came to: how many tasks ran, and the ids of those that failed, or could not run for that.

    ``unkept`` says why images and deliveries failed, by key, where the disk had no room for that.
    """

    ran: int = 0
    failed: set[str] = field(default_factory=set)
    succeeded: bool = True
    seconds: float = 0.0
    unkept: dict[str, Object] = field(default_factory=dict)


class _Watch:
    """Hears of tasks as they end, in whichever process, and keeps on disk why they failed."""

    def __init__(self, workspace: Workspace, on_delivery: OnDelivery, on_task: OnTask, on_unkept: OnUnkept) -> None:
        self._workspace = workspace
        self._on_delivery = on_delivery
        self._on_task = on_task
        self._on_unkept = on_unkept

    def ended(self, task: Task, error: BaseException | None) -> None:
        """Take note of a task that was run, or that cannot be because another failed."""
        key = getattr(task, "image", "") or getattr(task, "delivery", "")
        if error is not None:
            why = _error(type(task).__name__, error)
            if not _kept(self._workspace, key, why):
                self._on_unkept(key, why)
        elif isinstance(task, FetchManifest | WriteImage):
            _clear_error(self._workspace, key)
        done = error is None and bool(task.complete())
        self._on_task(task.task_id, done)
        if isinstance(task, VerifyDigests):
            self._on_delivery(key, done)


@dataclass(slots=True)
class _Run:
    """One run as the first process sees it."""

    workspace: Workspace
    threads: int
    on_delivery: OnDelivery
    fail_fast: bool
    outcome: Outcome = field(default_factory=Outcome)
    verified: set[str] = field(default_factory=set)

    def pending(self, *, tell: bool = True) -> list[str]:
        """Return the deliveries that are not verified; ``tell`` of the others."""
        found = []
        for key in self.workspace.plan.deliveries:
            if self.workspace.checkpoint(key, VerifyDigests.__name__).exists():
                if tell:
                    self.on_delivery(key, True)
            else:
                found.append(key)
        return found

    def spread(self, work: list[Unit], processes: int) -> None:
        """Do all of ``work`` in forks of this process."""

        def live(numbers: Iterator[int], teller: Teller) -> None:
            own, driven = self._forked(teller, processes)
            root = str(own.root)
            left = (task for number in numbers for task in work[number].tasks(root) if not task.complete())
            try:
                driven(left, lambda *_: None)
            finally:
                own.forget_keys()

        self.workspace.rest()
        fan_out(len(work), processes, live, self._heard, self._stop_fork)

    def share(self, url: str, processes: int) -> None:
        """Work on the plan with all machines that ask the luigid at ``url``, in forks of this process."""
        plan = self.workspace.plan

        def live(_: Iterator[int], teller: Teller) -> None:
            own, driven = self._forked(teller, processes)
            try:
                share(own, f"{plan.name}-{plan.batch_digest[:8]}", url, driven)
            finally:
                own.forget_keys()

        self.workspace.rest()
        fan_out(0, processes, live, self._heard, self._stop_fork)

    def _stop_fork(self) -> None:
        # In a fork it is that fork's own.
        Workspace.of(str(self.workspace.root)).stop()

    def _forked(self, teller: Teller, processes: int) -> tuple[Workspace, Drive]:
        """Return the run folder as one of ``processes`` forks opens it, and what runs tasks there."""
        own = self.workspace.sibling(teller.bytes, processes)
        threads = -(-self.threads // processes)

        def driven(tasks: Iterable[Task], on_task: OnTask) -> bool:
            def ended(task_id: str, done: bool) -> None:
                teller.ended(task_id, done)
                on_task(task_id, done)

            watch = _Watch(own, teller.settled, ended, teller.unkept)
            return drive(tasks, threads, watch.ended, fail_fast=self.fail_fast)

        return own, driven

    def finish(self, pending: list[str]) -> None:
        """Do here what is left: all, or archives of several images and what a fork left that died."""
        # What a fork has verified is not read from the disk again.
        keys = (key for key in pending if key not in self.verified)
        roots = (VerifyDigests(run_dir=str(self.workspace.root), delivery=key) for key in keys)
        left = (task for task in roots if not task.complete())
        watch = _Watch(self.workspace, self.on_delivery, self._ended, self.outcome.unkept.__setitem__)
        failed = set(self.outcome.failed)
        succeeded = drive(left, self.threads, watch.ended, fail_fast=self.fail_fast, failed=failed)
        self.outcome.succeeded = self.outcome.succeeded and succeeded

    def _heard(self, events: Events) -> bool:
        for blob, count in events.bytes.values():
            self.workspace.on_bytes(blob, count)
        self.verified.update(key for key, verified in events.settled if verified)
        for key, verified in events.settled:
            self.on_delivery(key, verified)
        self.outcome.ran += events.ran
        self.outcome.failed.update(events.failed)
        self.outcome.unkept.update(events.unkept)
        self.outcome.succeeded = self.outcome.succeeded and not events.failed
        if events.error:
            raise TransportError(events.error)
        return self.outcome.succeeded or not self.fail_fast

    def _ended(self, task_id: str, done: bool) -> None:
        self.outcome.ran += 1
        if not done:
            self.outcome.failed.add(task_id)


def execute(
    workspace: Workspace, threads: int, on_delivery: OnDelivery, *, processes: int = 1, fail_fast: bool = False
) -> Outcome:
    """Run every delivery of the plan that is not verified; return what came of it, durable if all succeeded.

    ``threads`` images are worked on at once, by up to ``processes`` processes where there are enough images.
    """
    begun = time.monotonic()
    run = _Run(workspace, threads, on_delivery, fail_fast)
    heal(workspace, partial(run.pending, tell=False))
    pending = run.pending()
    work = units(workspace.plan, pending)
    processes = min(processes, threads, len(work) // _UNITS_PER_PROCESS)
    if processes > 1:
        run.spread(work, processes)
    if run.outcome.succeeded or not fail_fast:
        run.finish(pending)
    return _conclude(run, begun, sealing=True)


def join(workspace: Workspace, threads: int, on_delivery: OnDelivery, *, url: str, processes: int = 1) -> Outcome:
    """Do as `execute` does, together with all machines that ask the luigid at ``url``; ends as all of them do.

    Raises:
        TransportError: luigid cannot be reached.
    """
    begun = time.monotonic()
    reach(url)
    run = _Run(workspace, threads, on_delivery, fail_fast=False)
    if run.pending():
        run.share(url, min(processes, threads))
    outcome = _conclude(run, begun)
    done = (workspace.checkpoint(key, VerifyDigests.__name__).exists() for key in workspace.plan.deliveries)
    outcome.succeeded = all(done)
    return outcome


def _conclude(run: _Run, begun: float, *, sealing: bool = False) -> Outcome:
    workspace = run.workspace
    if run.outcome.ran:
        if sealing:
            seal(workspace.root)
        workspace.sync()
        _sweep_layouts(workspace)
    run.outcome.seconds = time.monotonic() - begun
    return run.outcome


def refresh(workspace: Workspace) -> int:
    """Ask every reference again and forget what was done for images that changed; return how many did.

    A reference that cannot be read now keeps its pin: what was copied stays good.
    """
    changed = set()
    for key, job in workspace.plan.images.items():
        done = workspace.checkpoint(key, FetchManifest.__name__).read()
        if done is not None and _moved(workspace, key, job, str(descriptor(done["root"]).digest)):
            changed.add(key)
    for key in changed:
        workspace.forget(key)
    for key, delivery in workspace.plan.deliveries.items():
        if any(member.image in changed for member in delivery.members):
            workspace.forget(key)
    return len(changed)


def forget_replaced(workspace: Workspace) -> int:
    """Forget what was written to folders and tags that hold another image now, or none; return how many there are."""
    lost = 0
    for key, delivery in workspace.plan.deliveries.items():
        done = workspace.checkpoint(key, VerifyDigests.__name__).read() if delivery.transport in _LOOKED_AT else None
        if done is not None and not _holds(workspace, delivery, done):
            workspace.forget(key)
            lost += 1
    return lost


def _holds(workspace: Workspace, delivery: Delivery, done: Result) -> bool:
    with suppress(Error):
        source = workspace.written(delivery.reference(delivery.members[0]))
        try:
            images = done["images"]
            found = images[0] if isinstance(images, list) else None
            return isinstance(found, dict) and str(source.manifest().digest) == found["digest"]
        finally:
            source.close()
    return False


def _sweep_layouts(workspace: Workspace) -> None:
    """Remove what killed runs left in layouts; a folder or archive is swept when it is written."""
    layouts = {delivery.path for delivery in workspace.plan.deliveries.values() if delivery.transport == "oci"}
    for layout in map(Path, layouts):
        for folder in (layout, *layout.glob("blobs/*")):
            sweep_folder(folder)


def _moved(workspace: Workspace, key: str, job: ImageJob, pinned: str) -> bool:
    with suppress(Error):
        source = workspace.source(job)
        try:
            return str(source.manifest().digest) != pinned or (job.referrers and _hang_anew(workspace, key, source))
        finally:
            source.close()
    return False


def _hang_anew(workspace: Workspace, key: str, source: Source) -> bool:
    """Say whether other things hang on the image than when it was resolved."""
    resolved = ResolvePlatform(run_dir=str(workspace.root), image=key)
    if not resolved.complete():
        return False
    now = find(source, workspace.store, resolved.selection(), workspace.pool)
    return now.to_document() != resolved.hanging().to_document()


def _error(task: str, error: BaseException) -> Object:
    return {
        "version": 1,
        "task": task,
        "kind": type(error).__name__,
        "message": str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}",
        "retriable": isinstance(error, Error) and error.retriable,
    }


def _kept(workspace: Workspace, key: str, why: Object) -> bool:
    folder = workspace.root / CHECKPOINTS / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / ERROR, json.dumps(why).encode(), durable=False)
    except (OSError, Error):
        # Most often for the very reason for which it failed: a disk that is full.
        return False
    return True


def _clear_error(workspace: Workspace, key: str) -> None:
    # What is done counts by its checkpoint, whatever it failed of before.
    with suppress(OSError):
        (workspace.root / CHECKPOINTS / key / ERROR).unlink(missing_ok=True)
