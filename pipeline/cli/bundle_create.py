"""``transship bundle create``: all images of a batch file or lock in one file, the same bytes every time."""

import argparse
import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transship.pipeline.batch.lock import find_lock
from transship.pipeline.bundle.plan import bundle_batch, bundle_plan, refuse_many_volumes
from transship.pipeline.bundle.since import base_of
from transship.pipeline.cli.batches import locked
from transship.pipeline.cli.bundle_keys import sign, signing
from transship.pipeline.cli.run import VERIFIED, Work, check_keys, name_of, read_file, stamped, work_on
from transship.pipeline.cli.trust_options import guard_of
from transship.pipeline.errors import Error, UsageError
from transship.pipeline.planning import plan_batch
from transship.pipeline.transports.bundle import Packing
from transship.pipeline.transports.bundle_file import Base
from transship.pipeline.transports.checksums import Checksums, read_checksums
from transship.pipeline.transports.volume_writer import refuse_unfit

if TYPE_CHECKING:
    from transship.pipeline.jobs import Plan
    from transship.pipeline.trust.guard import Guard
    from transship.tasks.workspace import Workspace

_SUFFIX = "-bundle"
"""Of the name of a run that makes a bundle, so that it is another one than that of the batch file itself."""


def perform(options: argparse.Namespace) -> int:
    """Make the bundle, or go on with it, then sign it; return 0 where it is verified, 1 where something failed."""
    batch, output = Path(options.batch), Path(options.output).absolute()
    packing = Packing(options.split, output.name.endswith(".zst"))
    refuse_unfit(output, split=bool(packing.split))
    raw = read_file(batch)
    base = base_of(Path(options.since)) if options.since else None
    wish = f"{base.digest if base else ''}\n{batch.resolve().parent}\n{output}\n{packing.to_text()}"
    digest = hashlib.sha256(raw + wish.encode()).hexdigest()
    name = options.name or name_of(batch, raw) + _SUFFIX
    expand = partial(_expanded, output=output, packing=packing, base=base)
    making = _Making(output)
    work = Work(batch, digest, (Path(options.runs) / name).resolve(), expand, making.prepare)
    if options.dry_run:
        return work_on(options, work)
    with signing(options) as signers:
        code = work_on(options, work)
        if not code:
            made = read_checksums(output)
            total = sum(volume.size for volume in made.volumes)
            print(f"{output}: {total} bytes in {len(made.volumes)} file{'s' if len(made.volumes) > 1 else ''}")
            sign(output, signers, verified=making.verifies)
    return code


def _expanded(
    options: argparse.Namespace, path: Path, digest: str, *, output: Path, packing: Packing, base: Base | None
) -> "tuple[Plan, Guard]":
    if options.refresh and find_lock(path):
        raise UsageError(f"--refresh: {path} is a lock, which says what its tags mean", advice="make it again")
    lock, batch = locked(options, path)
    refuse_many_volumes(batch, packing, base)
    guard = guard_of(options, batch.policy, required=batch.require_signed)
    plan = bundle_plan(
        plan_batch(bundle_batch(batch, output, base), stamped(digest, guard), guard), lock, packing, base
    )
    check_keys(plan)
    return plan, guard


class _Making:
    """What the run finds at ``output``; `verifies` says whether it is the one to read the bundle back."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.verifies = False

    def prepare(self, workspace: "Workspace") -> None:
        """Let the bundle be written again where its files are gone, or others."""
        if not _in_place(self._output):
            for key in workspace.plan.deliveries:
                workspace.forget(key)
        self.verifies = not all(workspace.checkpoint(key, VERIFIED).exists() for key in workspace.plan.deliveries)


def _in_place(output: Path) -> bool:
    try:
        said: Checksums = read_checksums(output)
        return all(output.with_name(one.name).stat().st_size == one.size for one in said.volumes)
    except (Error, OSError):
        return False
