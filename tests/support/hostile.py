"""An HTTP server in this process that misbehaves as told, and remembers what it was asked."""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.listening import listening


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass
class Reply:
    """One answer. ``reset_after`` sends that many body bytes, then RST; ``short_after`` then FIN.

    Where it is ``endless`` its body goes on for ever with ``filler``; ``unsized`` says no Content-Length.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    reset_after: int | None = None
    short_after: int | None = None
    endless: bool = False
    unsized: bool = False
    filler: bytes = b"x" * 65536


Script = Callable[[Seen], Reply]


class Hostile:
    """A running server; ``script`` decides each answer, ``seen`` grows with each request."""

    def __init__(self, script: Script, root: bool = False) -> None:
        self.script = script
        self.root = root
        self.seen: list[Seen] = []
        self.sent = 0
        self.server = _Server(("127.0.0.1", 0), _handler(self))

    @property
    def port(self) -> int:
        return self.server.server_port

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.name}"

    def asked(self, prefix: str) -> list[Seen]:
        return [one for one in self.seen if one.path.startswith(prefix)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients of a hostile server hang up; that is no news."""


@contextlib.contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None, root: bool = False) -> Iterator[Hostile]:
    """Serve ``script``; unless ``root``, ``/v2/`` alone gets a 200: a probe for TLS falls back to HTTP."""
    hostile = Hostile(script, root)
    if context:
        hostile.server.socket = context.wrap_socket(hostile.server.socket, server_side=True)
    with listening(hostile.server):
        yield hostile


def ranged(blob: bytes, seen: Seen) -> Reply:
    """Answer for ``blob`` as a sound server does, Range included."""
    asked = seen.headers.get("range", "")
    if not asked:
        return Reply(200, blob)
    start = int(asked.removeprefix("bytes=").partition("-")[0])
    return Reply(206, blob[start:], {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}"})


def _handler(hostile: Hostile) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, self.rfile.read(length))
            hostile.seen.append(seen)
            self._send(Reply() if seen.target == "/v2/" and not hostile.root else hostile.script(seen))

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                for line in value.split("\n"):
                    self.send_header(name, line)
            if reply.endless or reply.unsized:
                self.close_connection = True
                self.send_header("Connection", "close")
            elif "Content-Length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            cut = reply.reset_after if reply.reset_after is not None else reply.short_after
            if self.command != "HEAD":
                self.wfile.write(reply.body[:cut])
                hostile.sent += len(reply.body[:cut])
            while reply.endless and self.command != "HEAD":
                self.wfile.write(reply.filler)
                hostile.sent += len(reply.filler)
            if reply.reset_after is not None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if cut is not None:
                self.close_connection = True
                self.wfile.flush()
                # A shutdown would send FIN; closing the one handle left sends RST where linger says so.
                if reply.reset_after is not None:
                    self.rfile.close()
                    self.wfile.close()
                    self.connection.close()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler
