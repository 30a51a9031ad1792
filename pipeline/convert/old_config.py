"""The config of images that Docker before 1.8.3 made, written anew as Docker and containers-image do.

Source: containers-image ``manifest/docker_schema2.go``, ``Schema2V1Image`` and ``Schema2Config``, in the order of their
fields. What they do not know they drop; where that would lose something, nothing is written anew.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from transship.pipeline.convert.spelling import joined, quoted, time
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.fields import Fields

_BEFORE: Final = (1, 8, 3)
_TEXTS: Final = ("id", "parent", "comment", "container", "docker_version", "author", "architecture", "variant", "os")
_PASSED_ON: Final = frozenset({"throwaway", "parent_id", "layer_id", "Size"})
"""Of the entry, not of the config."""


def is_old(version: str) -> bool:
    """Say whether ``version`` of Docker is one whose configs are written anew; what is no number counts as 0."""
    parts = [int(part) if part.isdecimal() and part.isascii() and len(part) < 9 else 0 for part in version.split(".")]
    return bool(version) and (*parts, 0, 0, 0)[: max(3, len(parts))] < _BEFORE


def renewed(fields: Fields) -> dict[str, str] | None:
    """Return the JSON of each field of the config anew, None where that would lose something."""
    document = fields.document
    known = {*_TEXTS, *_PASSED_ON, "created", "container_config", "config"}
    if any(value and key not in known for key, value in document.items()):
        return None
    with suppress(ContentError):
        parts = {key: quoted(text) for key in _TEXTS if (text := fields.optional_text(key))}
        parts["created"] = quoted(time(fields, "created"))
        parts["container_config"] = _run(fields.optional_object("container_config") or Fields({}, fields.where))
        run = fields.optional_object("config")
        return parts | ({"config": _run(run)} if run else {})
    return None


def _run(fields: Fields) -> str:
    """Return one of the two configs; raises `ContentError` where a field is of another kind, or would be dropped."""
    for key, value in fields.document.items():
        if value and key not in _RUN:
            raise ContentError(f"{fields.where}: {key} would be lost")
    made = {key: spell(fields, key) for key, (spell, _) in _RUN.items()}
    return joined({key: text for key, text in made.items() if not _RUN[key][1] or text not in _NOTHING})


_NOTHING: Final = ('""', "false", "null", "{}", "[]")


def _text(fields: Fields, key: str) -> str:
    return quoted(fields.optional_text(key))


def _flag(fields: Fields, key: str) -> str:
    value = fields.document.get(key)
    if value not in (True, False, None):
        raise ContentError(f"{fields.where}: {key} is no truth value")
    return "true" if value else "false"


def _list(fields: Fields, key: str) -> str:
    if fields.document.get(key) is None:
        return "null"
    return "[" + ",".join(quoted(text) for text in fields.texts(key)) + "]"


def _words(fields: Fields, key: str) -> str:
    said = fields.document.get(key)
    return f"[{quoted(said)}]" if isinstance(said, str) else _list(fields, key)


def _set(fields: Fields, key: str) -> str:
    found = _map(fields, key)
    return "null" if found is None else joined(dict.fromkeys(sorted(found), "{}"))


def _labels(fields: Fields, key: str) -> str:
    found = _map(fields, key)
    return "null" if found is None else joined({name: _label(found[name]) for name in sorted(found)})


def _map(fields: Fields, key: str) -> Object | None:
    found = fields.optional_object(key)
    return found.document if found else None


def _label(value: Json) -> str:
    if not isinstance(value, str):
        raise ContentError("a label is no string")
    return quoted(value)


_RUN: Final[Mapping[str, tuple[Callable[[Fields, str], str], bool]]] = {
    "Hostname": (_text, False),
    "Domainname": (_text, False),
    "User": (_text, False),
    "AttachStdin": (_flag, False),
    "AttachStdout": (_flag, False),
    "AttachStderr": (_flag, False),
    "ExposedPorts": (_set, True),
    "Tty": (_flag, False),
    "OpenStdin": (_flag, False),
    "StdinOnce": (_flag, False),
    "Env": (_list, False),
    "Cmd": (_words, False),
    "ArgsEscaped": (_flag, True),
    "Image": (_text, False),
    "Volumes": (_set, False),
    "WorkingDir": (_text, False),
    "Entrypoint": (_words, False),
    "NetworkDisabled": (_flag, True),
    "MacAddress": (_text, True),
    "OnBuild": (_list, False),
    "Labels": (_labels, False),
    "StopSignal": (_text, True),
}
"""How each field is spelt, and whether one that says nothing is left out."""
