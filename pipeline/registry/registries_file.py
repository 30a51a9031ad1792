"""One registries.conf file: TOML to values. Source: containers-registries.conf(5), version 2 of the format.

Keys that are not known are passed over, as other container tools do; keys count in any case. What is known and wrong
is an error that names file and line.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.registry.namespaces import Endpoint, Namespace, RegistriesConf

if TYPE_CHECKING:
    from transship.pipeline.registry.namespaces import When

_NAME: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
_SHORT: Final = re.compile(rf"(?!localhost/|[^/]*\.[^/]*/){_NAME}")
_FULL: Final = re.compile(rf"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+|localhost)/{_NAME}")
_REGISTRY: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?")
_MODES: Final = ("", "enforcing", "permissive", "disabled")
_WHEN: Final = ("", "all", "digest-only", "tag-only")
_T = TypeVar("_T")


class RegistriesFile:
    """One file, and where in it things stand: the parser tells values alone."""

    def __init__(self, path: Path, text: str) -> None:
        """``text`` is what the file ``path`` holds.

        Raises:
            UsageError: it is malformed, here and in all other calls.
        """
        self._path = shown(str(path))
        self._lines = text.split("\n")
        try:
            self._document = _folded(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            reason, _, where = str(error).rpartition(" (at ")
            line = re.match(r"line (\d+)", where)
            number = line[1] if line else str(max(1, len(self._lines)))
            raise UsageError(f"{self._path}:{number}: not TOML: {shown(reason or str(error))}") from error
        except RecursionError as error:
            raise UsageError(f"{self._path}: nested too deeply") from error
        self._refuse_version_1()
        self._check_aliases()
        mode = self._taken(self._document, "short-name-mode", str, "")
        if mode not in _MODES:
            raise self._refusal("short-name-mode", f"{shown(mode)!r} is none of {', '.join(_MODES[1:])}")

    def over(self, before: RegistriesConf) -> RegistriesConf:
        """Return ``before`` with the lists that this file has; a list that is there and empty counts."""
        if "unqualified-search-registries" in self._document:
            found = [text.rstrip("/") for text in self._texts("unqualified-search-registries")]
            for name in found:
                if not _REGISTRY.fullmatch(name):
                    raise self._refusal("unqualified-search-registries", f"{shown(name)!r} is no host[:port]")
            before = before._replace(search=tuple(found))
        if "credential-helpers" in self._document:
            helpers = tuple(self._texts("credential-helpers"))
            before = before._replace(helpers=helpers or RegistriesConf().helpers)
        return before

    def namespaces(self) -> list[Namespace]:
        """Return the ``[[registry]]`` tables; of those with one prefix the first."""
        found: dict[str, Namespace] = {}
        places: dict[str, Namespace] = {}
        for number, table in enumerate(self._tables(self._document, "registry", 0)):
            line = self._table_line("registry", number)
            one = self._namespace(table, line)
            other = places.setdefault(one.primary.location or one.prefix, one)
            for what, differ in (
                ("insecure", one.primary.insecure != other.primary.insecure),
                ("blocked", one.blocked != other.blocked),
            ):
                if differ:
                    where = f"{one.primary.location or one.prefix!r} stands in {other.origin} with another {what!r}"
                    raise self._refusal(what, where, line)
            found.setdefault(one.prefix, one)
        return list(found.values())

    def _namespace(self, table: Mapping[str, object], line: int) -> Namespace:
        location, prefix = self._location(table, "location", line), self._location(table, "prefix", line)
        if not location and not prefix.startswith("*."):
            raise self._refusal("location", "is missing; only a prefix *.DOMAIN may do without", line)
        if prefix.startswith("*.") and set(prefix) & set("/@:"):
            raise self._refusal("prefix", f"{shown(prefix)!r} is not of the form *.example.com", line)
        if self._taken(table, "pull-from-mirror", str, "", line):
            raise self._refusal("pull-from-mirror", "belongs into a [[registry.mirror]]", line)
        primary = Endpoint(location, self._taken(table, "insecure", bool, False, line))
        digests = self._taken(table, "mirror-by-digest-only", bool, False, line)
        mirrors = tuple(
            self._mirror(mirror, self._table_line("registry.mirror", number, line), digests=digests)
            for number, mirror in enumerate(self._tables(table, "mirror", line))
        )
        blocked = self._taken(table, "blocked", bool, False, line)
        return Namespace(prefix or location, primary, mirrors, blocked, f"{self._path}:{line}")

    def _mirror(self, table: Mapping[str, object], line: int, *, digests: bool) -> Endpoint:
        location = self._location(table, "location", line)
        if not location:
            raise self._refusal("location", "is missing, where the mirror is", line)
        when = self._taken(table, "pull-from-mirror", str, "", line)
        if when not in _WHEN:
            raise self._refusal("pull-from-mirror", f"{shown(when)!r} is none of {', '.join(_WHEN[1:])}", line)
        if when and digests:
            raise self._refusal("pull-from-mirror", "and mirror-by-digest-only exclude each other", line)
        chosen: When = "digest-only" if digests else when or "all"  # type: ignore[assignment] # checked just above
        return Endpoint(location, self._taken(table, "insecure", bool, False, line), chosen)

    def _location(self, table: Mapping[str, object], key: str, line: int) -> str:
        found = self._taken(table, key, str, "", line).rstrip("/")
        if found.startswith(("http://", "https://")):
            raise self._refusal(key, f"{shown(found)!r} is a URL", line, advice="write host[:port][/path]")
        return found

    def _refuse_version_1(self) -> None:
        old = self._document.get("registries")
        kinds = [key for key in ("search", "insecure", "block") if isinstance(old, dict) and key in old]
        if kinds:
            line = self._line(re.compile(rf"\s*\[\s*registries\s*\.\s*{kinds[0]}\b"), 0, 1)
            raise UsageError(
                f"{self._path}:{line}: version 1 of registries.conf, which is no longer read",
                advice="write [[registry]] tables and unqualified-search-registries, see containers-registries.conf(5)",
            )

    def _check_aliases(self) -> None:
        aliases = self._document.get("aliases", {})
        if not isinstance(aliases, dict):
            raise self._refusal("aliases", "expected a table")
        for name, value in aliases.items():
            sound = isinstance(value, str) and (not value or _FULL.fullmatch(value))
            if not sound or not _SHORT.fullmatch(name):
                line = self._line(re.compile(rf"\s*[\"']?{re.escape(name)}[\"']?\s*="), 0, 1)
                advice = 'expected "short/name" = "host/repository", both without tag or digest'
                raise UsageError(f"{self._path}:{line}: alias {shown(name)!r} is malformed", advice=advice)

    def _tables(self, table: Mapping[str, object], key: str, line: int) -> "list[Mapping[str, object]]":
        found = table.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self._refusal(key, f"expected [[{key}]] tables", line)
        return found

    def _texts(self, key: str) -> list[str]:
        found = self._document[key]
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._refusal(key, "expected a list of texts")
        return found

    def _taken(self, table: Mapping[str, object], key: str, kind: Callable[..., _T], usual: _T, line: int = 0) -> _T:
        found = table.get(key, usual)
        if not isinstance(found, type(usual)):
            raise self._refusal(key, f"expected {'true or false' if kind is bool else 'a text'}", line)
        return found

    def _refusal(self, key: str, why: str, start: int = 0, *, advice: str = "") -> UsageError:
        """Return the error about the first ``key`` from line ``start`` on, or about the table that begins there."""
        line = self._line(re.compile(rf"\s*[\"']?{key}[\"']?\s*=", re.IGNORECASE), start, start or 1)
        return UsageError(f"{self._path}:{line}: {key}: {why}", advice=advice)

    def _table_line(self, name: str, number: int, start: int = 0) -> int:
        """Return the line of the ``number``-th table of that name after line ``start``."""
        pattern = re.compile(r"\s*\[\[\s*" + r"\s*\.\s*".join(name.split(".")) + r"\s*\]\]", re.IGNORECASE)
        lines = [at for at, text in enumerate(self._lines, 1) if at > start and pattern.match(text)]
        return lines[number] if number < len(lines) else start or 1

    def _line(self, pattern: re.Pattern[str], start: int, otherwise: int) -> int:
        for at, text in enumerate(self._lines[start:], start + 1):
            if pattern.match(text):
                return at
            if start and re.match(r"\s*\[", text):
                break
        return otherwise


def _folded(table: dict[str, object]) -> dict[str, object]:
    """Return the table with its keys in lower case, all but those of aliases, which are names."""
    found: dict[str, object] = {}
    for key, value in table.items():
        lower = key.lower()
        if isinstance(value, dict) and lower != "aliases":
            value = _folded(value)  # noqa: PLW2901
        elif isinstance(value, list):
            value = [_folded(one) if isinstance(one, dict) else one for one in value]  # noqa: PLW2901
        # A key that is spelt as documented wins.
        if lower == key or lower not in found:
            found[lower] = value
    return found
