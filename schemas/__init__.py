"""The JSON Schemas of transship's documents, and a check against them that names the place.

Imports jsonschema alone, and that only when something is checked. Refuses to be imported as a
top-level ``schemas``, as ``pipeline`` does.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator
    from referencing import Resource

if not __name__.startswith("transship."):
    raise ImportError("import transship.schemas, not schemas")

_CUT: Final = 80
_REFERENCE: Final = re.compile(r'"\$ref": "([a-z0-9-]+)\.schema\.json')
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
    from referencing import Registry  # noqa: PLC0415

    # JSON Schema takes 1.0 for an integer; a size or a version of 1.0 is none.
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    strict = cast(Any, validators).extend(Draft202012Validator, type_checker=types)
    # All at once: what a registry retrieves by itself it reads and indexes again for each reference.
    others: Registry[Any] = Registry()
    found = [(f"{other}.schema.json", _resource(other)) for other in sorted(_referred(name) - {name})]
    made: Validator = strict(_schema(name), registry=others.with_resources(found).crawl())
    return made


def _referred(name: str) -> set[str]:
    """Return the schemas that ``name`` refers to, those that these refer to, and so on, and itself."""
    found, waiting = set[str](), [name]
    while waiting:
        found.add(waiting[-1])
        waiting += set(_REFERENCE.findall(_text(waiting.pop()))) - found
    return found


def _schema(name: str) -> Any:
    return json.loads(_text(name))


def _text(name: str) -> str:
    return resources.files(__name__).joinpath(f"{name}.schema.json").read_text("utf-8")


def _resource(name: str) -> Resource[Any]:
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    contents = _schema(name)
    # Where a referred schema names its dialect, jsonschema leaves our stricter validator for the plain one.
    del contents["$schema"]
    return DRAFT202012.create_resource(contents)


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
