"""The six tasks. Each makes one call into the library and leaves one checkpoint.

Parameters are identity only: the run folder and keys of its plan, never a secret.
"""

import time
from contextlib import closing
from typing import ClassVar

import luigi

from transship.pipeline.compression.codecs import codec
from transship.pipeline.copy import Change, convert, fetch_blobs, write
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.foreign import fetch_foreign
from transship.pipeline.jobs import Delivery, ImageJob, Member
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.reference import SINGLE, parse_reference
from transship.pipeline.referrers import Found, Place, fetch, find, put, refuse_untied, sort_out
from transship.pipeline.repacking import refuse_losses
from transship.pipeline.resolve import fetch_manifest, resolve
from transship.pipeline.store import LostBlobError
from transship.pipeline.transport import Sink, Source
from transship.pipeline.transports import Pushing, open_sink
from transship.pipeline.tree import Selection, load
from transship.pipeline.verify import Verified, same_image, verify
from transship.tasks.checkpoint import CheckpointTarget, Result
from transship.tasks.engine import park
from transship.tasks.workspace import Workspace, descriptor


class _Step(luigi.Task):
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


class _ImageStep(_Step):
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
        source = self.workspace.source(self.job.source)
        try:
            root = fetch_manifest(source, self.workspace.store)
        finally:
            source.close()
        return {"root": root.to_document()}


class ResolvePlatform(_ImageStep):
    """Choose the instances of an index, and find what hangs on the image."""

    def requires(self) -> FetchManifest:
        """The root manifest."""
        return FetchManifest(run_dir=self.run_dir, image=self.image)

    def perform(self) -> Result:
        """Bring the manifests of the instances into the store."""
        root = descriptor(self.requires().result()["root"])
        source = self.workspace.source(self.job.source)
        try:
            selection = resolve(source, self.workspace.store, root, self.job.platforms)
            hanging: Result = {}
            if self.job.referrers:
                hanging = find(source, self.workspace.store, selection, self.workspace.pool).to_document()
        finally:
            source.close()
        kept: Json = None if selection.kept is None else [str(digest) for digest in selection.kept]
        return {"root": selection.root.to_document(), "kept": kept, **hanging}

    def selection(self) -> Selection:
        """Return what was chosen."""
        found = self.result()
        kept = found["kept"]
        digests = tuple(Digest.parse(str(text)) for text in kept) if isinstance(kept, list) else None
        return Selection(descriptor(found["root"]), digests, self.job.sparse)

    def hanging(self) -> Found:
        """Return what hangs on the image, if that was asked for."""
        return Found.read(self.result())


