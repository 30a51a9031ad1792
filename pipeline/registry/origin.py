"""Where a request goes: origins and URLs that never carry secrets into a message.

An origin is scheme, host and port together (RFC 6454); credentials belong to one origin.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from transship.pipeline.errors import TransportError, UsageError, shown

_PORTS: Final = {"http": 80, "https": 443}
_REGISTRY: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)


class Origin(NamedTuple):
    """A scheme (http or https), a lower-case host and a port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of_registry(cls, name: str, scheme: str) -> "Origin":
        """Return the origin of a registry given as ``host`` or ``host:port``.

        Raises:
            UsageError: it is not of that form.
        """
        if not _REGISTRY.fullmatch(name):
            raise UsageError(f"not a registry: {shown(name)!r}", advice="expected host or host:port")
        return Url.parse(f"{scheme}://{name}/").origin

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


class Url(NamedTuple):
    """An origin and what is asked of it: path and query, starting with a slash."""

    origin: Origin
    target: str

    @classmethod
    def parse(cls, text: str, where: str = "") -> "Url":
        """Return the URL that ``text`` spells; a fragment is dropped. ``where`` says in messages who names it.

        Raises:
            TransportError: no http or https URL with a host, or one with a user name in it.
        """
        said = f"{where}: " if where else ""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise TransportError(f"{said}not a URL: {_bare(text)!r}") from error
        if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
            raise TransportError(f"{said}not an http or https URL without a user name: {_bare(text)!r}")
        origin = Origin(parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port)
        return cls(origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))

    def join(self, location: str, header: str) -> "Url":
        """Return what a ``header`` (Location, Link) of this URL's answer points to; raises as `parse` does."""
        where = f"{self}: {header}"
        try:
            joined = urljoin(f"{self.origin}{self.target}", location)
        except ValueError as error:
            raise TransportError(f"{where}: not a URL: {_bare(location)!r}") from error
        return Url.parse(joined, where)

    def __str__(self) -> str:
        """Return the URL without its query, which may be a signature."""
        return shown(f"{self.origin}{self.target.partition('?')[0]}", 300)


def _bare(text: str) -> str:
    """Return a foreign URL without the parts that may hold secrets."""
    return shown(re.sub(r"//[^/]*@", "//", text.partition("?")[0]))
