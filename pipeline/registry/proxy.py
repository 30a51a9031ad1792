"""Which proxy leads to an origin, as the environment says: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``NO_PROXY``.

There is no standard; names in lower case count first, and this machine is never behind a proxy, as with
other container tools.
"""

import base64
import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.registry.origin import Origin

_PORT: Final = 80


class Proxy(NamedTuple):
    """An HTTP proxy. ``authorization`` is what it wants to see in ``Proxy-Authorization``, may be empty."""

    host: str
    port: int
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.host!r}, {self.port})"

    def __str__(self) -> str:
        return f"proxy {shown(self.host)}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """What is sent to the proxy alone."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}


def choose(origin: Origin, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for ``origin``, or None where it is to be reached directly.

    Raises:
        UsageError: the variable does not name an http:// proxy.
    """
    name = f"{origin.scheme}_proxy"
    value = _variable(environ, name)
    if not value or _exempt(origin, _variable(environ, "no_proxy")):
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme != "http":
        # Not quoted: it may hold a password.
        raise UsageError(f"{name} of the environment names no http:// proxy", advice="expected http://host:port")
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
    authorization = f"Basic {base64.b64encode(pair).decode()}" if parts.username else ""
    return Proxy(host, port or _PORT, authorization)


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    return (environ.get(name.upper(), "") if value is None else value).strip()


def _exempt(origin: Origin, rules: str) -> bool:
    host = origin.host.rstrip(".")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(rule.strip().lower(), host, origin.port, address) for rule in rules.split(","))


def _matches(rule: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    """Say whether ``rule`` is ``*``, the host, a domain it is in or a network (a/n), with or without a port."""
    if rule.startswith("[") or rule.count(":") == 1:
        rule, _, wanted = rule.rpartition(":") if not rule.endswith("]") else (rule, "", "")
        if wanted and wanted != str(port):
            return False
        rule = rule.strip("[]")
    if address is not None:
        try:
            return rule == "*" or address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    domain = rule.lstrip("*.")
    return rule == "*" or (bool(domain) and (host == domain or host.endswith(f".{domain}")))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
