"""Which tags of a repository a batch wants. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from transship.pipeline.errors import UsageError, shown

_TOKEN: Final = re.compile(r"[0-9]+|[A-Za-z]+")
_VERSION: Final = re.compile(r"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_EARLY: Final = frozenset({"dev", "snapshot", "alpha", "a", "beta", "b", "pre", "preview", "rc"})
_SPACED: Final = re.compile(r"([<>=~^]+)\s+")


class Versions(Protocol):
    """A range of versions."""

    def match(self, version: Any, /) -> bool:
        """Say whether a ``semantic_version.Version`` lies in it."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Tags by name (``names``), or those of the repository that pass every filter that is set.

    ``versions`` is a range as npm writes them, matched against tags that are versions, with or without ``v``.
    """

    names: tuple[str, ...] = ()
    regex: re.Pattern[str] | None = None
    exclude: re.Pattern[str] | None = None
    versions: Versions | None = None
    newest: int | None = None

    @property
    def needs_listing(self) -> bool:
        """Whether the repository has to be asked for its tags."""
        return not self.names

    def select(self, tags: Iterable[str]) -> list[str]:
        """Return the tags wanted, each once: names as given, others newest first whatever the order of ``tags``."""
        if self.names:
            return list(self.names)
        found = sorted({tag for tag in tags if self._passes(tag)}, key=age, reverse=True)
        return found[: self.newest]

    def _passes(self, tag: str) -> bool:
        if self.regex and not self.regex.search(tag):
            return False
        if self.exclude and self.exclude.search(tag):
            return False
        if self.versions is None:
            return True
        version = _version(tag)
        return version is not None and self.versions.match(version)


def pattern(text: str) -> re.Pattern[str]:
    """Return the compiled regular expression; it is searched for, so anchor it to match a whole tag.

    Raises:
        UsageError: it is none.
    """
    try:
        return re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"not a regular expression: {shown(text)!r}: {error}") from error


def version_range(text: str) -> Versions:
    """Return the range of versions that ``text`` spells, as ``>=1.2 <2``, ``^1.4`` or ``1.x || 3.x``.

    Raises:
        UsageError: it is none.
    """
    try:
        found: Versions = _library().NpmSpec(_SPACED.sub(r"\1", " ".join(text.replace(",", " ").split())))
    except ValueError as error:
        raise UsageError(f"not a range of versions: {shown(text)!r}", advice="expected one like '>=1.2 <2'") from error
    return found


def age(tag: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return a key by which tags sort oldest first: numbers by value, pre-releases before their release.

    >>> sorted(["v1.10", "v1.9", "v1.10-rc1", "latest", "v1.10.1"], key=age)
    ['latest', 'v1.9', 'v1.10-rc1', 'v1.10', 'v1.10.1']
    """
    tokens = _TOKEN.findall(tag.removeprefix("v") if re.match("v[0-9]", tag) else tag)
    return (*(_rank(token) for token in tokens), (1, 0, "")), tag


def _rank(token: str) -> tuple[int, int, str]:
    if token.isdigit():
        # Not int(): a registry may send more digits than Python converts.
        digits = token.lstrip("0")
        return 3, len(digits), digits
    return (0 if token.lower() in _EARLY else 2), 0, token


def _version(tag: str) -> Any:
    parts = _VERSION.fullmatch(tag)
    if parts is None:
        return None
    major, minor, patch, early, build = parts.groups(default="")
    try:
        return _library().Version(f"{int(major)}.{int(minor or 0)}.{int(patch or 0)}{early}{build}")
    except ValueError:
        return None


def _library() -> Any:
    import semantic_version  # type: ignore[import-untyped]  # noqa: PLC0415

    return semantic_version
