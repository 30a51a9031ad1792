"""YAML or JSON read into plain values, with the line of every key; bounded, and nothing is constructed.

YAML is that of PyYAML's safe loader, but for dates, which stay the text that they are.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any, Final, TypeAlias

import yaml

from transship.pipeline.errors import UsageError, shown
from transship.schemas import place

MAX_BATCH: Final = 16 << 20
_MAX_REPEATED: Final = 100_000
_MAX_DEPTH: Final = 64
_MAX_MESSAGE: Final = 2000
_ESCAPE: Final = re.compile(r"\\(?:(/|u[dD][89abAB][0-9a-fA-F]{2}|u[dD][c-fC-F][0-9a-fA-F]{2})|.)")
_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = frozenset({f"{_TAG}{name}" for name in ("map", "seq", "str", "null", "bool", "int", "float")})

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The value of a file, and the line (from 1) where each key and list item begins."""

    path: File
    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of ``path``, or of the nearest thing around it that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def refusal(self, path: Path, why: str, advice: str = "") -> UsageError:
        """Return the error that says why what stands at ``path`` is refused."""
        where = f"key {place(path)}: " if path else ""
        # Sources and paths in ``why`` are the user's own text, a newline in them too.
        return UsageError(f"{self.path}:{self.line(path)}: {where}{shown(why, _MAX_MESSAGE)}", advice=advice)


def read_document(path: File, *, literal: bool = False, limit: int = MAX_BATCH) -> Document:
    """Return what the file holds; JSON where it is named ``*.json``, else YAML.

    With ``literal`` it is YAML whatever its name, and numbers and booleans stay the text that they are: a
    tag 1.10 is no number.

    Raises:
        UsageError: unreadable, over ``limit`` bytes, not UTF-8, malformed, a key twice, nested too deeply,
            or grown too large by its aliases; names the line.
    """
    text = _read(path, limit)
    try:
        strict_json = path.suffix == ".json" and not literal
        value = json.loads(text) if strict_json else None
        root = yaml.compose(_as_yaml(text) if strict_json else text, Loader=_LOADER)
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = shown(str(error.problem or error.context))
        raise UsageError(f"{path}:{mark.line + 1 if mark else 1}: not YAML: {reason}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path}: not YAML: {shown(' '.join(str(error).split()))}") from error
    except RecursionError as error:
        raise UsageError(f"{path}: nested too deeply") from error
    if root is None:
        raise UsageError(f"{path}: is empty", advice="expected something to copy")
    walk = _Walk(path, literal)
    walked = walk.value(root, ())
    return Document(path, value if strict_json else walked, walk.lines)


def _read(path: File, limit: int) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise UsageError(f"{path}: over the limit of {limit >> 20} MiB", advice="split it")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 at byte {error.start}") from error


def _as_yaml(text: str) -> str:
    """Return valid JSON as YAML of the same keys and lines; what YAML cannot escape loses its meaning."""
    # A tab cannot stand inside a JSON string, and YAML allows none between tokens.
    return _ESCAPE.sub(lambda match: "?" if match[1] else match[0], text.replace("\t", " "))


_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Walk:
    """Turns nodes into values; an alias is walked each time it is met, so what is met again is counted."""

    def __init__(self, path: File, literal: bool) -> None:
        self._literal = literal
        self.lines: dict[Path, int] = {}
        self._path = path
        self._seen: set[int] = set()
        self._repeated = 0
        self._scalars: Any = yaml.constructor.SafeConstructor()

    def value(self, node: yaml.Node, at: Path) -> object:
        self._repeated += id(node) in self._seen
        self._seen.add(id(node))
        if len(at) > _MAX_DEPTH or self._repeated > _MAX_REPEATED:
            problem = "nested too deeply" if len(at) > _MAX_DEPTH else "its aliases make it too large"
            raise self._refusal(node, problem)
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, f"{_TAG}seq")
            return [self.value(item, (*at, n)) for n, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, at: Path) -> dict[str, object]:
        self._refuse_tag(node, f"{_TAG}map")
        found: dict[str, object] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refusal(key_node, "a key is not a plain string")
            key = key_node.value
            if key in found:
                first = self.lines[(*at, key)]
                raise self._refusal(key_node, f"key {shown(key)!r} stands twice, first in line {first}")
            self.lines[(*at, key)] = key_node.start_mark.line + 1
            found[key] = self.value(child, (*at, key))
        return found

    def _scalar(self, node: yaml.Node) -> object:
        if node.tag == f"{_TAG}timestamp" or (self._literal and node.tag in _PLAIN - {f"{_TAG}null"}):
            return node.value
        if node.tag not in _PLAIN:
            raise self._refusal(node, f"tag {shown(node.tag)!r} is not allowed")
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError) as error:
            raise self._refusal(node, f"malformed value {shown(str(node.value), 40)!r}") from error

    def _refuse_tag(self, node: yaml.Node, expected: str) -> None:
        if node.tag != expected:
            raise self._refusal(node, f"tag {shown(node.tag)!r} is not allowed")

    def _refusal(self, node: yaml.Node, why: str) -> UsageError:
        return UsageError(f"{self._path}:{node.start_mark.line + 1}: {why}")
