"""The part of Go's text/template that ``inspect --format`` is used with; anything else is an error.

Fields, variables, ``range`` and ``if`` with ``else``, pipes, and the functions json, join, len,
index, lower, upper and printf with %s, %v, %d, %q. Source: Go's text/template, and the functions
that skopeo adds to it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.inspection.values import Nil, Struct, Value, is_empty, printed, to_json

_ACTION: Final = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_OPERAND: Final = re.compile(
    r"""\s*(?:"((?:[^"\\\n]|\\.)*)"|`([^`]*)`|(-?\d+)|(\$\w+)?((?:\.\w+)+)|(\$\w+)|(\.)|(true|false)\b|(\w+)|(\|))"""
)
_RANGE: Final = re.compile(r"(?:\$(\w+)\s*(?:,\s*\$(\w+)\s*)?:=)?(.*)", re.DOTALL)
_VERB: Final = re.compile(r"%(.)")
_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_UNSUPPORTED: Final = frozenset({"with", "template", "define", "block", "break", "continue"})
_MAX_DEPTH: Final = 32

_Variables = Mapping[str, Value]


class _Block(NamedTuple):
    """``range`` or ``if``: what it is asked, and what comes once that is so, or else."""

    verb: str
    names: tuple[str, ...]
    pipeline: str
    body: "list[_Part]"
    otherwise: "list[_Part]"


class _Print(NamedTuple):
    pipeline: str


_Part = str | _Print | _Block


def render(template: str, data: Value) -> str:
    r"""Return ``template`` filled in with ``data``; as in skopeo ``\t`` and ``\n`` are escapes and a line end is added.

    Raises:
        UsageError: it is malformed, names what is not there, or uses what is not supported.
    """
    if template.startswith("table "):
        raise UsageError("template: table is not supported", advice="write the columns with {{...}} and \\t")
    text = template.replace("\\t", "\t").replace("\\n", "\n")
    parts, left = _parse(_pieces(text), 0, top=True)
    assert left == ""
    out = "".join(_fill(parts, data, {}))
    return out if text.endswith("\n") else out + "\n"


def _pieces(text: str) -> Iterator[str | tuple[str]]:
    """Yield texts, and actions as tuples of one; white space trimmed where ``{{-`` and ``-}}`` say so."""
    position = 0
    trim = False
    for found in _ACTION.finditer(text):
        before = text[position : found.start()]
        before = before.lstrip() if trim else before
        yield before.rstrip() if found[1] else before
        yield (found[2],)
        trim, position = bool(found[3]), found.end()
    rest = text[position:]
    if "{{" in rest:
        raise UsageError(f"template: {shown(rest[rest.index('{{') :])!r} is not closed", advice="expected }}")
    yield rest.lstrip() if trim else rest


def _parse(pieces: Iterator[str | tuple[str]], depth: int, *, top: bool = False) -> tuple[list[_Part], str]:
    """Return the parts up to the ``end`` or ``else`` of this block, and that word."""
    if depth > _MAX_DEPTH:
        raise UsageError(f"template: nested deeper than {_MAX_DEPTH}")
    parts: list[_Part] = []
    for piece in pieces:
        if isinstance(piece, str):
            parts.append(piece)
            continue
        verb, _, rest = piece[0].partition(" ")
        if verb in _UNSUPPORTED:
            raise UsageError(f"template: {verb!r} is not supported", advice="range and if are")
        if verb in ("range", "if"):
            parts.append(_block(verb, rest, pieces, depth))
        elif verb in ("end", "else"):
            if top or rest:
                raise UsageError(f"template: {shown(piece[0])!r} is not expected here")
            return parts, verb
        elif not piece[0].startswith("/*"):
            parts.append(_Print(piece[0]))
    if not top:
        raise UsageError("template: a range or if has no {{end}}")
    return parts, ""


def _block(verb: str, rest: str, pieces: Iterator[str | tuple[str]], depth: int) -> _Block:
    found = _RANGE.fullmatch(rest)
    assert found is not None
    names = tuple(name for name in (found[1], found[2]) if name)
    if names and verb == "if":
        raise UsageError("template: variables are supported in range alone")
    body, word = _parse(pieces, depth + 1)
    otherwise: list[_Part] = []
    if word == "else":
        otherwise, word = _parse(pieces, depth + 1)
    if word != "end":
        raise UsageError("template: a range or if has two {{else}}")
    return _Block(verb, names, found[3], body, otherwise)


def _fill(parts: Sequence[_Part], dot: Value, variables: _Variables) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Print):
            yield printed(_evaluate(part.pipeline, dot, variables))
        else:
            yield from _fill_block(part, dot, variables)


