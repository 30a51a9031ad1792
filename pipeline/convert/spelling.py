"""JSON in the spelling that Docker gives it, so that what is made of old images has the digest that others give it.

A member taken over keeps its own spelling of numbers and escapes, without white space; Go also escapes what
HTML would read (encoding/json, "HTMLEscape").
"""

import json
import re
from typing import Final

from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.fields import Fields

_OUTSIDE: Final = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_HTML: Final = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_NEVER: Final = "0001-01-01T00:00:00Z"
_DECODER: Final = json.JSONDecoder()


def members(text: str) -> dict[str, str]:
    """Return the text of each member of ``text``, a JSON object that was parsed before, by its key."""
    found: dict[str, str] = {}
    at = _after(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        begin = _after(text, _after(text, at) + 1)
        _, end = _DECODER.raw_decode(text, begin)
        found[key] = _OUTSIDE.sub(lambda match: match[1] or "", text[begin:end]).translate(_HTML)
        at = _after(text, end)
        at = _after(text, at + 1) if text[at] == "," else at
    return found


def quoted(text: str) -> str:
    """Return the JSON string of ``text``."""
    return json.dumps(text, ensure_ascii=False).translate(_HTML)


def joined(parts: dict[str, str]) -> str:
    """Return the JSON object of members that are JSON already, in their order."""
    return "{" + ",".join(f"{quoted(key)}:{value}" for key, value in parts.items()) + "}"


def time(fields: Fields, key: str) -> str:
    """Return the time at ``key`` as Go writes it: no zeros at the end of a fraction, UTC as ``Z``; year 1 for none.

    Raises:
        ContentError: it is no time of RFC 3339.
    """
    text = fields.optional_text(key)
    if not text:
        return _NEVER
    found = _TIME.fullmatch(text)
    if not found:
        raise ContentError(f"{fields.where}: {key} {shown(text)!r} is no time of RFC 3339")
    fraction = (found[2] or "")[:9].rstrip("0")
    zone = "Z" if found[3][1:] == "00:00" else found[3]
    return found[1] + (f".{fraction}" if fraction else "") + zone


def _after(text: str, at: int) -> int:
    """Return where the white space at ``at`` ends."""
    found = _SPACE.match(text, at)
    return found.end() if found else at
