"""Connections to one origin, kept open between requests. Source: RFC 9112, section 9; over `http.client`.

What is sent is never chunked: a body comes with its length.
"""

import os
import select
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from transship.pipeline.errors import TransientError
from transship.pipeline.registry.dialling import dial
from transship.pipeline.registry.faults import WireError
from transship.pipeline.registry.origin import Origin
from transship.pipeline.registry.proxy import Proxy
from transship.pipeline.registry.request import Request, send_body, send_head
from transship.pipeline.registry.response import RawResponse, Response

if TYPE_CHECKING:
    import ssl

_SAFE: Final = frozenset({"GET", "HEAD"})
"""What may be sent again where the connection ended before an answer (RFC 9110, section 9.2.2)."""


class Timeouts(NamedTuple):
    """Seconds to wait for a connection with its TLS, for an answer's head and each step of what is sent, for its body.

    The head must be whole in that time, of the body some part must come.
    """

    connect: float
    answer: float
    idle: float


class _Plain(HTTPConnection):
    response_class = RawResponse
    auto_open = 0
    tunnels = False

    def __init__(self, host: str, port: int, seconds: float) -> None:
        super().__init__(host, port, timeout=seconds)
        self.seconds = seconds

    def connect(self) -> None:
        if self.tunnels:
            super().connect()
            return
        self.sock = dial(_spelt_host(self.host), self.port, self.seconds)


class _Secure(_Plain):
    """Only names the default port: TLS is begun by the pool, which tells its failures apart."""

    default_port = 443


class Pool:
    """Connections to ``origin``, the one used last first. Thread-safe."""

    def __init__(
        self, origin: Origin, limit: int, context: "ssl.SSLContext | None", proxy: Proxy | None = None
    ) -> None:
        """``limit`` counts idle connections; ``context`` is for https; ``proxy`` is what leads there, if anything."""
        self._proxy = proxy
        self._origin = origin
        self._limit = limit
        self._context = context
        self._idle: list[_Plain] = []
        self._busy: set[_Plain] = set()
        self._closed = False
        # -1 where there is no limit.
        self._idle_below = os.sysconf("SC_OPEN_MAX") // 2

    def ask(self, request: Request, timeouts: Timeouts) -> Response:
        """Return the answer, whose body is to be read to its end or closed: both free the connection.

        A GET or HEAD is sent twice where an idle connection turns out to have ended.

        Raises:
            WireError: no connection, no TLS, no answer.
            ContentError: a stream ends before its length.
            TransportError: a stream cannot be read.
            TransientError: the pool is closed.
        """
        connection = self._take()
        if connection is not None:
            try:
                return self._exchange(connection, request, timeouts)
            except WireError as fault:
                if not isinstance(fault.cause, ConnectionError) or request.method not in _SAFE:
                    raise
        return self._exchange(self._connect(timeouts), request, timeouts)

    def rest(self) -> None:
        """Close the idle connections; the next request opens one."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def close(self) -> None:
        """Close the idle connections and keep none from now on, and end those in use; idempotent."""
        self._closed = True
        self.rest()
        for connection in list(self._busy):
            # Who waits for it is woken, and closes it.
            with suppress(OSError, AttributeError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def __del__(self) -> None:
        self.close()

    def _take(self) -> _Plain | None:
        if self._closed:
            raise TransientError(f"{self._origin}: stopped")
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            # Nobody is owed an answer: what can be read is the other side's end, or nothing sound.
            if not _readable(connection.sock):
                return connection
            connection.close()

    def _keep(self, connection: _Plain) -> None:
        # The lowest number free is what is opened next: a high one says that much is open, to this origin or others.
        many = 0 < self._idle_below < connection.sock.fileno()
        if self._closed or many or len(self._idle) >= self._limit:
            connection.close()
        else:
            self._idle.append(connection)

    def _connect(self, timeouts: Timeouts) -> _Plain:
        kind = _Plain if self._context is None else _Secure
        host, port = self._origin.host, self._origin.port
        proxy = self._proxy
        connection = None
        try:
            connection = kind(proxy.host if proxy else host, proxy.port if proxy else port, timeouts.connect)
            if proxy and self._context is not None:
                connection.set_tunnel(host, port, proxy.headers)
                connection.tunnels = True
            connection.connect()
        except (OSError, HTTPException, UnicodeError) as error:
            if connection is not None:
                connection.close()
            raise WireError(error, connected=False, via=str(proxy or "")) from error
        if self._context is not None:
            name = _spelt_host(host.rstrip("."))
            try:
                connection.sock = self._context.wrap_socket(connection.sock, server_hostname=name)
            except (OSError, ValueError) as error:
                connection.close()
                raise WireError(error) from error
        return connection

    def _exchange(self, connection: _Plain, request: Request, timeouts: Timeouts) -> Response:
        answered = False
        self._busy.add(connection)
        try:
            connection.sock.settimeout(timeouts.answer)
            send_head(connection, self._addressed(request))
            whole = send_body(connection, request, self._origin)
            wire = cast(RawResponse, connection.getresponse())
            if timeouts.idle != timeouts.answer and connection.sock is not None:
                connection.sock.settimeout(timeouts.idle)
            answered = True
        except (OSError, HTTPException) as error:
            raise WireError(error) from error
        finally:
            if not answered:
                self._busy.discard(connection)
                connection.close()

        def done(reusable: bool) -> None:
            self._busy.discard(connection)
            if reusable and whole:
                self._keep(connection)
            else:
                connection.close()

        return Response(wire, done)

    def _addressed(self, request: Request) -> Request:
        """Return ``request`` as a proxy that is no tunnel wants it (RFC 9112, section 3.2.2)."""
        if self._proxy is None or self._context is not None:
            return request
        headers = {**request.headers, **self._proxy.headers}
        return request._replace(target=f"{self._origin}{request.target}", headers=headers)


def _readable(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _spelt_host(host: str) -> bytes | str:
    """Return ``host`` as it needs no look at what names there are beyond ASCII, a module of its own."""
    return host.encode() if host.isascii() else host
