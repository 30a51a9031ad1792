"""The JSON Schemas of transship's documents, and a check against them that names the place.

Imports jsonschema alone, and that only when something is checked. Refuses to be imported as a
top-level ``schemas``, as ``pipeline`` does.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

if not __name__.startswith("transship."):
    raise ImportError("import transship.schemas, not schemas")

_CUT: Final = 80
_WORDS: Final = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class SchemaError(Exception):
    """A document does not fit its schema.

    ``path`` leads to the value or, for a key that may not stand there, to that key;
    ``message`` is one line, ``reason`` what of it comes after the place.
    """

    def __init__(self, path: tuple[str | int, ...], what: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        where = place(path)
        self.message = f"{what}: {where}: {reason}" if where else f"{what}: {reason}"
        super().__init__(self.message)


def validate(name: str, document: object, what: str) -> None:
    """Check ``document`` against ``<name>.schema.json``; ``what`` names it in the message.

    Raises:
        SchemaError: it does not fit; of several faults the one that explains most.
    """
    from jsonschema.exceptions import best_match  # noqa: PLC0415

    found = best_match(_validator(name).iter_errors(cast(Any, document)))
    if found is not None:
        raise _explained(found, what)


def place(path: tuple[str | int, ...]) -> str:
    """Return ``path`` as people write it: ``images[2].to[0]``, cut where it is long."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{_cut(_key(step))}" if text else _cut(_key(step))
    return text


@cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415

    # JSON Schema takes 1.0 for an integer; a size or a version of 1.0 is none.
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict = cast(Any, validators).extend(Draft202012Validator, type_checker=types)
    made: Validator = strict(_inlined(_schema(name), name))
    return made


def _inlined(part: Any, name: str) -> Any:
    """Return ``part`` of schema ``name`` with what it refers to in place of each reference; none leads in a circle.

    jsonschema looks up a reference anew for each value, which is most of what a lock of a thousand images takes.
    """
    if isinstance(part, list):
        return [_inlined(one, name) for one in part]
    if not isinstance(part, dict):
        return part
    own = {key: _inlined(value, name) for key, value in part.items() if key != "$ref"}
    return {**own, **_referred(part["$ref"], name)} if "$ref" in part else own


@cache
def _referred(reference: str, name: str) -> Any:
    file, _, steps = reference.partition("#")
    name = file.removesuffix(".schema.json") or name
    found = _schema(name)
    for step in steps.split("/")[1:]:
        found = found[step]
    # Where a part names its dialect, jsonschema leaves our stricter validator for the plain one.
    return _inlined({key: value for key, value in found.items() if key not in ("$schema", "$id")}, name)


@cache
def _schema(name: str) -> Any:
    return json.loads(resources.files(__name__).joinpath(f"{name}.schema.json").read_text("utf-8"))


def _explained(error: ValidationError, what: str) -> SchemaError:
    path = tuple(error.absolute_path)
    schema = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "additionalProperties":
        known = schema.get("properties", {})
        key = next(key for key in cast("dict[str, Any]", error.instance) if key not in known)
        return SchemaError((*path, key), what, f"unknown key; known are {', '.join(_allowed(known))}")
    if "description" in schema and error.validator not in ("type", "required"):
        return SchemaError(path, what, _cut(str(schema["description"]), 200))
    return SchemaError(path, what, _reason(error, error.instance, error.validator_value))


def _allowed(known: dict[str, Any]) -> list[str]:
    return [key for key, schema in known.items() if "not" not in schema]


def _reason(error: ValidationError, value: object, wanted: Any) -> str:
    match error.validator:
        case "type":
            types = wanted if isinstance(wanted, list) else [wanted]
            return f"is {_described(value)}, expected {' or '.join(_WORDS[name] for name in types)}"
        case "required":
            missing = [key for key in wanted if isinstance(value, dict) and key not in value]
            return f"{' and '.join(map(repr, missing))} {'is' if len(missing) == 1 else 'are'} missing"
        case "const":
            return f"is {_cut(repr(value))}, expected {wanted!r}"
        case "enum":
            return f"is {_cut(repr(value))}, expected one of {', '.join(str(item) for item in wanted if item)}"
    return _cut(error.message, 200)


def _described(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "null"
    if isinstance(value, (int, float)):
        return f"the number {_cut(repr(value))}"
    if isinstance(value, str):
        return f"the string {_cut(repr(value))}"
    return "an object" if isinstance(value, dict) else "a list"


def _key(key: str) -> str:
    return key if key.isprintable() else repr(key)


def _cut(text: str, limit: int = _CUT) -> str:
    return text if len(text) <= limit else text[:limit] + "..."
