"""A proxy before a real registry: counts the bytes of uploads, breaks connections as told."""

import contextlib
import http.client
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

from support.listening import listening

PIECE = 64 << 10
Fate = Literal["collected", "kept", "passed on"]
"""What becomes of the bytes of a body that broke off: lost in a proxy that collects bodies; kept by a registry
that knows how far an upload got; passed on raw, which is what docker-registry 2.8 cannot go on from."""


@dataclass(frozen=True)
class Break:
    """Reset the connection after so many bytes of the body, or after the registry has answered."""

    after: int | None = None


@dataclass
class Passed:
    """One request, as far as it came."""

    method: str
    target: str
    came: int = 0
    status: int = 0
    authorized: bool = False

    @property
    def path(self) -> str:
        return urlsplit(self.target).path


Rule = Callable[[Passed], Break | int | None]
"""What a request meets: a break, a refusal with a status, or the registry."""


@dataclass
class Proxy:
    """A running proxy; ``rule`` says which request breaks."""

    upstream: int
    rule: Rule = lambda _: None
    fate: Fate = "collected"
    passed: list[Passed] = field(default_factory=list)
    port: int = 0
    states: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def of(self, *methods: str) -> list[Passed]:
        return [one for one in self.passed if one.method in methods]

    @property
    def uploaded(self) -> int:
        """Bytes of blobs that came in, complete or not."""
        return sum(one.came for one in self.of("PUT", "PATCH") if "/blobs/uploads/" in one.target)


@contextlib.contextmanager
def proxied(upstream: int, rule: Rule = lambda _: None, fate: Fate = "collected") -> Iterator[Proxy]:
    """Run a proxy before the registry at the port ``upstream``."""
    proxy = Proxy(upstream, rule, fate)
    server = _Server(("127.0.0.1", 0), _handler(proxy))
    proxy.port = server.server_port
    with listening(server):
        yield proxy


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections break here on purpose."""


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            seen = Passed(self.command, self.path, authorized="Authorization" in self.headers)
            if self.path != "/v2/":
                proxy.passed.append(seen)
            fault = proxy.rule(seen)
            length = int(self.headers.get("Content-Length") or 0)
            until = fault.after if isinstance(fault, Break) and fault.after is not None else length
            body = self._receive(seen, min(length, until))
            if len(body) < length:
                self._broken_off(body, length)
                self._reset()
                return
            status, headers, answer = (
                (fault, [("Content-Length", "0")], b"") if isinstance(fault, int) else self._forward(body)
            )
            seen.status = status
            if isinstance(fault, Break):
                self._reset()
                return
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def _receive(self, seen: Passed, length: int) -> bytes:
            pieces = []
            while seen.came < length and (piece := self.rfile.read(min(PIECE, length - seen.came))):
                seen.came += len(piece)
                pieces.append(piece)
            return b"".join(pieces)

        def _broken_off(self, body: bytes, length: int) -> None:
            if proxy.fate == "kept":
                self._forward(body, {"Content-Length": str(len(body))})
            elif proxy.fate == "passed on":
                lines = [f"{self.command} {self.path} HTTP/1.1", f"Host: {proxy.name}", f"Content-Length: {length}"]
                with socket.create_connection(("127.0.0.1", proxy.upstream)) as raw:
                    raw.sendall("\r\n".join([*lines, "", ""]).encode() + body)
                    time.sleep(0.3)

        def _forward(
            self, body: bytes, changed: dict[str, str] | None = None
        ) -> tuple[int, list[tuple[str, str]], bytes]:
            upload = urlsplit(self.path).path
            target = self.path
            if proxy.fate == "kept" and upload in proxy.states:
                # docker-registry signs the offset into the URL; one that keeps what broke off has one URL.
                query = urlsplit(self.path).query
                digest = [part for part in query.split("&") if part.startswith("digest=")]
                target = f"{upload}?{'&'.join([proxy.states[upload], *digest])}"
            connection = http.client.HTTPConnection("127.0.0.1", proxy.upstream, timeout=30)
            connection.request(self.command, target, body, {**dict(self.headers.items()), **(changed or {})})
            got = connection.getresponse()
            answer = got.read()
            if "/blobs/uploads/" in (location := got.headers.get("Location", "")):
                proxy.states[urlsplit(location).path] = urlsplit(location).query
            connection.close()
            return got.status, [pair for pair in got.getheaders() if pair[0] != "Connection"], answer

        def _reset(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler
