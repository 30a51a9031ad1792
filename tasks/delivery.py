"""The tasks of a destination: written, then read back; `image` has those before."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import luigi

from transship.pipeline.copy import write
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.jobs import Delivery, Member
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.reference import BUNDLE, SINGLE, parse_reference
from transship.pipeline.referrers import Found, Place, put, refuse_untied
from transship.pipeline.repacking import refuse_losses
from transship.pipeline.transport import Sink, Source
from transship.pipeline.transports import Pushing, open_sink
from transship.pipeline.tree import Selection, blobs, load, manifests
from transship.pipeline.trust import carrying
from transship.pipeline.verify import Verified, same_image, verify
from transship.tasks.checkpoint import CheckpointTarget, Result
from transship.tasks.engine import park
from transship.tasks.image import ConvertMediaTypes, Step

if TYPE_CHECKING:
    from transship.pipeline.transports.bundle import BundleSink


class _DeliveryStep(Step):
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
        if self.job.transport == BUNDLE:
            from transship.tasks.bundling import bundle_sink  # noqa: PLC0415 - few runs make bundles

            return bundle_sink(space, self.job)
        sources = [parse_reference(space.plan.images[member.image].reads) for member in self.job.members]
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
        trust: list[Json] = []
        with self.sink() as sink:
            named = self._locked_sources()
            for number, (member, made) in enumerate(zip(job.members, self.requires(), strict=True)):
                place, image = Place(job.transport, member.name, sink.accepts), made.made()
                found = made.hanging(place)
                refuse_losses(member.shape, found.lost)
                hanging.append(found.to_document())
                signatures = _Signatures.of(self.job, member, made, sink)
                leave = made.requires().left()
                if leave:
                    self._leave(sink, [image, *(Selection(one.manifest) for one in found.referrers)], leave)
                total += put(store, found.referrers, sink, place, leave=leave)
                foreign = member.shape.downloads
                total += write(store, image.root, sink, member.name, leave=leave, kept=image.kept, foreign=foreign)
                trust.append(signatures.put(sink))
                if named:
                    from transship.tasks.bundling import describe  # noqa: PLC0415

                    lost = signatures.fate.lost
                    describe(cast("BundleSink", sink), member, made, source=named[number], found=found, lost=lost)
            if job.transport == "oci":
                # What is left is to name it in the index, together with other images.
                park()
        asked = any(self.workspace.plan.images[member.image].referrers for member in job.members)
        said: Result = {"signatures": trust} if any(trust) else {}
        return {"bytes": total, **({"hanging": hanging} if asked else {}), **said}

    def _locked_sources(self) -> list[str]:
        """Return the sources that bundle.json says of the images of a bundle; nothing elsewhere."""
        if self.job.transport != BUNDLE:
            return []
        from transship.tasks.bundling import sources  # noqa: PLC0415

        return sources(self.workspace.plan)

    def _leave(self, sink: Sink, written: Sequence[Selection], leave: frozenset[Digest]) -> None:
        """Raise `ContentError` where a blob that was not fetched is not at the destination, or in a bundle's base."""
        wanted = [blob for one in written for blob in blobs(self.workspace.store, one) if blob.digest in leave]
        if self.job.transport == BUNDLE:
            for blob in wanted:
                cast("BundleSink", sink).leave(blob)
            return
        there = self.workspace.pool.map(sink.has, wanted)
        for blob in (blob for blob, has in zip(wanted, there, strict=True) if not has):
            raise ContentError(
                f"{self.job.place}: {blob.digest} is not there, which the bundle leaves out",
                advice="bring the bundle first that it is made on",
            )

    def hanging(self) -> list[Found]:
        """Return for each member what of all that hangs on it was written, and what was left behind."""
        found = self.result().get("hanging")
        return [Found.read(one) for one in found] if isinstance(found, list) else [Found() for _ in self.job.members]


class _Signatures(NamedTuple):
    """What becomes of the signatures of one member: decided before it is written, written after it."""

    image: carrying.Image
    wish: carrying.Wish
    fate: carrying.Fate

    @classmethod
    def of(cls, job: Delivery, member: Member, made: ConvertMediaTypes, sink: Sink) -> "_Signatures":
        """Decide; raises `Error` where something is lost that must not be."""
        store, tree = made.workspace.store, made.made()
        wish = carrying.Wish()
        if member.signing:
            from transship.pipeline.trust.signing import from_text  # noqa: PLC0415 - loads what starts programs

            wish = from_text(member.signing)
            wish = wish._replace(signing=wish.signing._replace(session=made.workspace.session))
        destination = parse_reference(job.reference(member))
        carrying.refuse_unsignable(sink, job.transport, destination, wish.signing)
        found = {} if wish.remove else made.requires().requires().signatures()
        written = [node.digest for node, _ in manifests(store, tree)] if found else []
        fate = carrying.fate(found, written, (sink, job.transport), strict=made.workspace.plan.strict)
        refuse_losses(member.shape, fate.lost)
        return cls(carrying.Image(store, tree, destination), wish, fate)

    def put(self, sink: Sink) -> Json:
        """Write them; return what the checkpoint says."""
        signed = carrying.put(sink, self.image, self.fate.kept, self.wish.signing)
        made: Result = {"lost": list(self.fate.lost)} if self.fate.lost else {}
        return {**made, **({"signed": list(signed)} if signed else {})}


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
        if self.job.transport == BUNDLE:
            return self._bundle()
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

    def _bundle(self) -> Result:
        """Read a bundle through once, whatever number of images is in it."""
        from transship.pipeline.bundle.verify import refuse_damaged, verify_bundle  # noqa: PLC0415

        found = verify_bundle(Path(self.job.path))
        if not found.sound or found.said is None:
            for digest in found.lost:
                self.workspace.store.discard(digest)
            self._forget()
            refuse_damaged(found, Path(self.job.path))
            raise ContentError(f"{self.job.path}: holds no bundle")
        names = {image.name: str(image.digest) for image in found.said.images}
        images: list[Json] = [
            {"reference": self.job.reference(member), "digest": names[member.name]} for member in self.job.members
        ]
        return {"images": images, "manifests": len(images), "blobs": len(found.said.blobs), "bytes": found.bytes}

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
        self._forget()

    def _forget(self) -> None:
        """Let the destination be written anew, of what is made and fetched anew."""
        self.requires().output().remove()
        for conversion in self.requires().requires():
            conversion.output().remove()
            conversion.requires().output().remove()
