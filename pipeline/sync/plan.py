"""From the images of a sync to the plan of a run: where each goes, and that no two go to one place."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transship.pipeline.convert.shape import Shape, bounded
from transship.pipeline.errors import UsageError
from transship.pipeline.jobs import Delivery, ImageJob, Member, Plan
from transship.pipeline.reference import PathReference, Reference
from transship.pipeline.sync.sources import Image

if TYPE_CHECKING:
    from transship.pipeline.resolve import Platforms


class Target(NamedTuple):
    """Where a sync writes: below the folder ``base``, by full names if ``scoped``, all with ``suffix`` at their end."""

    base: str
    scoped: bool = False
    suffix: str = ""

    def place(self, image: Image) -> PathReference:
        """Return where ``image`` goes."""
        name = image.name if self.scoped else os.path.basename(image.name)
        return PathReference("dir", os.path.abspath(os.path.join(self.base, name + self.suffix)))


class Wish(NamedTuple):
    """What of each image is copied, and in which form."""

    platforms: "Platforms"
    shape: Shape


def places(images: Sequence[Image], target: Target) -> list[tuple[Image, Reference]]:
    """Return each image with its destination, in their order.

    Raises:
        UsageError: two images would be written to one place, or one inside another.
    """
    owners: dict[str, Image] = {}
    found: list[tuple[Image, Reference]] = []
    for image in images:
        place = target.place(image)
        other = owners.setdefault(place.path, image)
        if other is not image:
            raise _clash(place, other, image, target)
        found.append((image, place))
    for path, image in owners.items():
        for parent in map(str, Path(path).parents):
            if parent in owners:
                raise _clash(PathReference("dir", parent), owners[parent], image, target)
    return found


def plan_sync(name: str, digest: str, placed: Sequence[tuple[Image, Reference]], wish: Wish) -> Plan:
    """Return the plan that copies each image to its place; ``digest`` stands for all that was asked for."""
    images: dict[str, ImageJob] = {}
    deliveries: dict[str, Delivery] = {}
    for image, place in placed:
        if not isinstance(place, PathReference):
            raise UsageError(f"{place}: cannot be written yet", advice="sync to a folder")
        job = ImageJob(str(image.source), wish.platforms)
        images[job.key] = job
        member = Member(job.key, bounded(wish.shape, place.transport), place.name)
        delivery = Delivery(place.transport, place.path, (member,))
        deliveries[delivery.key] = delivery
    return Plan(name, digest, images, deliveries)


def _clash(place: Reference, one: Image, other: Image, target: Target) -> UsageError:
    return UsageError(
        f"{one.source} and {other.source} would both be written to {place}",
        advice="sync them to different places" if target.scoped else "say --scoped, which keeps their full names",
    )
