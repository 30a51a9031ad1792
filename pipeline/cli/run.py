"""``transship run``: the main job."""

import argparse
import ctypes
import hashlib
import json
import os
import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from transship.pipeline.cli.limits import allow_files
from transship.pipeline.cli.progress import Progress, make_progress
from transship.pipeline.cli.trust_options import enforcing, guard_of
from transship.pipeline.errors import LONGEST_LINE, UsageError, shown
from transship.pipeline.jobs import Plan
from transship.pipeline.manifest.document import dump
from transship.pipeline.reference import LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from transship.pipeline.registry.registries import Registries
    from transship.pipeline.trust.guard import Guard
    from transship.pipeline.trust.sigstore.session import Session
    from transship.tasks.run import OnDelivery, Outcome
    from transship.tasks.workspace import Connect, Workspace

_SHOWN_FAILURES: Final = 20
_IMAGES_PER_PROCESS: Final = 32
"""A second process costs what 32 tiny images do, and hashes again what its images share with those of the first."""
_FILES_BESIDES: Final = 16
_FILES_PER_BLOB: Final = 2
_FILES_PER_IMAGE: Final = 3
"""Descriptors: of a process, of a large blob (connection and file), of an image (a folder or connection besides)."""
_M_ARENA_MAX: Final = -8
VERIFIED: Final = "VerifyDigests"
"""The task whose checkpoint says that a delivery was read back."""
Expand: TypeAlias = "Callable[[argparse.Namespace, Path, str], tuple[Plan, Guard]]"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def perform(options: argparse.Namespace) -> int:
    """Run the batch; return 0 where every image is verified, 1 where some failed."""
    # Luigi costs 0.2 s to import, which a wrong batch file should not.
    path = Path(options.batch)
    raw = read_file(path)
    digest = hashlib.sha256(raw + str(path.resolve().parent).encode()).hexdigest()
    name = options.name or name_of(path, raw)
    root = (Path(options.runs) / name).resolve()
    if options.scheduler and (options.refresh or options.fail_fast):
        raise UsageError(
            "--scheduler goes with neither --refresh nor --fail-fast", advice="refresh on one machine first"
        )
    return work_on(options, Work(path, digest, root))


def expanded(options: argparse.Namespace, path: Path, digest: str) -> "tuple[Plan, Guard]":
    """Return the plan that a batch file or a lock is, by ``digest``, and the policy that holds.

    Raises:
        UsageError: it is malformed, or asks for what cannot be.
        TransportError: the tags of a repository could not be read.
    """
    from transship.pipeline.batch import read_batch  # noqa: PLC0415
    from transship.pipeline.cli.batches import listing  # noqa: PLC0415
    from transship.pipeline.planning import plan_batch  # noqa: PLC0415

    batch = read_batch(path, listing(options))
    if options.refresh and any(job.resolved for job in batch.jobs):
        raise UsageError(f"--refresh: {path} is a lock, which says what its tags mean", advice="make it again")
    guard = guard_of(options, batch.policy, required=batch.require_signed)
    plan = plan_batch(batch, stamped(digest, guard), guard)
    check_keys(plan)
    return plan, guard


class Work(NamedTuple):
    """What to do: the file at ``path``, the ``digest`` that tells one wish from another, the run folder ``root``.

    ``expand`` makes the plan; ``prepare`` gets the run folder before anything is done.
    """

    path: Path
    digest: str
    root: Path
    expand: Expand = expanded
    prepare: "Callable[[Workspace], object]" = lambda _: None


def work_on(options: argparse.Namespace, work: Work) -> int:
    """Do it, or go on with it; return the exit code, once what came of it is printed."""
    if options.dry_run:
        print(json.dumps(work.expand(options, work.path, work.digest)[0].document(), indent=2))
        return 0
    from transship.pipeline.durable import write_durably  # noqa: PLC0415
    from transship.pipeline.report import report  # noqa: PLC0415
    from transship.tasks.lock import locked, planning  # noqa: PLC0415
    from transship.tasks.workspace import Workspace  # noqa: PLC0415

    set_limits()
    shared, root = bool(options.scheduler), work.root
    if not shared:
        plan, guard, fresh = _plan(options, work)
    with locked(root, shared=shared):
        if shared:
            with planning(root):
                plan, guard, fresh = _plan(options, work)
                _refuse_local(plan)
                _save(root, plan, fresh=fresh)
        else:
            _save(root, plan, fresh=fresh)
        progress = make_progress(options.progress, plan.written)
        reach = _connect(options, plan)
        workspace = Workspace(
            root, plan, reach, blob_threads(), progress.bytes, enforce=enforcing(guard), session=_session(plan)
        )
        try:
            work.prepare(workspace)
            outcome = _work(options, workspace, progress)
        except BaseException:
            # Nothing is left to the end of the process, which takes no bars off the terminal.
            workspace.stop()
            progress.close()
            raise
        workspace.close()
        progress.close()
        if outcome.ran or not (root / "report.json").exists():
            write_durably(root / "report.json", dump(report(root, plan, outcome.unkept)))
    return conclude(root, plan, outcome)


