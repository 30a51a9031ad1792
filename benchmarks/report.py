"""The figures as Markdown and JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.figures import ScenarioFigures, SideFigures
from benchmarks.plot import Point, cost_plot

_INTRODUCTION: Final = """\
# Benchmarks

Written by `make bench`; do not edit. All registries are docker-registry on loopback, which uses the same cores.

- A cell of three figures is minimum / median / maximum over {rounds} rounds (the scaling rows: at most 3). The sides
  of a scenario take turns; before each turn `sync`, and an empty folder.
- CPU is user and system time of all processes of the command, without the registry's.
- Memory is the largest sum of proportional set sizes over the command's processes, sampled every 10 ms for half a
  second and every 50 ms after: what lives shorter than that may be missed.
- Read is what one untimed round made the registry send, by its access log; on disk is what the command left, allocated
  bytes, a file with several names once. That round comes first, so the page cache is warm for every side.
- Ratio is transship's median divided by the peer's: 0.50 is half the peer's cost, 2.00 is twice.
- Durability differs. transship flushes all it wrote, names and folders too, and reads it back before it ends. skopeo
  1.9.3 flushes each blob of a layout or dir: and its own cache of blobs, but no manifest, index, folder or archive
  (seen with strace), and reads nothing back.
"""


def write(path: Path, machine: Mapping[str, str], rounds: int, found: Sequence[ScenarioFigures]) -> None:
    """Write Markdown to ``path``, and beside it JSON, and the plot where the scaling scenarios ran."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "rounds": rounds, "scenarios": [one.document() for one in found]}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    points = [
        Point(one.images, side.spread("wall").middle, side.spread("cpu").middle, side.spread("memory").middle)
        for one in found
        for side in one.sides
        if one.name.startswith("scale-") and not side.missing
    ]
    plot = ""
    if len(points) > 1:
        path.with_suffix(".svg").write_text(cost_plot(points), encoding="utf-8")
        plot = f"\n![Cost of an image against the size of the batch]({path.stem}.svg)\n"
    path.write_text(markdown(machine, rounds, found) + plot, encoding="utf-8")


def markdown(machine: Mapping[str, str], rounds: int, found: Sequence[ScenarioFigures]) -> str:
    """Return the whole page."""
    return "\n".join(_page(machine, rounds, found)) + "\n"


def _page(machine: Mapping[str, str], rounds: int, found: Sequence[ScenarioFigures]) -> Iterator[str]:
    yield _INTRODUCTION.format(rounds=rounds)
    yield "| machine and versions | |"
    yield "|---|---|"
    for name, value in machine.items():
        yield f"| {name} | {value} |"
    for one in found:
        yield from _section(one)


def _section(one: ScenarioFigures) -> Iterator[str]:
    yield f"\n## {one.title}\n"
    if one.note:
        yield f"{one.note}\n"
    yield "| | wall, s | CPU, s | memory, MB | read, MB | on disk, MB | ratio of wall | CPU | memory |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for side in one.sides:
        yield f"| {side.name} | {' | '.join(_cells(one.sides[0], side))} |"
    for side in one.sides:
        if one.images > 1 and not side.missing:
            wall, cpu = (side.spread(measure).middle / one.images * 1000 for measure in ("wall", "cpu"))
            asked = f"; {side.traffic.blobs:,} requests for blobs" if side.traffic else ""
            yield f"\n{side.name}: {wall:.2f} ms and {cpu:.2f} ms of CPU an image{asked}."


def _cells(transship: SideFigures, side: SideFigures) -> list[str]:
    if side.missing:
        return [_plain(side.missing), *[""] * 7]
    ratios = [
        transship.ratio(side, measure) if side is not transship else None for measure in ("wall", "cpu", "memory")
    ]
    return [
        _three(side, "wall", 1, 2),
        _three(side, "cpu", 1, 2),
        _three(side, "memory", 1e6, 0),
        f"{side.traffic.bytes / 1e6:,.1f}" if side.traffic else "",
        f"{median(side.disk) / 1e6:,.1f}",
        *(f"{ratio:.2f}" if ratio is not None else "" for ratio in ratios),
    ]


def _three(side: SideFigures, measure: str, unit: float, digits: int) -> str:
    spread = side.spread(measure)
    return " / ".join(f"{value / unit:,.{digits}f}" for value in (spread.low, spread.middle, spread.high))


def _plain(text: str) -> str:
    return text.replace("|", "/")[:200]