def _fill_block(block: _Block, dot: Value, variables: _Variables) -> Iterator[str]:
    value = _evaluate(block.pipeline, dot, variables)
    if block.verb == "if":
        yield from _fill(block.otherwise if is_empty(value) else block.body, dot, variables)
        return
    items = _items(value)
    for key, item in items:
        # One variable is the element, two are its key and the element.
        bound = dict(zip(block.names, (item,) if len(block.names) == 1 else (key, item), strict=False))
        yield from _fill(block.body, item, {**variables, **bound})
    if not items:
        yield from _fill(block.otherwise, dot, variables)


def _items(value: Value) -> list[tuple[Value, Value]]:
    if isinstance(value, Nil):
        return []
    if isinstance(value, Mapping):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, list):
        return list(enumerate(value))
    raise UsageError("template: range needs a list or a map")


def _evaluate(pipeline: str, dot: Value, variables: _Variables) -> Value:
    stages = _stages(pipeline, dot, variables)
    result: list[Value] = []
    for function, operands in stages:
        given = [*operands, *result]
        if function is None:
            if len(given) != 1:
                raise UsageError(f"template: {shown(pipeline)!r} is no single value")
            result = given
            continue
        if function not in _FUNCTIONS:
            raise UsageError(f"template: no function {shown(function)!r}", advice=f"there are {', '.join(_FUNCTIONS)}")
        result = [_call(function, given)]
    if not result:
        raise UsageError("template: an action is empty")
    return result[0]


def _stages(pipeline: str, dot: Value, variables: _Variables) -> list[tuple[str | None, list[Value]]]:
    """Return the commands between pipes: each a function or none, and its operands."""
    stages: list[tuple[str | None, list[Value]]] = [(None, [])]
    position = 0
    while pipeline[position:].strip():
        found = _OPERAND.match(pipeline, position)
        if found is None:
            raise UsageError(f"template: {shown(pipeline[position:].strip())!r} is not supported")
        position = found.end()
        function, operands = stages[-1]
        if found[10]:
            stages.append((None, []))
        elif found[9]:
            if function or operands:
                raise UsageError(f"template: {shown(found[9])!r} is not expected in {shown(pipeline)!r}")
            stages[-1] = (found[9], operands)
        else:
            operands.append(_operand(found, dot, variables))
    return stages


def _operand(found: "re.Match[str]", dot: Value, variables: _Variables) -> Value:
    text, raw, number, variable, path, alone, _, truth = found.groups()[:8]
    if text is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), text)
    if raw is not None:
        return raw
    if number is not None:
        return int(number)
    if truth is not None:
        return truth == "true"
    name = variable or alone
    if name and name[1:] not in variables:
        raise UsageError(f"template: no variable {shown(name)}")
    value = variables[name[1:]] if name else dot
    for part in path.split(".")[1:] if path else ():
        value = _field(value, part)
    return value


def _field(value: Value, name: str) -> Value:
    if isinstance(value, Struct):
        return value.get(name)
    if isinstance(value, Mapping):
        return value.get(name, "<no value>")
    raise UsageError(f"template: {shown(name)!r} is asked of what has no fields")


def _call(name: str, operands: list[Value]) -> Value:
    try:
        return _FUNCTIONS[name](*operands)
    except (TypeError, ValueError, LookupError):
        raise UsageError(f"template: {name} does not take what it was given") from None


def _join(items: Value, separator: Value) -> Value:
    if isinstance(items, str) and isinstance(separator, list):
        items, separator = separator, items
    return str(separator).join(printed(item) for _, item in _items(items))


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, Mapping) and isinstance(key, str):
            value = value.get(key, "")
        elif isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise LookupError
    return value


def _printf(form: Value, *operands: Value) -> Value:
    left = list(operands)

    def one(verb: "re.Match[str]") -> str:
        if verb[1] == "%":
            return "%"
        if verb[1] not in "svdq":
            raise UsageError(f"template: printf knows %s, %v, %d and %q, not {shown(verb[0])}")
        value = left.pop(0)
        return to_json(str(printed(value))) if verb[1] == "q" else printed(value)

    text = _VERB.sub(one, str(form))
    if left:
        raise ValueError
    return text


_FUNCTIONS: Final[Mapping[str, Callable[..., Value]]] = {
    "json": to_json,
    "join": _join,
    "len": lambda value: len(value) if isinstance(value, str) else len(_items(value)),
    "index": _index,
    "lower": lambda value: str(value).lower(),
    "upper": lambda value: str(value).upper(),
    "printf": _printf,
}
