"""What a registry answered, and the typed error that a failure becomes.

Error bodies: OCI distribution-spec, "Error Codes".
"""

import base64
import json
from contextlib import suppress
from typing import Final

from transship.pipeline.errors import LoginError, NotFoundError, TransientError, TransportError, shown
from transship.pipeline.registry.origin import Url
from transship.pipeline.registry.pace import Pace
from transship.pipeline.registry.response import Headers, Response

TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
_ABSENT: Final = {
    "manifests": "check the name and the tag: transship list-tags shows what there is",
    "blobs": "the image is not whole there: push it anew",
    "tags": "check the name of the repository",
}
"""What to do where something of that kind is not there."""
_MOST_ERRORS: Final = 3
_SHORTEST_SECRET: Final = 4


class Answer:
    """One answer. ``body`` is whole and within its limit, or empty where ``stream`` is still to be read."""

    __slots__ = ("body", "headers", "method", "pace", "status", "stream", "url")

    def __init__(self, method: str, url: Url, status: int, headers: Headers) -> None:
        self.method = method
        self.url = url
        self.status = status
        self.headers = headers
        self.body = b""
        self.stream: Response | None = None
        self.pace: Pace | None = None

    def __str__(self) -> str:
        """Return the method and the redacted URL."""
        return f"{self.method} {self.url}"

    @property
    def is_html(self) -> bool:
        """Whether a web page came where a registry was expected."""
        return self.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml"))

    @property
    def codes(self) -> frozenset[str]:
        """The codes of the registry's own errors."""
        try:
            return frozenset(str(item.get("code")) for item in json.loads(self.body).get("errors"))
        except (ValueError, AttributeError, TypeError, RecursionError):
            return frozenset()

    def error(self) -> TransportError:
        """Return the error that this answer, not one of success, stands for."""
        said = "" if self.is_html else _errors(self.body)
        message = f"{self}: {self.status}{said}"
        if self.status == 404:
            advice = "it answers HTML, is it a registry?" if self.is_html else _ABSENT.get(self._asked, "")
            return NotFoundError(message, advice=advice)
        if self.status == 401:
            return LoginError(message, advice="log in, or check the name: some registries hide what does not exist")
        if self.status == 403:
            return LoginError(message, advice="the account has no right to it, or it does not exist")
        if self.status in TRANSIENT:
            return TransientError(message, advice="try again later")
        return self.not_html() or TransportError(message)

    @property
    def _asked(self) -> str:
        """The kind of what was to be read: manifests, blobs, tags."""
        path = self.url.target.partition("?")[0]
        return path.split("/")[-2] if self.method in ("GET", "HEAD") and path.count("/") > 1 else ""

    def not_html(self) -> TransportError | None:
        """Return the error where a web page came, else None."""
        if not self.is_html:
            return None
        return TransportError(f"{self}: {self.status}, answers HTML, is it a registry?")


def unspoken(body: bytes, authorization: str) -> bytes:
    """Return an error's ``body`` without the credentials it was asked with, should it repeat them."""
    scheme, _, secret = authorization.partition(" ")
    hidden = {secret}
    if scheme == "Basic":
        with suppress(ValueError):
            hidden.add(base64.b64decode(secret).decode().partition(":")[2])
    for text in sorted(hidden, key=len, reverse=True):
        # Of shorter ones every word has a part.
        if len(text) >= _SHORTEST_SECRET:
            body = body.replace(text.encode(), b"...")
    return body


def _errors(body: bytes) -> str:
    """Return the registry's own codes and messages, or the start of what it said instead."""
    try:
        listed = json.loads(body).get("errors")
        told = [f"{item.get('code') or ''}: {item.get('message') or ''}" for item in listed[:_MOST_ERRORS]]
        return f" ({shown('; '.join(told))})" if told else ""
    except (ValueError, AttributeError, TypeError, LookupError, RecursionError):
        text = shown(body[:400].decode("utf-8", "replace").strip())
        return f" ({text})" if text else ""
