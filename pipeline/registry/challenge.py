"""Parsing ``WWW-Authenticate``: RFC 9110 (which replaced RFC 7235), sections 11.2 to 11.6."""

import re
from types import MappingProxyType
from typing import Final, NamedTuple

_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_SCHEME: Final = re.compile(rf"[\s,]*({_NAME})(?=[\s,]|$)[ \t]*", re.ASCII)
_PARAMETER: Final = re.compile(
    rf'[\s,]*({_NAME})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_NAME}))[ \t]*(?=,|$)', re.ASCII | re.DOTALL
)
_TOKEN68: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)", re.ASCII)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_MAX_HEADER: Final = 16 << 10


class Challenge(NamedTuple):
    """One challenge: its scheme in lower case, its parameters by lower-case name."""

    scheme: str
    parameters: MappingProxyType[str, str]


def parse(header: str) -> tuple[Challenge, ...]:
    """Return the challenges of a header, several field lines joined by commas, in their order.

    Never raises: what follows the first malformed byte is left out, and so is the challenge it
    stands in, as half of a challenge could mean something else. Of a parameter twice, neither
    counts for certain: such a challenge is left out too.
    """
    found: list[Challenge] = []
    position = 0
    while len(header) <= _MAX_HEADER and (scheme := _SCHEME.match(header, position)):
        position, parameters = _parameters(header, scheme.end())
        if parameters is not None:
            found.append(Challenge(scheme[1].lower(), MappingProxyType(parameters)))
        if position < len(header) and header[position] != ",":
            break
    return tuple(found)


def _parameters(header: str, position: int) -> tuple[int, dict[str, str] | None]:
    """Return where the next challenge starts, and the parameters of this one unless it is malformed."""
    token68 = _TOKEN68.match(header, position)
    if token68:
        # ``Scheme a=`` is read as token68; a token with a value is a parameter.
        return token68.end(), {}
    parameters: dict[str, str] = {}
    sound = True
    while match := _PARAMETER.match(header, position):
        name = match[1].lower()
        sound = sound and name not in parameters
        parameters[name] = _ESCAPE.sub(r"\1", match[2]) if match[2] is not None else match[3]
        position = match.end()
    return position, parameters if sound and _ends_well(header, position) else None


def _ends_well(header: str, position: int) -> bool:
    """Say whether a scheme or the end follows, and not a parameter that broke off."""
    return not header[position:].strip(" \t,") or _SCHEME.match(header, position) is not None