class FetchBlobs(_ImageStep):
    """Bring every config and layer into the store, and every blob of what hangs on the image."""

    def requires(self) -> ResolvePlatform:
        """The manifests that name them."""
        return ResolvePlatform(run_dir=self.run_dir, image=self.image)

    def perform(self) -> Result:
        """Fetch what the store lacks."""
        space, resolved = self.workspace, self.requires()
        source = space.source(self.job.source)
        try:
            done = fetch_blobs(source, space.store, resolved.selection(), space.pool, space.on_bytes)
            more = fetch(source, space.store, resolved.hanging().referrers, space.pool, space.on_bytes)
        finally:
            source.close()
        return {
            "blobs": done.blobs + more.blobs,
            "fetched": done.fetched + more.fetched,
            "bytes": done.bytes + more.bytes,
        }


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
        fetch_foreign(space.store, selection, shape, lambda: closing(space.source(self.job.source)), space.registries)
        made = convert(self.workspace.store, selection, shape, self.workspace.pool)
        repacked = any(change.kind == "layer" and change.old.digest != change.new.digest for change in made.changes)
        return {
            "root": made.root.to_document(),
            "codec": codec(shape.layers, shape.level) if repacked and shape.layers else "",
            "changes": [_change(change) for change in made.changes],
            "losses": list(made.losses),
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


class _DeliveryStep(_Step):
    """A task about one delivery of the plan."""

    delivery: str = luigi.Parameter()

    @property
    def job(self) -> Delivery:
        """The delivery in the plan."""
        return self.workspace.plan.deliveries[self.delivery]

    def output(self) -> CheckpointTarget:
        """``checkpoints/<delivery key>/<task>.json``."""
        return self.workspace.checkpoint(self.delivery, self.task_family)

    def sink(self) -> Sink:
        """Open the destination for writing; blobs that a registry has in a member's source are mounted from there."""
        space = self.workspace
        sources = [parse_reference(space.plan.images[member.image].source) for member in self.job.members]
        return open_sink(self.job.place, Pushing(space.targets, sources, space.pool))

    def conversion(self, member: Member) -> ConvertMediaTypes:
        """Return the task that makes one member."""
        return ConvertMediaTypes(run_dir=self.run_dir, image=member.image, shape=member.shape.key())


class WriteImage(_DeliveryStep):
    """Write one destination: an image into a layout, folder or repository, or all images of one archive."""

    def requires(self) -> list[ConvertMediaTypes]:
        """The images in the destination's form."""
        return [self.conversion(member) for member in self.job.members]

    def perform(self) -> Result:
        """Write; the destination is whole and durable, or as it was."""
        job, store = self.job, self.workspace.store
        total = 0
        hanging: list[Json] = []
        with self.sink() as sink:
            for member, made in zip(job.members, self.requires(), strict=True):
                place, image = Place(job.transport, member.name, sink.accepts), made.made()
                found = made.hanging(place)
                refuse_losses(member.shape, found.lost)
                hanging.append(found.to_document())
                total += put(store, found.referrers, sink, place)
                total += write(store, image.root, sink, member.name, kept=image.kept, foreign=member.shape.downloads)
            if job.transport == "oci":
                # What is left is to name it in the index, together with other images.
                park()
        asked = any(self.workspace.plan.images[member.image].referrers for member in job.members)
        return {"bytes": total, **({"hanging": hanging} if asked else {})}

    def hanging(self) -> list[Found]:
        """Return for each member what of all that hangs on it was written, and what was left behind."""
        found = self.result().get("hanging")
        return [Found.read(one) for one in found] if isinstance(found, list) else [Found() for _ in self.job.members]


class VerifyDigests(_DeliveryStep):
    """Read the destination back and hash everything: with this checkpoint an image counts as done.

    Of an image in a registry only the manifests are read back, and the registry asked whether it has each blob
    at its size: it has hashed every blob that it took, and reading all of them again would double the traffic.
    """

    def requires(self) -> WriteImage:
        """What is to be read back."""
        return WriteImage(run_dir=self.run_dir, delivery=self.delivery)

    def perform(self) -> Result:
        """Verify every member; a finding undoes the write's checkpoint, so that the next run writes anew."""
        beside = self.requires().hanging()
        walks = [self._verified(*member) for member in zip(self.job.members, beside, strict=True)]
        images: list[Json] = [
            {"reference": self.job.reference(member), "digest": str(walk.root.digest)}
            for member, walk in zip(self.job.members, walks, strict=True)
            if walk.root
        ]
        return {
            "images": images,
            "manifests": sum(walk.manifests for walk in walks),
            "blobs": sum(walk.blobs for walk in walks),
            "bytes": sum(walk.bytes for walk in walks),
        }

    def _verified(self, member: Member, hanging: Found) -> Verified:
        reference = self.job.reference(member)
        expected, kept, _ = self.conversion(member).made()
        also = [referrer.manifest for referrer in hanging.referrers]
        source = self.workspace.written(reference)
        try:
            # Some keep no manifest; config and layers stand for the image.
            remade = self.job.transport in SINGLE
            holds = self.sink().has if self.job.transport == "docker" else None
            digest = None if remade else expected.digest
            walk = verify(source, digest, self.workspace.seen, kept=kept, holds=holds, also=also)
            if remade and not walk.findings and not self._same_image(source.manifest(), expected):
                raise ContentError(f"{reference}: holds another image than was written")
            if not walk.findings:
                self._refuse_untied(source, hanging)
        finally:
            source.close()
        if walk.findings:
            self._undo(walk)
            first = walk.findings[0]
            more = f" (and {len(walk.findings) - 1} more)" if len(walk.findings) > 1 else ""
            raise ContentError(
                f"{reference}: {first.digest} is {first.fault}: {first.why}{more}", advice="run again to write it anew"
            )
        return walk

    def _refuse_untied(self, written: Source, hanging: Found) -> None:
        try:
            refuse_untied(written, hanging.referrers)
        except ContentError:
            self.requires().output().remove()
            raise

    def _same_image(self, found: Manifest, expected: Descriptor) -> bool:
        return same_image(found, load(self.workspace.store, expected))

    def _undo(self, walk: Verified) -> None:
        """A damaged file may be the store's own, by hard link: nothing of the image is trusted any more."""
        sink = self.sink()
        for finding in walk.findings:
            if finding.fault == "damaged":
                self.workspace.store.discard(finding.digest)
                sink.discard(finding.digest)
        self.requires().output().remove()
        for conversion in self.requires().requires():
            conversion.output().remove()
            conversion.requires().output().remove()


def _forget(task: luigi.Task) -> None:
    """Let all be done again that ``task`` builds on."""
    for needed in luigi.task.flatten(task.requires()):
        needed.output().remove()
        _forget(needed)


def _change(change: Change) -> Json:
    return {"kind": change.kind, "old": change.old.to_document(), "new": change.new.to_document()}
