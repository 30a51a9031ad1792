"""From the images of a sync to the plan of a run: where each goes, and that no two go to one place."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from transship.pipeline.convert.shape import Shape, at_registry, bounded
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.jobs import Delivery, ImageJob, Member, Plan
from transship.pipeline.reference import PathReference
from transship.pipeline.sync.sources import Image
from transship.pipeline.trust.guard import Guard

if TYPE_CHECKING:
    from transship.pipeline.resolve import Platforms


Place: TypeAlias = DockerReference | PathReference


class Target(NamedTuple):
    """Where a sync writes: below ``base``, by full names if ``scoped``, all with ``suffix`` at their end.

    ``base`` is a folder, or for ``docker`` a registry with or without a namespace.
    """

    transport: str
    base: str
    scoped: bool = False
    suffix: str = ""

    def place(self, image: Image) -> Place:
        """Return where ``image`` goes.

        Raises:
            UsageError: its name cannot be one in a registry.
        """
        path = os.path.join(self.base, (image.name if self.scoped else os.path.basename(image.name)) + self.suffix)
        if self.transport == "dir":
            return PathReference("dir", os.path.abspath(path))
        try:
            return DockerReference.parse(path)
        except UsageError as error:
            raise UsageError(
                f"{image.source}: cannot be {shown(path)}: {error.message}", advice=error.advice
            ) from error


class Wish(NamedTuple):
    """What of each image is copied and in which form, and whether what hangs on it is too.

    ``signing`` and ``signatures`` are as in `Member` and `ImageJob`.
    """

    platforms: "Platforms"
    shape: Shape
    referrers: bool = False
    signing: str = ""
    signatures: bool = True


def places(images: Sequence[Image], target: Target) -> list[tuple[Image, Place]]:
    """Return each image with its destination, in their order.

    Raises:
        UsageError: two images would be written to one place, or one inside another.
    """
    owners: dict[str, Image] = {}
    found: list[tuple[Image, Place]] = []
    for image in images:
        place = target.place(image)
        other = owners.setdefault(_key(place), image)
        if other is not image:
            raise _clash(place, other, image, target)
        found.append((image, place))
    for path, image in owners.items():
        for parent in map(str, Path(path).parents):
            if target.transport == "dir" and parent in owners:
                raise _clash(PathReference("dir", parent), owners[parent], image, target)
    return found


def plan_sync(
    name: str,
    digest: str,
    placed: Sequence[tuple[Image, Place]],
    wish: Wish,
    guard: Guard = Guard(),  # noqa: B008 - a value
) -> Plan:
    """Return the plan that copies each image to its place; ``digest`` stands for all that was asked for."""
    images: dict[str, ImageJob] = {}
    deliveries: dict[str, Delivery] = {}
    for image, place in placed:
        policy = guard.of(image.source)
        read = wish.signatures or bool(policy)
        job = ImageJob(str(image.source), wish.platforms, wish.referrers, policy=policy, signatures=read)
        images[job.key] = job
        transport, path, name = _parts(place)
        shape = bounded(wish.shape, transport)
        shape = at_registry(shape, place) if isinstance(place, DockerReference) else shape
        delivery = Delivery(transport, path, (Member(job.key, shape, name, wish.signing),))
        deliveries[delivery.key] = delivery
    return Plan(name, digest, images, deliveries, policy=guard.name, strict=True)


def _parts(place: Place) -> tuple[str, str, str]:
    """Return transport, path and name, as a `Delivery` and its `Member` have them."""
    if isinstance(place, DockerReference):
        return "docker", place.name, str(place.digest or place.tag)
    return place.transport, place.path, place.name


def _key(place: Place) -> str:
    return str(place) if isinstance(place, DockerReference) else place.path


def _clash(place: Place, one: Image, other: Image, target: Target) -> UsageError:
    return UsageError(
        f"{one.source} and {other.source} would both be written to {place}",
        advice="sync them to different places" if target.scoped else "say --scoped, which keeps their full names",
    )
