"""A place in a file where a reference may stand."""

import re
from typing import Final, NamedTuple

VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^{}$]+))?\})", re.ASCII)
"""``$NAME``, ``${NAME}`` or ``${NAME:-default}``, the default as third group."""
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")


class Spot(NamedTuple):
    """``text`` from character ``start`` on.

    ``image`` is true where nothing but an image can stand, so that ``nginx`` is one. ``variable`` is true of
    what holds a variable.
    """

    start: int
    text: str
    image: bool = True
    variable: bool = False


def lines_of(text: str) -> list[str]:
    """Return the lines of ``text`` with their ends; a line ends at a newline and at nothing else."""
    return _LINE.findall(text)
