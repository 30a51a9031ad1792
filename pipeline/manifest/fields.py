"""Typed reading of the fields of a JSON object; every refusal names the field.

A field in another spelling than the known one (``Layers``) is refused: Go readers would take it.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.document import Json, Object

_T = TypeVar("_T")


class Fields:
    """One JSON object and its place in a document, such as ``manifest sha256:... layers[2]``."""

    __slots__ = ("document", "where")

    def __init__(self, document: Object, where: str) -> None:
        self.document = document
        self.where = where

    def refuse_misspelt(self, known: Mapping[str, str]) -> None:
        """Raise `ContentError` where a key is one of ``known`` (folded -> right) in another case."""
        for key in self.document:
            right = known.get(key.casefold(), key)
            if right != key:
                raise ContentError(f"{self.where}: key {shown(key)!r} is {right!r} in another spelling")

    def text(self, key: str) -> str:
        """Return the string at ``key``; absent is an error."""
        return self._typed(key, str)

    def optional_text(self, key: str) -> str:
        """Return the string at ``key``, empty where it is absent or null."""
        return self._typed(key, str) if self.document.get(key) is not None else ""

    def size(self, key: str = "size") -> int:
        """Return the non-negative 64-bit integer at ``key``."""
        value = self._typed(key, int)
        if not 0 <= value < 1 << 63:
            raise ContentError(f"{self.where}: {key} {value} is not a size")
        return value

    def digest(self, key: str = "digest") -> Digest:
        """Return the digest at ``key``."""
        try:
            return Digest.parse(self.text(key))
        except ContentError as error:
            raise ContentError(f"{self.where}: {key}: {error}") from error

    def object(self, key: str) -> "Fields":
        """Return the object at ``key``."""
        return Fields(self._typed(key, dict), f"{self.where} {key}")

    def optional_object(self, key: str) -> "Fields | None":
        """Return the object at ``key``, None where it is absent or null."""
        return self.object(key) if self.document.get(key) is not None else None

    def objects(self, key: str) -> "list[Fields]":
        """Return the list of objects at ``key``; absent is an error."""
        return list(self.each(key))

    def each(self, key: str) -> "Iterator[Fields]":
        """Yield the objects of the list at ``key``, as `objects` returns them; for lists of many thousands."""
        for position, item in enumerate(self._typed(key, list)):
            if not isinstance(item, dict):
                raise ContentError(f"{self.where}: {key}[{position}] is not an object")
            yield Fields(item, f"{self.where} {key}[{position}]")

    def optional_objects(self, key: str) -> "list[Fields]":
        """Return the list of objects at ``key``, empty where it is absent or null."""
        return self.objects(key) if self.document.get(key) is not None else []

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings at ``key``, empty where it is absent or null."""
        if self.document.get(key) is None:
            return ()
        values = self._typed(key, list)
        if not all(isinstance(value, str) for value in values):
            raise ContentError(f"{self.where}: {key} is not a list of strings")
        return tuple(str(value) for value in values)

    def text_map(self, key: str) -> dict[str, str]:
        """Return the string-to-string map at ``key``, empty where it is absent or null."""
        found = self.optional_object(key)
        if found is None:
            return {}
        return {name: found.text(name) for name in found.document}

    def _typed(self, key: str, kind: type[_T]) -> _T:
        value: Json = self.document.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            found = "missing" if key not in self.document else f"a {type(value).__name__}"
            raise ContentError(f"{self.where}: {key} is {found}, expected {_NAMES[kind]}")
        return value


_NAMES: dict[type, str] = {str: "a string", int: "an integer", dict: "an object", list: "a list"}
