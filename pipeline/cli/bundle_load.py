"""``transship bundle load``: all images of bundles to a registry, a layout or an engine; verified before and after."""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transship.pipeline.batch import RegistrySettings
from transship.pipeline.bundle.loading import load_batch, placing
from transship.pipeline.bundle.opened import opened
from transship.pipeline.bundle.receiver import needs, take
from transship.pipeline.bundle.verify import refuse_damaged, verify_bundle
from transship.pipeline.cli.bundle_keys import vouching
from transship.pipeline.cli.run import VERIFIED, Work, stamped, work_on
from transship.pipeline.cli.trust_options import guard_of
from transship.pipeline.errors import ContentError, UsageError, shown
from transship.pipeline.jobs import Plan
from transship.pipeline.planning import plan_batch
from transship.pipeline.report import fold
from transship.pipeline.transports import Pushing
from transship.pipeline.transports.bundle_file import BundleFile
from transship.pipeline.transports.checksums import Checksums, bundles_named

if TYPE_CHECKING:
    from transship.pipeline.trust.guard import Guard
    from transship.tasks.workspace import Workspace


def perform(options: argparse.Namespace) -> int:
    """Load them; return 0 where every image is verified, 1 where something is damaged or failed."""
    found = bundles_of(options)
    for path, said in found:
        if said.base is not None:
            raise UsageError(f"{path}: leaves out what its base brought", advice="say transship bundle apply")
    return load(options, Loading(found))


class Loading(NamedTuple):
    """Bundles to load, and others that what these leave out is read from."""

    bundles: Sequence[tuple[Path, BundleFile]]
    bases: Sequence[Path] = ()

    @property
    def name(self) -> str:
        """The name of the run."""
        return f"{self.bundles[0][0].name}-load"

    def digest(self, to: str) -> str:
        """Return what tells this wish from others."""
        hasher = hashlib.sha256(to.encode())
        for path, said in self.bundles:
            hasher.update(f"\n{path}\n".encode() + said.raw())
        hasher.update("".join(f"\n{path}" for path in self.bases).encode())
        return hasher.hexdigest()


def bundles_of(options: argparse.Namespace, bases: Sequence[Path] = ()) -> list[tuple[Path, BundleFile]]:
    """Return what the bundles say, once all of each was read and is sound.

    Of ``bases``, which are read by what these say of them, the signature alone is asked for, where one is wanted.

    Raises:
        RefusedError: one is not signed, and is to be.
        ContentError: one is damaged.
    """
    paths = bundles_named(Path(name).absolute() for name in options.bundles)
    with vouching(options) as vouched:
        said = {path: vouched(path) for path in (*paths, *bases)}
    return [(path, _verified(path, said[path])) for path in paths]


def load(options: argparse.Namespace, loading: Loading) -> int:
    """Do it as a run; return its exit code, once the old and new references are printed."""
    options.scheduler = ""
    name = options.name or loading.name
    root = (Path(options.runs) / name).resolve()
    expand = partial(_planned, loading=loading, name=name)
    prepare = partial(_take_bases, options.to, loading)
    work = Work(loading.bundles[0][0], loading.digest(options.to), root, expand, prepare)
    code = work_on(options, work)
    if not options.dry_run:
        _tell(root, dict(loading.bundles))
    return code


def _verified(path: Path, said: Checksums | None) -> BundleFile:
    found = verify_bundle(path, said)
    refuse_damaged(found, path)
    if found.said is None:
        raise ContentError(f"{path}: holds no bundle")
    return found.said


def _planned(
    options: argparse.Namespace, _path: Path, digest: str, *, loading: Loading, name: str
) -> "tuple[Plan, Guard]":
    settings = RegistrySettings(options.tls_verify, None, options.authfile, options.cert_dir)
    batch = load_batch(loading.bundles, options.to, name, settings, loading.bases)
    guard = guard_of(options, batch.policy, required=batch.require_signed)
    return plan_batch(batch, stamped(digest, guard), guard), guard


def _take_bases(to: str, loading: Loading, workspace: "Workspace") -> None:
    """Have all that the bases brought at the places of images that are still to be written, or refuse."""
    place, waiting = placing(to), set(_waiting(workspace))
    for path, said in loading.bundles:
        if said.base is None:
            continue
        with ExitStack() as stack:
            others = [one for one, _ in loading.bundles if one != path]
            left = said.lacks(stack.enter_context(opened(one)).said for one in (*others, *loading.bases))
            trees = stack.enter_context(opened(path))
            images = [image for image in said.images if f"bundle:{path}:{image.name}" in waiting]
            places = {image.name: place(image.name, image.digest) for image in images}
            # Whatever the digest: it is the repository that counts.
            base = {blob.image: place(blob.image, said.base.digest) for blob in left.values()}
            wanted = needs(trees, left, places, base)
        take(wanted, Pushing(workspace.targets), workspace.pool, said.base.digest)


def _waiting(workspace: "Workspace") -> Iterator[str]:
    plan = workspace.plan
    for key, delivery in plan.deliveries.items():
        if not workspace.checkpoint(key, VERIFIED).exists():
            yield from (plan.images[member.image].source for member in delivery.members)


def _tell(root: Path, bundles: dict[Path, BundleFile]) -> None:
    """Print the old reference of each image and its new one."""
    from transship.pipeline.plan_file import read_plan  # noqa: PLC0415 - after the work

    plan = read_plan(root)
    old = {f"bundle:{path}:{image.name}": image.source for path, said in bundles.items() for image in said.images}
    for line in fold(root, plan) if plan else ():
        if line.state == "verified":
            print(f"{shown(old.get(line.source, line.source))} -> {shown(line.destination)}")
