"""Strict JSON for documents from outside: one meaning, or an error.

Duplicate and case-variant keys are refused because readers disagree about them
(Go folds case, Python does not), and what one tool verified another would not see.
"""

import json
import re
from collections.abc import Mapping
from typing import Final, NoReturn, TypeAlias, cast

from transship.pipeline.errors import ContentError, shown

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Object: TypeAlias = dict[str, Json]

MAX_DOCUMENT: Final = 4 << 20
"""Bytes; what registries accept for a manifest (distribution-spec, "Pushing Manifests")."""
MAX_DEPTH: Final = 64
_BYTES_A_COMMA: Final = 16
_BYTES_A_BRACKET: Final = 48
"""Of a document as long as its limit no value may be shorter, on average: some bytes of JSON take fifty of memory."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MAX_DIGITS: Final = 20
_FREE_MAPS: Final = frozenset({"annotations", "Labels", "labels", "Volumes", "ExposedPorts"})


def load(raw: bytes, what: str, limit: int = MAX_DOCUMENT, *, secret: bool = False) -> Object:
    """Return the JSON object in ``raw``; ``what`` names it in messages, which show nothing of what is ``secret``.

    Raises:
        ContentError: over ``limit`` bytes, not UTF-8, a byte order mark, not one JSON object, trailing
            bytes, duplicate or case-variant keys, NaN, an integer over 20 digits, half a surrogate pair, depth
            over 64, more values than a manifest of 4 MiB can have a use for.
    """
    document = _strict(raw, what, limit, secret=secret)
    if not isinstance(document, dict):
        raise ContentError(f"{what}: expected a JSON object, got {type(document).__name__}")
    return cast(Object, document)


def load_objects(raw: bytes, what: str, limit: int = MAX_DOCUMENT) -> list[Object]:
    """Return the objects of the JSON list in ``raw``; raises as `load` does, also where one is no object."""
    document = _strict(raw, what, limit)
    if not isinstance(document, list):
        raise ContentError(f"{what}: expected a JSON list, got {type(document).__name__}")
    for number, item in enumerate(document):
        if not isinstance(item, dict):
            raise ContentError(f"{what}: [{number}] is not an object")
    return cast(list[Object], document)


def _strict(raw: bytes, what: str, limit: int, *, secret: bool = False) -> object:
    if len(raw) > limit:
        raise ContentError(f"{what}: {len(raw)} bytes, over the limit of {limit}")
    brackets = raw.count(b"{") + raw.count(b"[")
    if brackets > limit // _BYTES_A_BRACKET or raw.count(b",") > limit // _BYTES_A_COMMA:
        raise ContentError(f"{what}: too many values for a document")
    try:
        document: object = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ContentError(f"{what}: not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        # Not chained: it holds the document.
        excerpt = "" if secret else f" ({shown(error.doc[error.pos : error.pos + 20])!r})"
        raise ContentError(f"{what}: not JSON: {error.msg} at byte {error.pos}{excerpt}") from None
    except RecursionError as error:
        raise ContentError(f"{what}: nested deeper than {MAX_DEPTH}") from error
    except _RefusedError as error:
        raise ContentError(f"{what}: {error}") from error
    # Counting brackets is an upper bound of the depth, and spares nearly every document the walk.
    if brackets > MAX_DEPTH and _depth(document) > MAX_DEPTH:
        raise ContentError(f"{what}: nested deeper than {MAX_DEPTH}")
    _refuse_variants(document, "", what)
    if _SURROGATE.search(raw):
        _refuse_surrogates(document, what)
    return document


def dump(document: Mapping[str, Json]) -> bytes:
    """Return the canonical bytes of a document that transship makes: compact, UTF-8, keys as given."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def dump_lines(document: Mapping[str, Json]) -> bytes:
    """Return a document as it stands in a file that people compare: keys sorted, one thing a line."""
    # Half a surrogate pair, which JSON can escape and UTF-8 cannot hold, stays escaped.
    return f"{json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)}\n".encode(errors="backslashreplace")


class _RefusedError(Exception):
    pass


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError(f"key {shown(key)!r} stands twice")
            seen.add(key)
    return document


def _refuse_variants(document: object, parent: str, what: str) -> None:
    """Refuse keys that differ in case alone, but for maps whose keys are the user's own words."""
    if isinstance(document, list):
        for child in document:
            _refuse_variants(child, parent, what)
    elif isinstance(document, dict):
        folded: dict[str, str] = {}
        for key, child in document.items():
            other = folded.setdefault(key.casefold(), key)
            if other != key and parent not in _FREE_MAPS:
                raise ContentError(f"{what}: keys {shown(other)!r} and {shown(key)!r} differ in case alone")
            _refuse_variants(child, key, what)


def _refuse_surrogates(document: object, what: str) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        # No UTF-8 can hold it: what one reader replaces another keeps.
        raise ContentError(f"{what}: holds half a surrogate pair, which is no character") from error


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _RefusedError(f"number of {len(digits)} digits")
    return int(digits)


def _float(text: str) -> float:
    value = float(text) if len(text) <= 2 * _MAX_DIGITS else float("inf")
    if value in (float("inf"), float("-inf")):
        raise _RefusedError(f"number out of range: {shown(text, 40)}")
    return value


def _constant(name: str) -> NoReturn:
    raise _RefusedError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant
)


def _depth(document: object) -> int:
    level: list[object] = [document]
    depth = 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            child
            for node in level
            if isinstance(node, (dict, list))
            for child in (node.values() if isinstance(node, dict) else node)
        ]
    return depth
