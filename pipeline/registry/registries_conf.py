"""Finding and joining registries.conf files. Source: containers-registries.conf(5).

A TOML parser is loaded for a file that says something, and none for one of comments and short names.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.registry import config_files
from transship.pipeline.registry.namespaces import Namespace, RegistriesConf

_MAX_FILE: Final = 4 << 20
_VARIABLE: Final = "CONTAINERS_REGISTRIES_CONF"
_ALIAS: Final = r'"([a-z0-9]+(?:[-/][a-z0-9]+)*)"\s*=\s*"[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)+"'
"""The most usual alias: what else may be one is left to the parser."""


def read(environ: Mapping[str, str], named: str = "", system: tuple[Path, ...] = config_files.SYSTEM) -> RegistriesConf:
    """Return what the files say together, a later one over an earlier one.

    The first of ``named``, CONTAINERS_REGISTRIES_CONF, the user's, the administrator's and the distribution's
    registries.conf; then the drop-ins, but for that variable; then CONTAINERS_REGISTRIES_CONF_OVERRIDE.

    Raises:
        UsageError: a file that is named is missing; one cannot be read or is malformed.
    """
    found = RegistriesConf()
    namespaces: dict[str, Namespace] = {}
    for path in _files(environ, named, system):
        text = _text(path)
        if _says_something(text):
            from transship.pipeline.registry.registries_file import RegistriesFile  # noqa: PLC0415

            said = RegistriesFile(path, text)
            found = said.over(found)
            namespaces |= {one.prefix: one for one in said.namespaces()}
    return found._replace(namespaces=tuple(namespaces[prefix] for prefix in sorted(namespaces)))


def _files(environ: Mapping[str, str], named: str, system: tuple[Path, ...]) -> Iterator[Path]:
    variable = environ.get(_VARIABLE, "")
    main = Path(named or variable) if named or variable else None
    main = main or config_files.first_file("registries.conf", environ, system)
    if main:
        yield main
    if named or not variable:
        try:
            yield from config_files.drop_ins("registries", ".conf", environ, system)
        except OSError as error:
            raise UsageError(f"cannot read {shown(str(error.filename))}: {error.strerror}") from error
    if last := environ.get(f"{_VARIABLE}_OVERRIDE", ""):
        yield Path(last)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {shown(str(path))}: {error.strerror}", advice="correct its name") from error
    if len(raw) > _MAX_FILE:
        raise UsageError(f"{shown(str(path))}: over the limit of {_MAX_FILE} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{shown(str(path))}:{raw.count(10, 0, error.start) + 1}: not UTF-8") from error


def _says_something(text: str) -> bool:
    """Say whether there is more in a file than comments and sound aliases, which no reference here goes by.

    Such files are on most machines, and a TOML parser costs a tenth of a start.
    """
    aliases: set[str] | None = None
    for line in text.splitlines():
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        if aliases is None:
            if said != "[aliases]":
                return True
            aliases = set()
            continue
        found = re.fullmatch(_ALIAS, said)
        if found is None or found[1] in aliases or found[1].startswith("localhost/"):
            return True
        aliases.add(found[1])
    return False
