"""``transship bundle load``: all images of bundles to a registry, a layout or an engine; verified before and after."""

import argparse
import hashlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transship.pipeline.batch import RegistrySettings
from transship.pipeline.bundle.loading import load_batch
from transship.pipeline.bundle.verify import refuse_damaged, verify_bundle
from transship.pipeline.cli.run import Work, stamped, work_on
from transship.pipeline.cli.trust_options import guard_of
from transship.pipeline.errors import ContentError, UsageError, shown
from transship.pipeline.jobs import Plan
from transship.pipeline.planning import plan_batch
from transship.pipeline.report import fold
from transship.pipeline.transports.bundle_file import BundleFile
from transship.pipeline.transports.volumes import stem_of

if TYPE_CHECKING:
    from transship.pipeline.trust.guard import Guard


def perform(options: argparse.Namespace) -> int:
    """Load them; return 0 where every image is verified, 1 where something is damaged or failed."""
    options.scheduler = ""
    paths = [stem_of(Path(name).absolute()) for name in options.bundles]
    found = [(path, _verified(path)) for path in paths]
    name = options.name or f"{paths[0].name}-load"
    digest = hashlib.sha256(options.to.encode())
    for path, said in found:
        digest.update(f"\n{path}\n".encode() + said.raw())
    root = (Path(options.runs) / name).resolve()
    code = work_on(options, Work(paths[0], digest.hexdigest(), root, partial(_planned, found=found, name=name)))
    if not options.dry_run:
        _tell(root, dict(found))
    return code


def _verified(path: Path) -> BundleFile:
    """Return what a bundle says, once all of it was read and is sound."""
    found = verify_bundle(path)
    refuse_damaged(found, path)
    if found.said is None:
        raise ContentError(f"{path}: holds no bundle")
    if found.said.base is not None:
        raise UsageError(f"{path}: leaves out what its base brought", advice="use a whole bundle")
    return found.said


def _planned(
    options: argparse.Namespace, _path: Path, digest: str, *, found: list[tuple[Path, BundleFile]], name: str
) -> "tuple[Plan, Guard]":
    settings = RegistrySettings(options.tls_verify, None, options.authfile, options.cert_dir)
    batch = load_batch(found, options.to, name, settings)
    guard = guard_of(options, batch.policy, required=batch.require_signed)
    return plan_batch(batch, stamped(digest, guard), guard), guard


def _tell(root: Path, bundles: dict[Path, BundleFile]) -> None:
    """Print the old reference of each image and its new one."""
    from transship.pipeline.plan_file import read_plan  # noqa: PLC0415 - after the work

    plan = read_plan(root)
    old = {f"bundle:{path}:{image.name}": image.source for path, said in bundles.items() for image in said.images}
    for line in fold(root, plan) if plan else ():
        if line.state == "verified":
            print(f"{shown(old.get(line.source, line.source))} -> {shown(line.destination)}")
