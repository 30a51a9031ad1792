"""One run of a run folder: lock it, drive the tasks, keep what failed and why."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from luigi.task import Task

from transship.pipeline.disk import at_disk, sweep_folder, write_durably
from transship.pipeline.errors import ConflictError, Error
from transship.pipeline.jobs import ImageJob
from transship.pipeline.report import CHECKPOINTS, ERROR
from transship.tasks.engine import drive
from transship.tasks.image import FetchManifest, VerifyDigests, WriteImage
from transship.tasks.workspace import Workspace, descriptor

OnDelivery: TypeAlias = Callable[[str, bool], None]
"""Hears of each delivery that is settled: its key, and whether it is verified."""
_LOCK: Final = "lock"


@dataclass(slots=True)
class Outcome:
    """What one run came to; ``failures`` maps the key of an image or delivery to what it raised."""

    ran: int = 0
    failures: dict[str, BaseException] = field(default_factory=dict)
    succeeded: bool = True
    seconds: float = 0.0


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the run folder for this process, making it if need be.

    Raises:
        ConflictError: another process holds it.
    """
    with at_disk(root):
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 64).decode("ascii", "replace").strip()
            raise ConflictError(
                f"run folder {root} is in use by process {holder or 'unknown'}",
                advice="wait for it, or see where it stands with: transship status",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def execute(workspace: Workspace, threads: int, on_delivery: OnDelivery, *, fail_fast: bool = False) -> Outcome:
    """Run every delivery of the plan that is not verified; return what came of it, durable if all succeeded."""
    outcome = Outcome()
    begun = time.monotonic()

    def on_end(task: Task, error: BaseException | None) -> None:
        outcome.ran += 1
        key = getattr(task, "image", "") or getattr(task, "delivery", "")
        if error is not None:
            outcome.failures[key] = error
            _keep_error(workspace, key, type(task).__name__, error)
        elif isinstance(task, FetchManifest | WriteImage):
            _clear_error(workspace, key)
        if isinstance(task, VerifyDigests):
            on_delivery(key, error is None and bool(task.complete()))

    outcome.succeeded = drive(_roots(workspace, on_delivery), threads, on_end, fail_fast=fail_fast)
    if outcome.ran:
        workspace.sync()
        _sweep_layouts(workspace)
    outcome.seconds = time.monotonic() - begun
    return outcome


def refresh(workspace: Workspace) -> int:
    """Ask every reference again and forget what was done for images that changed; return how many did.

    A reference that cannot be read now keeps its pin: what was copied stays good.
    """
    changed = set()
    for key, job in workspace.plan.images.items():
        done = workspace.checkpoint(key, FetchManifest.__name__).read()
        if done is not None and _moved(workspace, job, str(descriptor(done["root"]).digest)):
            changed.add(key)
    for key in changed:
        _forget(workspace, key)
    for key, delivery in workspace.plan.deliveries.items():
        if any(member.image in changed for member in delivery.members):
            _forget(workspace, key)
    return len(changed)


def _roots(workspace: Workspace, on_delivery: OnDelivery) -> Iterator[Task]:
    for key in workspace.plan.deliveries:
        task = VerifyDigests(run_dir=str(workspace.root), delivery=key)
        if task.complete():
            on_delivery(key, True)
        else:
            yield task


def _sweep_layouts(workspace: Workspace) -> None:
    """Remove what killed runs left in layouts; a folder or archive is swept when it is written."""
    layouts = {delivery.path for delivery in workspace.plan.deliveries.values() if delivery.transport == "oci"}
    for layout in map(Path, layouts):
        for folder in (layout, *layout.glob("blobs/*")):
            sweep_folder(folder)


def _moved(workspace: Workspace, job: ImageJob, pinned: str) -> bool:
    with suppress(Error):
        source = workspace.source(job.source)
        try:
            return str(source.manifest().digest) != pinned
        finally:
            source.close()
    return False


def _forget(workspace: Workspace, key: str) -> None:
    folder = workspace.root / CHECKPOINTS / key
    if folder.is_dir():
        for path in folder.iterdir():
            # By its target, which also forgets what this process has read of it.
            if path.suffix == ".json":
                workspace.checkpoint(key, "", path.stem).remove()
            else:
                path.unlink()


def _keep_error(workspace: Workspace, key: str, task: str, error: BaseException) -> None:
    folder = workspace.root / CHECKPOINTS / key
    document = {
        "version": 1,
        "task": task,
        "kind": type(error).__name__,
        "message": str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}",
        "retriable": isinstance(error, Error) and error.retriable,
    }
    with suppress(OSError, Error):
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / ERROR, json.dumps(document).encode(), durable=False)


def _clear_error(workspace: Workspace, key: str) -> None:
    (workspace.root / CHECKPOINTS / key / ERROR).unlink(missing_ok=True)
