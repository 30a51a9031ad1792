"""The tasks of an image, from its reference to the form wanted; `delivery` has those of a destination.

Each makes one call into the library and leaves one checkpoint.

Parameters are identity only: the run folder and keys of its plan, never a secret.
"""

import time
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar, cast

import luigi

from transship.pipeline.compression.codecs import codec
from transship.pipeline.copy import Change, Crypted, convert, fetch_blobs
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.foreign import fetch_foreign
from transship.pipeline.jobs import ImageJob
from transship.pipeline.manifest.document import Json
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.referrers import Found, Place, fetch, fetch_named, find, sort_out
from transship.pipeline.resolve import fetch_manifest, resolve
from transship.pipeline.store import LostBlobError
from transship.pipeline.transport import Source
from transship.pipeline.tree import Selection, blobs, kept_layers
from transship.pipeline.trust.carrying import Found as Signatures
from transship.pipeline.trust.carrying import collect, from_document, to_document
from transship.pipeline.trust.encryption.loading import loaded
from transship.tasks.checkpoint import CheckpointTarget, Result
from transship.tasks.workspace import Workspace, descriptor

if TYPE_CHECKING:
    from transship.pipeline.transports.bundle import BundleSource


class Step(luigi.Task):
    """A task with one checkpoint under the key of an image or a delivery."""

    run_dir: str = luigi.Parameter()
    _params: ClassVar[dict[type, list[tuple[str, luigi.Parameter]]]] = {}

    @classmethod
    def get_params(cls) -> list[tuple[str, luigi.Parameter]]:
        """Return what Luigi finds by walking every attribute of the class, found once a class."""
        if cls not in cls._params:
            cls._params[cls] = super().get_params()  # type: ignore[no-untyped-call]
        return cls._params[cls]

    @property
    def workspace(self) -> Workspace:
        """The run folder, as this process has opened it."""
        return Workspace.of(self.run_dir)

    def output(self) -> CheckpointTarget:
        """The checkpoint of this task."""
        raise NotImplementedError

    def perform(self) -> Result:
        """Do the work, durable on return; return what the checkpoint keeps."""
        raise NotImplementedError

    def run(self) -> None:
        """Do the work, then say so on disk."""
        begun = time.monotonic()
        try:
            result = self.perform()
        except LostBlobError:
            _forget(self)
            raise
        self.output().write(result, time.monotonic() - begun)

    def result(self) -> Result:
        """Return the checkpoint's result; the task must be complete."""
        found = self.output().read()
        if found is None:
            raise ContentError(f"checkpoint {self.output().path} is gone", advice="run again")
        return found


class _ImageStep(Step):
    """A task about one image of the plan."""

    image: str = luigi.Parameter()

    @property
    def job(self) -> ImageJob:
        """The image's job in the plan."""
        return self.workspace.plan.images[self.image]

    def output(self) -> CheckpointTarget:
        """``checkpoints/<image key>/<task>.json``."""
        return self.workspace.checkpoint(self.image, self.task_family)


class FetchManifest(_ImageStep):
    """Pin the reference to a digest: from here on the tag no longer matters."""

    def perform(self) -> Result:
        """Bring the root manifest into the store."""
        source = self.workspace.source(self.job)
        try:
            root = fetch_manifest(source, self.workspace.store)
        finally:
            source.close()
        self.job.refuse_other(root.digest)
        return {"root": root.to_document()}


class ResolvePlatform(_ImageStep):
    """Choose the instances of an index, ask the policy, and find what hangs on the image."""

    def requires(self) -> FetchManifest:
        """The root manifest."""
        return FetchManifest(run_dir=self.run_dir, image=self.image)

    def perform(self) -> Result:
        """Bring the manifests of the instances into the store."""
        root = descriptor(self.requires().result()["root"])
        store = self.workspace.store
        source = self.workspace.source(self.job)
        try:
            selection = resolve(source, store, root, self.job.platforms)
            # Before a config or a layer is read.
            signatures = collect(source, store, selection, root.digest) if self.job.signatures else {}
            accepted = self.workspace.judge(self.job.source, selection, signatures)
            hanging: Result = {}
            if self.job.referrers:
                hanging = self._hanging(source, selection).to_document()
        finally:
            source.close()
        kept: Json = None if selection.kept is None else [str(digest) for digest in selection.kept]
        trust: Result = {"accepted": list(accepted)} if accepted else {}
        if signatures:
            trust["signatures"] = to_document(store, signatures)
        return {"root": selection.root.to_document(), "kept": kept, **hanging, **trust}

    def _hanging(self, source: Source, selection: Selection) -> Found:
        if self.job.hanging is None:
            return find(source, self.workspace.store, selection, self.workspace.pool)
        return fetch_named(source, self.workspace.store, self.job.hanging)

    def selection(self) -> Selection:
        """Return what was chosen."""
        found = self.result()
        kept = found["kept"]
        digests = tuple(Digest.parse(str(text)) for text in kept) if isinstance(kept, list) else None
        return Selection(descriptor(found["root"]), digests, self.job.sparse)

    def hanging(self) -> Found:
        """Return what hangs on the image, if that was asked for."""
        return Found.read(self.result())

    def signatures(self) -> Signatures:
        """Return the signatures that the image has at its source."""
        return from_document(self.workspace.store, self.result().get("signatures"))


