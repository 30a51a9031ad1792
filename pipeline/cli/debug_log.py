"""``--debug``: what the command does on standard error, a line each, with the time of day."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from transship.pipeline import trace
from transship.pipeline.errors import LONGEST_LINE, shown

_LINE = "transship: debug: %(asctime)s.%(msecs)03d %(message)s"


class _Escaped(logging.Formatter):
    """Whatever goes into a line, it stays one, and no terminal obeys it."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record), LONGEST_LINE)


@contextmanager
def debug_log() -> Iterator[None]:
    """Log what is told inside; forks of this process do so too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Escaped(_LINE, "%H:%M:%S"))
    # Not by a name: what luigi sets up for the loggers that have one is not for this.
    log = logging.Logger("transship", logging.DEBUG)
    log.addHandler(handler)
    trace.begin(log.debug)
    try:
        yield
    finally:
        trace.end()