def _plan(options: argparse.Namespace, work: Work) -> "tuple[Plan, Guard, bool]":
    """Return the plan, the policy that holds, and whether the plan was made anew."""
    from transship.pipeline.plan_file import read_plan  # noqa: PLC0415

    before = read_plan(work.root)
    # Selectors pin too: the plan is made anew only when the batch file or the policy changed, or on request.
    if before is not None and before.batch_digest.startswith(work.digest) and not options.refresh:
        guard = guard_of(options, before.batch_policy, required=before.batch_require_signed)
        if before.batch_digest == stamped(work.digest, guard):
            return replace(before, policy=guard.name), guard, False
    return *work.expand(options, work.path, work.digest), True


def _session(plan: Plan) -> "Session | None":
    """Return what signs by sigstore, None where nothing is signed."""
    if not any(member.signing for delivery in plan.deliveries.values() for member in delivery.members):
        return None
    from transship.pipeline.trust.sigstore.session import Session  # noqa: PLC0415

    return Session(os.environ)


def stamped(digest: str, guard: "Guard") -> str:
    """Return ``digest`` with what of the policy decides whether a plan still holds."""
    return f"{digest}-{guard.fingerprint}" if guard.fingerprint else digest


def _refuse_local(plan: Plan) -> None:
    """Raise `UsageError` where a run that machines share names images that each has of its own."""
    ends = [job.source for job in plan.images.values()] + [f"{found.transport}:" for found in plan.deliveries.values()]
    for end in ends:
        if end.partition(":")[0] in LOCAL:
            raise UsageError(
                f"--scheduler: {end} is another image on each machine", advice="run that without --scheduler"
            )


def _save(root: Path, plan: Plan, *, fresh: bool) -> None:
    from transship.pipeline.plan_file import save_plan  # noqa: PLC0415

    if fresh:
        save_plan(root, plan)


def _work(options: argparse.Namespace, workspace: "Workspace", progress: Progress) -> "Outcome":
    from transship.tasks.run import execute, join, refresh  # noqa: PLC0415

    plan = workspace.plan
    threads, wanted = workers(options.workers), options.processes
    heard = announce(plan, progress)
    if options.scheduler:
        shared = processes_for(plan, wanted or _cores())
        return join(workspace, threads, heard, url=options.scheduler, processes=shared)
    if options.refresh:
        print(f"{refresh(workspace)} images changed at their source", file=sys.stderr)
    processes = processes_for(plan, wanted)
    return execute(workspace, threads, heard, processes=processes, fail_fast=options.fail_fast)


