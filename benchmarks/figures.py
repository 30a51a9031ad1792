"""Figures of a run of the benchmarks: samples, their minimum, median and maximum, ratios of medians."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from benchmarks.measure import Measured, Traffic

MEASURES: Final = ("wall", "cpu", "memory")


@dataclass(frozen=True, slots=True)
class Spread:
    """Minimum, median and maximum."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Return the spread of at least one value."""
        found = sorted(values)
        return cls(found[0], median(found), found[-1])


@dataclass(slots=True)
class SideFigures:
    """What one side cost, round by round; ``missing`` says why there are no figures."""

    name: str
    missing: str = ""
    samples: list[Measured] = field(default_factory=list)
    disk: list[int] = field(default_factory=list)
    traffic: Traffic | None = None

    def spread(self, measure: str) -> Spread:
        """Return the spread of ``wall``, ``cpu`` (seconds) or ``memory`` (bytes)."""
        return Spread.of(float(getattr(sample, measure)) for sample in self.samples)

    def ratio(self, peer: "SideFigures", measure: str) -> float | None:
        """Return this side's median divided by the peer's; None where one has no figures."""
        if not self.samples or not peer.samples:
            return None
        other = peer.spread(measure).middle
        return self.spread(measure).middle / other if other else None


@dataclass(slots=True)
class ScenarioFigures:
    """A scenario's sides; the first is transship."""

    name: str
    title: str
    note: str
    images: int
    sides: list[SideFigures]

    def document(self) -> dict[str, object]:
        """Return it as JSON; seconds and bytes."""
        return {
            "name": self.name,
            "title": self.title,
            "images": self.images,
            "sides": [self._side(side) for side in self.sides],
        }

    def _side(self, side: SideFigures) -> dict[str, object]:
        if side.missing:
            return {"name": side.name, "missing": side.missing}
        found: dict[str, object] = {"name": side.name}
        for measure in MEASURES:
            spread = side.spread(measure)
            values = [getattr(sample, measure) for sample in side.samples]
            found[measure] = {"min": spread.low, "median": spread.middle, "max": spread.high, "rounds": values}
        found["disk"] = int(median(side.disk))
        if side.traffic:
            found |= {
                "read": side.traffic.bytes,
                "blob_requests": side.traffic.blobs,
                "requests": side.traffic.requests,
            }
        if side is not self.sides[0]:
            found["transship_to_peer"] = {measure: self.sides[0].ratio(side, measure) for measure in MEASURES}
        return found
