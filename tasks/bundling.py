"""The tasks' side of a bundle: the sink of one delivery, and what its bundle.json says of each image."""

from pathlib import Path

from transship.pipeline import __version__
from transship.pipeline.compression.codecs import Compression, codec
from transship.pipeline.jobs import Delivery, Member, Plan
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.referrers import Found
from transship.pipeline.transports.bundle import BundleSink, Packing
from transship.pipeline.transports.bundle_file import BundledImage, BundleFile
from transship.tasks.image import ConvertMediaTypes
from transship.tasks.workspace import Workspace, descriptor


def bundle_sink(space: Workspace, job: Delivery) -> BundleSink:
    """Return the sink of a bundle, which knows all of bundle.json but the images."""
    packing = Packing.from_text(job.packing)
    about = BundleFile(
        tool=f"transship {__version__}",
        codecs=(codec(Compression.ZSTD, None),) if packing.zstd else (),
        lock=_lock(space.plan).document,
        base=space.base,
    )
    return BundleSink(Path(job.path), packing, about)


def describe(
    sink: BundleSink, member: Member, made: ConvertMediaTypes, *, source: str, found: Found, lost: tuple[str, ...]
) -> None:
    """Tell ``sink`` of a member: what was ``made`` of its ``source``, what hangs on it, what was ``lost`` besides."""
    root, result = made.made().root, made.result()
    losses = result.get("losses")
    pinned = descriptor(made.requires().requires().requires().result()["root"])
    image = BundledImage(
        member.name,
        source,
        pinned.digest,
        root.digest,
        root.media_type,
        root.size,
        (*(str(loss) for loss in (losses if isinstance(losses, list) else ())), *lost),
        found.referrers,
    )
    sink.describe(image, str(result.get("codec", "")))


def sources(plan: Plan) -> list[str]:
    """Return the source of each member as the lock says it: paths there are not those of this machine."""
    return [image.text("from") for image in _lock(plan).objects("images")]


def _lock(plan: Plan) -> Fields:
    return Fields(plan.bundle, "plan").object("lock")
