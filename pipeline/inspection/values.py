"""Values as Go's encoding/json and text/template see them: structs in order, nil lists, times.

Source: Go's documentation of encoding/json (struct tags, HTML escaping), fmt (``%v``) and time.
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline.errors import ContentError, UsageError, shown

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# What a terminal would obey rather than show, and JSON may leave as it is.
_OBEYED: Final = {
    code: f"\\u{code:04x}"
    for code in (*range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_CONTROLS: Final = _OBEYED | {code: f"\\x{code:02x}" for code in range(0x20) if chr(code) not in "\n\t"}
# encoding/json keeps its output safe inside HTML.
_HTML: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


class Time(NamedTuple):
    """A time as written, its fraction (up to 9 digits) without trailing zeros, its offset ``+hhmm``."""

    date: str
    clock: str
    fraction: str
    offset: str

    @classmethod
    def parse(cls, text: str, what: str) -> "Time":
        """Return the time that RFC 3339 ``text`` spells.

        Raises:
            ContentError: it does not.
        """
        found = _TIME.fullmatch(text)
        if found is None:
            raise ContentError(f"{what}: {shown(text)!r} is no time of RFC 3339")
        fraction = (found[3] or "")[:9].rstrip("0")
        return cls(
            found[1],
            found[2],
            f".{fraction}" if fraction else "",
            f"{found[4]}{found[5]}{found[6]}" if found[4] else "+0000",
        )

    @property
    def rfc3339(self) -> str:
        """As JSON has it; zero offset is ``Z``."""
        zone = f"{self.offset[:3]}:{self.offset[3:]}" if self.offset[1:] != "0000" else "Z"
        return f"{self.date}T{self.clock}{self.fraction}{zone}"

    def __str__(self) -> str:
        zone = f"{self.offset} {self.offset}" if self.offset[1:] != "0000" else "+0000 UTC"
        return f"{self.date} {self.clock}{self.fraction} {zone}"


ZERO_TIME: Final = Time("0001-01-01", "00:00:00", "", "+0000")


class Nil(NamedTuple):
    """A nil slice, map or pointer: null in JSON, ``printed`` in a template."""

    printed: str


NIL_LIST: Final = Nil("[]")
NIL_MAP: Final = Nil("map[]")
NIL_POINTER: Final = Nil("<nil>")


class Field(NamedTuple):
    """A field: its name in templates, its key in JSON, and whether JSON leaves it out where it is empty."""

    name: str
    key: str
    value: "Value"
    omit_empty: bool = False


class Struct(NamedTuple):
    """Fields in their order."""

    fields: tuple[Field, ...]

    def get(self, name: str) -> "Value":
        """Return a field's value.

        Raises:
            UsageError: there is no such field; the message lists those there are.
        """
        for field in self.fields:
            if field.name == name:
                return field.value
        raise UsageError(
            f"template: no field {shown(name)!r}", advice=f"there are {', '.join(field.name for field in self.fields)}"
        )


Value: TypeAlias = "str | int | bool | Time | Nil | Struct | Sequence[Value] | Mapping[str, Value]"


def to_json(value: Value, *, indent: int | None = None) -> str:
    """Return the JSON that Go's encoding/json makes: with ``indent`` over lines and safe inside HTML, else compact."""
    plain = _plain(value)
    if indent is None:
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).translate(_OBEYED)
    out = io.StringIO()
    # Not joined: the pieces of a list of twenty thousand layers take many times what they spell.
    for piece in json.JSONEncoder(ensure_ascii=False, indent=indent).iterencode(plain):
        out.write(piece)
    return out.getvalue().translate(_HTML | _OBEYED)


def printed(value: Value) -> str:
    """Return what ``{{value}}`` prints, with escapes for controls that a terminal would obey, but for ends of lines.

    Raises:
        UsageError: a struct, whose fields are to be named one by one.
    """
    if isinstance(value, Struct):
        raise UsageError("template: a whole object is not printed", advice="name its fields, or use json")
    if isinstance(value, Nil):
        return value.printed
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | Time):
        return str(value).translate(_CONTROLS)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{printed(key)}:{printed(value[key])}' for key in sorted(value))}]"
    return f"[{' '.join(printed(item) for item in value)}]"


def is_empty(value: Value) -> bool:
    """Say whether JSON's ``omitempty`` and a template's ``if`` take it for nothing."""
    return isinstance(value, Nil) or (not isinstance(value, Time | Struct) and not value)


def _plain(value: Value) -> object:
    if isinstance(value, Nil | Time):
        return value.rfc3339 if isinstance(value, Time) else None
    if isinstance(value, Struct):
        return {
            field.key: _plain(field.value) for field in value.fields if not (field.omit_empty and is_empty(field.value))
        }
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {_SURROGATE.sub("\ufffd", key): _plain(value[key]) for key in sorted(value)}
    return [_plain(item) for item in value]
