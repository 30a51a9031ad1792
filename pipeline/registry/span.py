"""Whether an answer holds the bytes of a blob that were asked for: RFC 9110, sections 14 and 15.3.7."""

import re
from typing import Final

from transship.pipeline.errors import ContentError
from transship.pipeline.registry.answer import Answer
from transship.pipeline.transport import RangeRefusedError

_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)


def check_span(answer: Answer, size: int, start: int) -> int:
    """Check that ``answer``, a success, is a blob of ``size`` bytes from byte ``start`` to its end.

    Returns how many bytes are to be skipped: ``start`` where the registry knows no ranges and gives the whole.

    Raises:
        RangeRefusedError: it begins or ends elsewhere, or does not say where.
        ContentError: the blob has another size, or the answer is a web page.
        TransportError: a status that carries no blob.
    """
    if problem := answer.not_html():
        raise problem
    if answer.status == 200:
        _check_length(answer, size)
        return start
    if answer.status == 206 and start:
        _check_range(answer, size, start)
        return 0
    raise answer.error()


def _check_range(answer: Answer, size: int, start: int) -> None:
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if match is None:
        raise RangeRefusedError(f"{answer}: 206 without a Content-Range that says where it begins")
    first, last, total = int(match[1]), int(match[2]), match[3]
    if total != "*" and int(total) != size:
        raise ContentError(f"{answer}: the registry's blob has {total} bytes, its descriptor says {size}")
    if first != start or last != size - 1:
        raise RangeRefusedError(f"{answer}: answers bytes {first}-{last}, asked for {start}-{size - 1}")
    _check_length(answer, size - start)


def _check_length(answer: Answer, expected: int) -> None:
    length = answer.headers.get("Content-Length")
    if length is not None and length.strip() != str(expected):
        raise ContentError(f"{answer}: Content-Length is {length[:20]!r}, by its descriptor it is {expected}")
