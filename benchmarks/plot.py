"""The plot of cost per image against the size of the batch, as SVG."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_WIDTH: Final = 640
_HEIGHT: Final = 360
_LEFT: Final = 60
_RIGHT: Final = 600
_TOP: Final = 40
_BOTTOM: Final = 300
_WALL: Final = "#1f5fa8"
_CPU: Final = "#b4551d"


@dataclass(frozen=True, slots=True)
class Point:
    """A batch: its images; medians of wall and CPU seconds and of peak memory in bytes for all of it."""

    images: int
    wall: float
    cpu: float
    memory: float


def cost_plot(points: Sequence[Point]) -> str:
    """Return an SVG of milliseconds per image over a logarithmic count of images; at least two points."""
    ordered = sorted(points, key=lambda point: point.images)
    return "\n".join(_drawing(ordered)) + "\n"


def _drawing(points: Sequence[Point]) -> Iterator[str]:
    top = _round_up(max(max(point.wall, point.cpu) / point.images * 1000 for point in points))
    first, last = math.log(points[0].images), math.log(points[-1].images)

    def across(point: Point) -> float:
        return _LEFT + 30 + (math.log(point.images) - first) / (last - first) * (_RIGHT - _LEFT - 60)

    def up(milliseconds: float) -> float:
        return _BOTTOM - milliseconds / top * (_BOTTOM - _TOP)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12" fill="#333">'
    )
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>'
    yield _text(_LEFT, 20, "transship run: milliseconds per tiny image, median", "start")
    for step in range(5):
        value = top * step / 4
        yield f'<path d="M{_LEFT} {up(value):.1f}H{_RIGHT}" stroke="#ddd"/>'
        yield _text(_LEFT - 8, up(value) + 4, f"{value:g}", "end")
    for point in points:
        yield _text(across(point), _BOTTOM + 18, f"{point.images:,}", "middle")
        yield _text(across(point), _BOTTOM + 34, f"{point.memory / 1e6:.0f} MB", "middle")
    yield _text(_WIDTH / 2, _BOTTOM + 52, "images in the batch (log scale); below it the peak memory", "middle")
    series: tuple[tuple[str, str, Callable[[Point], float]], ...] = (
        ("wall time", _WALL, lambda point: point.wall),
        ("CPU time", _CPU, lambda point: point.cpu),
    )
    for place, (name, colour, value_of) in enumerate(series):
        spots = [(across(point), up(value_of(point) / point.images * 1000)) for point in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in spots)
        yield f'<circle cx="{_RIGHT - 190 + 100 * place}" cy="16" r="4" fill="{colour}"/>'
        yield _text(_RIGHT - 180 + 100 * place, 20, name, "start")
    yield "</svg>"


def _text(x: float, y: float, content: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 6, 8 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)
