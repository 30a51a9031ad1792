"""What of a plan one process can do without another: an image, to all places that are its own."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from luigi.task import Task

from transship.pipeline.jobs import Plan
from transship.tasks.delivery import VerifyDigests
from transship.tasks.image import ConvertMediaTypes


@dataclass(slots=True)
class Unit:
    """One image: the deliveries of it alone, and its shapes for archives that it shares with others."""

    image: str
    deliveries: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)

    def tasks(self, run_dir: str) -> Iterator[Task]:
        """Yield the last tasks of the unit; an archive of several images is left to who has all of them."""
        for key in self.deliveries:
            yield VerifyDigests(run_dir=run_dir, delivery=key)
        for shape in self.shapes:
            yield ConvertMediaTypes(run_dir=run_dir, image=self.image, shape=shape)


def units(plan: Plan, deliveries: Iterable[str]) -> list[Unit]:
    """Return the units that ``deliveries`` of ``plan`` need, in the order of their first delivery."""
    found: dict[str, Unit] = {}
    for key in deliveries:
        members = plan.deliveries[key].members
        for member in members:
            unit = found.setdefault(member.image, Unit(member.image))
            if len(members) == 1:
                unit.deliveries.append(key)
            elif member.shape.key() not in unit.shapes:
                unit.shapes.append(member.shape.key())
    return list(found.values())