class FetchBlobs(_ImageStep):
    """Bring every config and layer into the store, and every blob of what hangs on the image."""

    def requires(self) -> ResolvePlatform:
        """The manifests that name them."""
        return ResolvePlatform(run_dir=self.run_dir, image=self.image)

    def perform(self) -> Result:
        """Fetch what the store lacks."""
        space, resolved = self.workspace, self.requires()
        source = space.source(self.job)
        try:
            hanging = resolved.hanging().referrers
            leave = self._leave(source, hanging)
            done = fetch_blobs(source, space.store, resolved.selection(), space.pool, space.on_bytes, leave=leave)
            more = fetch(source, space.store, hanging, space.pool, space.on_bytes, leave=leave)
        finally:
            source.close()
        left: list[Json] = [str(digest) for digest in sorted(leave)]
        return {
            "blobs": done.blobs + more.blobs,
            "fetched": done.fetched + more.fetched,
            "bytes": done.bytes + more.bytes,
            **({"left": left} if left else {}),
        }

    def _leave(self, source: Source, hanging: Iterable[Referrer]) -> frozenset[Digest]:
        """Return what of the image is not fetched: its bundle left it out, or the base of that to be made has it."""
        left = cast("BundleSource", source).left if self.job.base is not None else {}
        if not left and not self.job.since:
            return frozenset()
        space = self.workspace
        selections = [self.requires().selection(), *(Selection(one.manifest) for one in hanging)]
        named = (blob.digest for one in selections for blob in blobs(space.store, one)) if left else ()
        kept = kept_layers(space.store, selections, space.base_sizes) if self.job.since else frozenset()
        return kept.union(digest for digest in named if digest in left)

    def left(self) -> frozenset[Digest]:
        """Return the blobs that were not fetched, and are to be at every destination already, or in its base."""
        found = self.result().get("left")
        return frozenset(Digest.parse(str(text)) for text in found) if isinstance(found, list) else frozenset()


class ConvertMediaTypes(_ImageStep):
    """Make the manifests, configs and layers of one shape; one task for all destinations of that shape."""

    shape: str = luigi.Parameter()

    def requires(self) -> FetchBlobs:
        """The blobs."""
        return FetchBlobs(run_dir=self.run_dir, image=self.image)

    def output(self) -> CheckpointTarget:
        """``checkpoints/<image key>/ConvertMediaTypes-<shape>.json``."""
        return self.workspace.checkpoint(self.image, self.task_family, f"{self.task_family}-{self.shape}")

    def perform(self) -> Result:
        """Convert; the store keeps the source's bytes too."""
        selection = self.requires().requires().selection()
        shape = self.workspace.shapes[self.shape]
        space = self.workspace
        fetch_foreign(space.store, selection, shape, lambda: closing(space.source(self.job)), space.registries)
        keys = loaded(shape.encrypt, shape.decrypt)
        made = convert(self.workspace.store, selection, shape, self.workspace.pool, keys=keys)
        repacked = any(change.kind == "layer" and change.old.digest != change.new.digest for change in made.changes)
        return {
            "root": made.root.to_document(),
            "codec": codec(shape.layers, shape.level) if repacked and shape.layers else "",
            "changes": [_change(change) for change in made.changes],
            "losses": list(made.losses),
            # Another each time: what is kept here is what every destination gets, and every further run.
            **({"crypted": [_crypted(one) for one in made.crypted]} if made.crypted else {}),
        }

    def made(self) -> Selection:
        """Return what was made of the image."""
        selection = self.requires().requires().selection()
        return Selection(descriptor(self.result()["root"]), selection.kept if selection.sparse else None)

    def hanging(self, place: Place) -> Found:
        """Return what of all that hangs on the image goes to ``place``, and what is left behind."""
        changes = self.result()["changes"]
        listed = [one for one in changes if isinstance(one, dict)] if isinstance(changes, list) else []
        changed = {
            descriptor(one["old"]).digest: descriptor(one["new"]).digest for one in listed if one["kind"] == "manifest"
        }
        found = self.requires().requires().hanging()
        return sort_out(self.workspace.store, found, self.made(), changed, place)


def _forget(task: luigi.Task) -> None:
    """Let all be done again that ``task`` builds on."""
    for needed in luigi.task.flatten(task.requires()):
        needed.output().remove()
        _forget(needed)


def _crypted(one: Crypted) -> Json:
    return {"kind": one.kind, "layer": str(one.layer), "keys": list(one.keys)}


def _change(change: Change) -> Json:
    return {"kind": change.kind, "old": change.old.to_document(), "new": change.new.to_document()}
