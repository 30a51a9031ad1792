"""A list of images: one a line, with comments after ``#``."""

import re
from collections.abc import Iterator
from typing import Final

from transship.pipeline.rewrite.spot import Spot

_LINE: Final = re.compile(r"^[ \t]*(?:docker://)?([^\s#]+)[ \t]*(?:[ \t]#.*)?\r?$", re.MULTILINE)


def find(text: str, name: str) -> Iterator[Spot]:
    """Yield what stands alone on each line, but for ``docker://`` before it."""
    for line in _LINE.finditer(text):
        yield Spot(line.start(1), line[1])
