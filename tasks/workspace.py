"""One process's view of a run folder: the plan, the store, connections, threads for large blobs.

Tasks hold only keys; they find everything else here by the run folder's path.
"""

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from transship.pipeline.convert.shape import Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.image_job import ImageJob
from transship.pipeline.jobs import Plan
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.reference import PathReference, parse_reference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.report import CHECKPOINTS
from transship.pipeline.store import Store
from transship.pipeline.transport import Source
from transship.pipeline.transports import open_source, open_written
from transship.pipeline.transports.podman import storage_of
from transship.pipeline.tree import Selection
from transship.pipeline.trust.carrying import ANYTHING, Found, judge
from transship.pipeline.trust.policy import Enforcer
from transship.pipeline.verify import Seen
from transship.tasks.checkpoint import CheckpointTarget, Result

if TYPE_CHECKING:
    from transship.pipeline.transports.bundle_file import Base
    from transship.pipeline.trust.sigstore.session import Session

Enforce: TypeAlias = "Callable[[], Enforcer | None]"
OnBytes: TypeAlias = Callable[[Descriptor, int], None]
Connect: TypeAlias = Callable[[int], Registries]
"""Makes the connections of one of so many processes that share what a registry allows."""
_open: "dict[str, Workspace]" = {}


class Workspace:
    """The open run folder; made once a process and run, found again by `Workspace.of`."""

    def __init__(
        self,
        root: Path,
        plan: Plan,
        connect: Connect,
        blob_threads: int,
        on_bytes: OnBytes,
        *,
        processes: int = 1,
        targets: Connect | None = None,
        enforce: Enforce = lambda: None,
        session: "Session | None" = None,
    ) -> None:
        """``targets`` makes connections to destinations where they are not those to sources.

        ``enforce`` makes what judges images, once in each process. ``session`` is what signs by sigstore.
        """
        self.session = session
        self._enforce = enforce
        self._enforcer = enforce()
        self._opening = (root, plan, connect, blob_threads)
        self.root = root
        self.plan = plan
        self.shapes: dict[str, Shape] = {
            member.shape.key(): member.shape for delivery in plan.deliveries.values() for member in delivery.members
        }
        self.registries = connect(processes)
        self._targets = targets
        self.targets = targets(processes) if targets else self.registries
        self.store = Store(root)
        # A layer being packed takes up to 20 MiB: all processes together have no more of them than one would.
        self.pool = ThreadPoolExecutor(max(2, blob_threads // processes), "blob")
        self.seen = Seen()
        self.on_bytes = on_bytes
        self._checkpoints: dict[str, Result] = {}
        self._lock = threading.Lock()
        _open[str(root)] = self

    def sibling(self, on_bytes: OnBytes, processes: int) -> "Workspace":
        """Return the same run folder as one of ``processes`` forks opens it, with its own connections and threads."""
        session = self.session.anew() if self.session else None
        made = Workspace(
            *self._opening,
            on_bytes,
            processes=processes,
            targets=self._targets,
            enforce=self._enforce,
            session=session,
        )
        made.store.doubts = self.store.doubts.copy()
        return made

    @classmethod
    def of(cls, root: str) -> "Workspace":
        """Return the workspace that this process opened for the run folder ``root``."""
        return _open[root]

    @cached_property
    def base(self) -> "Base | None":
        """The base of the bundle that this run makes, if it makes one on a base."""
        found = Fields(self.plan.bundle, "plan").optional_object("base")
        if found is None:
            return None
        from transship.pipeline.transports.bundle_file import Base  # noqa: PLC0415 - few runs make bundles

        return Base.read(found)

    @cached_property
    def base_sizes(self) -> Mapping[Digest, int]:
        """What that base brought, and the bytes of each."""
        return {blob.digest: blob.size for blob in self.base.blobs} if self.base else {}

    def checkpoint(self, key: str, task: str, name: str = "") -> CheckpointTarget:
        """Return the target of ``task`` for the image or delivery ``key``; ``name`` tells several apart."""
        path = f"{self.root}/{CHECKPOINTS}/{key}/{name or task}.json"
        return CheckpointTarget(path, task, self._checkpoints)

    def forget(self, key: str, keep: str = "") -> None:
        """Let all that was done for an image or delivery be done again, but for the task ``keep``; idempotent."""
        folder = self.root / CHECKPOINTS / key
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.suffix != ".json":
                path.unlink(missing_ok=True)
            elif path.stem != keep:
                # By its target, which also forgets what this process has read of it.
                self.checkpoint(key, "", path.stem).remove()

    def source(self, job: ImageJob) -> Source:
        """Open the source of ``job`` for reading."""
        reference = parse_reference(job.reads)
        if job.base is not None and isinstance(reference, PathReference):
            from transship.pipeline.transports.bundle import BundleSource  # noqa: PLC0415 - few runs read bundles

            bases = [Path(base) for base in job.base]
            return BundleSource(Path(reference.path), reference.name, reference.index, bases=bases)
        return open_source(reference, self.registries)

    def written(self, reference: str) -> Source:
        """Open a destination for reading."""
        return open_written(parse_reference(reference), self.targets)

    def judge(self, reference: str, selection: Selection, signatures: Found) -> tuple[str, ...]:
        """Return whose signatures the policy accepts an image for.

        Raises:
            RefusedError: it does not let it pass.
        """
        if self._enforcer is None:
            return ()
        named = parse_reference(reference)
        at = named, storage_of(named, self._enforcer.policy)
        said = judge(self._enforcer, at, self.store, selection, signatures)
        return tuple(line for line in said if line != ANYTHING)

    def sync(self) -> None:
        """Make everything written so far durable, checkpoints too (sync(2))."""
        os.sync()

    def rest(self) -> None:
        """Close the connections that nobody uses just now: forks open their own, and hold open what they inherit."""
        self.registries.rest()
        self.targets.rest()

    def stop(self) -> None:
        """End what is under way, in two seconds: ingests keep what they have, uploads are cancelled."""
        self.store.cancelled.set()
        self.targets.stop()
        self.registries.close()
        self.forget_keys()

    def close(self) -> None:
        """End threads and connections; idempotent."""
        _open.pop(str(self.root), None)
        self.pool.shutdown(wait=True, cancel_futures=True)
        self.registries.close()
        self.targets.close()
        self.forget_keys()

    def forget_keys(self) -> None:
        """Remove the keys that the policy names from where they were put to be used; idempotent."""
        if self._enforcer is not None:
            self._enforcer.close()
        if self.session is not None:
            self.session.close()


def descriptor(document: object) -> Descriptor:
    """Return the descriptor of a checkpoint's object, which its schema has accepted."""
    if not isinstance(document, dict):
        raise ContentError("checkpoint: descriptor is not an object")
    return Descriptor(MediaType(document["mediaType"]), Digest.parse(document["digest"]), document["size"])