def workers(wanted: int = 0) -> int:
    """Return how many images to work on at once: ``wanted``, or by the cores where that is 0; fewer if files are few.

    Most of the work waits for the network or the disk. Half of the files that this process may have open are for
    that, the other half for connections that wait to be used again (`registry.connection.Pool`).
    """
    threads = wanted or max(4, min(32, 3 * _cores()))
    most = os.sysconf("SC_OPEN_MAX")
    if most < 0:
        return threads
    left = most // 2 - _FILES_BESIDES - _FILES_PER_BLOB * blob_threads()
    return max(1, min(threads, left // _FILES_PER_IMAGE))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_for(plan: Plan, wanted: int) -> int:
    """Return how many processes may share the work: ``wanted``, or as many as are worth it where that is 0.

    Each needs a connection to every registry.
    """
    from transship.pipeline.registry.settings import HostSettings  # noqa: PLC0415

    connections = [access.concurrency for access in plan.registries.values()]
    wanted = wanted or max(1, min(_cores(), len(plan.images) // _IMAGES_PER_PROCESS))
    return min([wanted, HostSettings().concurrency, *connections])


def _connect(options: argparse.Namespace, plan: Plan) -> "Connect":
    from transship.pipeline.cli.connect import configured, connect, plan_settings  # noqa: PLC0415
    from transship.pipeline.registry.settings import HostSettings  # noqa: PLC0415

    ends = [job.source.partition(":")[0] for job in plan.images.values()]
    if "docker" in {*ends, *(delivery.transport for delivery in plan.deliveries.values())}:
        # Before any image is begun, and for all processes.
        configured(options)

    def connections(processes: int) -> "Registries":
        shares = {
            host: replace(access, concurrency=access.concurrency // processes)
            for host, access in plan.registries.items()
        }
        usual = HostSettings(concurrency=max(1, HostSettings().concurrency // processes))
        return connect(options, usual, plan_settings(shares))

    return connections


def blob_threads() -> int:
    """Return how many large blobs a process works on at once."""
    return max(4, min(32, 2 * _cores()))


def set_limits() -> None:
    """Let this process have as many open files as it may, which `workers` goes by; and two heaps.

    glibc gives each thread a heap of its own, and none gives back what it once grew to.
    """
    allow_files()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def announce(plan: Plan, progress: Progress) -> "OnDelivery":
    """Return what tells ``progress`` of each delivery that is settled."""

    def heard(key: str, verified: bool) -> None:
        delivery = plan.deliveries.get(key)
        if delivery:
            progress.delivery(delivery.reference(delivery.members[0]), len(delivery.members), verified)

    return heard


def conclude(root: Path, plan: Plan, outcome: "Outcome") -> int:
    """Print what came of the run, failures by name; return the exit code."""
    from transship.pipeline.report import fold  # noqa: PLC0415

    seconds, succeeded = outcome.seconds, outcome.succeeded
    wanted = not succeeded or any(job.referrers for job in plan.images.values())
    lines = list(fold(root, plan, outcome.unkept)) if wanted else []
    left = sum(len(line.hanging.left) for line in lines if line.hanging)
    if left:
        print(f"{left} referrers left behind: transship report {root}", file=sys.stderr)
    if succeeded:
        print(f"{plan.written} images verified in {seconds:.1f} s; report: {root / 'report.json'}")
        return 0
    bad = [line for line in lines if line.state != "verified"]
    for line in bad[:_SHOWN_FAILURES]:
        retry = " (may pass: run again)" if line.retriable else ""
        why = shown(line.error, LONGEST_LINE) or "not done"
        print(f"{line.source} -> {line.destination}: {why}{retry}", file=sys.stderr)
    if len(bad) > _SHOWN_FAILURES:
        print(f"... and {len(bad) - _SHOWN_FAILURES} more: transship report {root}", file=sys.stderr)
    print(
        f"{len(lines) - len(bad)} images verified, {len(bad)} not, in {seconds:.1f} s; report: {root / 'report.json'}"
    )
    return 1


def check_keys(plan: Plan) -> None:
    """Raise `UsageError` where a key that the batch names cannot be read: else that came out once all was fetched."""
    shapes = (member.shape for delivery in plan.deliveries.values() for member in delivery.members)
    wanted = {(shape.encrypt, shape.decrypt) for shape in shapes if shape.encrypt or shape.decrypt}
    for encrypt, decrypt in wanted:
        from transship.pipeline.trust.encryption.loading import loaded  # noqa: PLC0415 - few batches have keys

        loaded(encrypt, decrypt)


def read_file(path: Path) -> bytes:
    """Return the bytes of a batch file or lock; raises `UsageError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", advice="name a batch file") from error


def name_of(path: Path, raw: bytes) -> str:
    """Return the name of a batch file or lock; raises `UsageError` where it is not fit for a folder."""
    found = re.search(rb"^name:\s*[\"']?([^\s\"'#]+)", raw, re.MULTILINE)
    name = found[1].decode("utf-8", "replace") if found else _name_in(raw) or path.stem
    if not _NAME.fullmatch(name):
        raise UsageError(f"{path}: name {name!r} is not fit for a folder", advice="use letters, digits, . _ -")
    return name


def _name_in(raw: bytes) -> str:
    """Return the name in a batch file that is JSON, or in a lock; empty where there is none."""
    try:
        found = json.loads(raw) if raw.lstrip().startswith(b"{") else {}
        return str(found.get("name", ""))
    except (ValueError, RecursionError):
        return ""
