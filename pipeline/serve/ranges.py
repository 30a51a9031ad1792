"""The Range header of a GET. Source: RFC 9110, section 14."""

import re
from dataclasses import dataclass

_ONE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start`` to before ``end``."""

    start: int
    end: int


class UnsatisfiableError(Exception):
    """No byte of the content lies in the range asked for."""


def parse(header: str | None, length: int) -> Span | None:
    """Return the part of ``length`` bytes that ``header`` asks for, None for all of it.

    A header that is malformed or asks for several ranges is ignored, as the RFC allows.

    Raises:
        UnsatisfiableError: the range begins past the end, or is the last 0 bytes.
    """
    match = _ONE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        last = int(match[2])
        if last == 0 or length == 0:
            raise UnsatisfiableError
        return Span(max(0, length - last), length)
    start = int(match[1])
    end = min(int(match[2]) + 1, length) if match[2] else length
    if match[2] and int(match[2]) < start:
        return None
    if start >= length:
        raise UnsatisfiableError
    return Span(start, end)
