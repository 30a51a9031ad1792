"""Requests as they are sent: a head, then a body of a known length. Source: RFC 9112, sections 3 and 6."""

from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from typing import BinaryIO, Final, NamedTuple
from urllib.parse import quote

from transship.pipeline.errors import ContentError, TransportError

_PIECE: Final = 1 << 20
_IN_A_TARGET: Final = "!#$%&'()*+,/:;=?@[]~"
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class Request(NamedTuple):
    """What to ask. A ``body`` that is a stream is read once, from where it stands, for ``length`` bytes."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | BinaryIO | None = None
    length: int = 0


def send_head(connection: HTTPConnection, request: Request) -> None:
    """Send all but the body; raises what `http.client` and the socket raise."""
    connection.putrequest(request.method, _spelt(request.target), skip_accept_encoding=True)
    for name, value in request.headers.items():
        connection.putheader(name, value)
    if request.body is not None or request.method in _WITH_BODY:
        length = len(request.body) if isinstance(request.body, bytes) else request.length
        connection.putheader("Content-Length", str(length))
    connection.endheaders()


def send_body(connection: HTTPConnection, request: Request, what: object) -> bool:
    """Send the body; return False where the other side took no more of it, and may have said why.

    Raises:
        ContentError: a stream ends before its length; ``what`` spells where it was sent.
        TransportError: a stream cannot be read; what is ours that it raises passes through.
        OSError: the connection stood still.
    """
    for piece in _pieces(request, what):
        try:
            connection.send(piece)
        except (BrokenPipeError, ConnectionResetError):
            return False
    return True


def _pieces(request: Request, what: object) -> Iterator[bytes | memoryview]:
    body = request.body
    if body is None:
        return
    if isinstance(body, bytes):
        whole = memoryview(body)
        yield from (whole[start : start + _PIECE] for start in range(0, len(body), _PIECE))
        return
    left = request.length
    while left:
        try:
            piece = body.read(min(left, _PIECE))
        except OSError as error:
            # Not to be taken for the connection's.
            raise TransportError(f"{request.method} {what}: cannot read what is to be sent: {error}") from error
        if not piece:
            raise ContentError(f"{request.method} {what}: what is sent ends {left} bytes before its length")
        left -= len(piece)
        yield piece


def _spelt(target: str) -> str:
    """Return ``target`` with the bytes escaped that a registry's redirect left as they are."""
    if target.isascii() and target.isprintable() and " " not in target:
        return target
    return quote(target, _IN_A_TARGET, "latin-1", "replace")
