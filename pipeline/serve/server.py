"""The HTTP/1.1 server: connections, limits, ranges, sendfile, the access log."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final, TextIO

from transship.pipeline.errors import ContentError, TransportError, UsageError
from transship.pipeline.serve import ranges
from transship.pipeline.serve.answers import Answer, answer, refusal
from transship.pipeline.serve.contents import Contents, Extent
from transship.pipeline.transports.medium import Medium

MAX_TARGET: Final = 4096
"""Characters of a request target; a repository name and a digest take under 500."""
MAX_CONNECTIONS: Final = 512
_PIECE: Final = 1 << 20
IDLE_SECONDS: Final = 60.0
"""How long a client may take between two bytes, or between two requests."""


class AccessLog:
    """One JSON line a request; safe to write from many threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def note(self, **facts: object) -> None:
        """Append a line, flushed."""
        line = json.dumps({"time": round(time.time(), 3), **facts})
        with self._lock:
            self._stream.write(line + "\n")
            self._stream.flush()


class Registry(ThreadingHTTPServer):
    """A server for one `Contents`; ``contents`` may be read from any thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], contents: Contents, log: AccessLog | None) -> None:
        self.contents = contents
        self.log = log
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind; unlike the parent's, without looking up the host's name, which may hang."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, or drop it where there are too many."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what ends here is a client that went away."""


class _Handler(BaseHTTPRequestHandler):
    """One connection, any number of GET and HEAD requests."""

    protocol_version = "HTTP/1.1"
    server_version = "transship"
    sys_version = ""
    timeout: ClassVar[float] = IDLE_SECONDS
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Registry

    def do_GET(self) -> None:
        """Answer with headers and body."""
        self._serve(with_body=True)

    def do_HEAD(self) -> None:
        """Answer with the headers of GET."""
        self._serve(with_body=False)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what never became a GET or HEAD; the connection ends, for a body may follow."""
        self.close_connection = True
        unsupported = code in (405, 501)
        status = 405 if unsupported else code
        allow = {"Allow": "GET, HEAD"} if unsupported else {}
        said = refusal(status, "UNSUPPORTED", "this registry is read-only" if unsupported else message or "refused")
        if getattr(self, "request_version", "") == "HTTP/0.9":
            return
        self._send(Answer(status, said.body, {**said.headers, **allow}), with_body=self.command != "HEAD")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write nothing to stderr; the access log has it."""

    def _serve(self, *, with_body: bool) -> None:
        if len(self.path) > MAX_TARGET:
            self.send_error(414, "request target too long")
            return
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            # A body nobody reads would be taken for the next request.
            self.close_connection = True
        self._send(answer(self.server.contents, self.path), with_body=with_body)

    def _send(self, said: Answer, *, with_body: bool) -> None:
        headers = getattr(self, "headers", None)
        wanted = headers.get("Range") if headers else None
        etag = said.headers.get("ETag")
        if etag and headers and headers.get("If-None-Match") == etag:
            said = Answer(304, b"", said.headers)
        length = said.length
        span = None
        if isinstance(said.body, Extent) and (not headers or headers.get("If-Range", etag) == etag):
            try:
                span = ranges.parse(wanted, length)
            except ranges.UnsatisfiableError:
                problem = refusal(416, "RANGE_INVALID", f"the blob has {length} bytes")
                said = Answer(416, problem.body, {**problem.headers, "Content-Range": f"bytes */{length}"})
                length = said.length
        sent = 0
        try:
            self._start(said, span, length)
            if with_body:
                sent = self._body(said.body, span or ranges.Span(0, length))
            self.wfile.flush()
        finally:
            self._log(206 if span else said.status, wanted, sent)

    def _start(self, said: Answer, span: ranges.Span | None, length: int) -> None:
        self.send_response(206 if span else said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if span:
            self.send_header("Content-Range", f"bytes {span.start}-{span.end - 1}/{length}")
        if said.status != 304:
            self.send_header("Content-Length", str(span.end - span.start if span else length))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()

    def _body(self, body: bytes | Extent, span: ranges.Span) -> int:
        if isinstance(body, bytes):
            return self.wfile.write(body)
        self.wfile.flush()
        count = span.end - span.start
        with contextlib.ExitStack() as stack:
            sent = 0
            try:
                medium = stack.enter_context(body.open())
                for piece in self._pieces(medium, body.offset + span.start, count):
                    sent += piece
            except (OSError, TransportError, ContentError):
                self.close_connection = True
                return sent
        if sent < count:
            # The file shrank: only an early end tells the client, whose Content-Length stands.
            self.close_connection = True
        return sent

    def _pieces(self, medium: Medium, offset: int, count: int) -> Iterator[int]:
        """Send ``count`` bytes from byte ``offset`` on, by the kernel where they lie in files; yield those sent."""
        in_files = not count
        for place in medium.in_files(offset, count) if count else ():
            in_files = True
            done = self.connection.sendfile(place.stream, place.offset, place.length)
            yield done
            if done < place.length:
                return
        if in_files:
            return
        piece = memoryview(bytearray(min(count, _PIECE)))
        while count and (some := medium.readinto(piece[:count], offset)):
            self.connection.sendall(piece[:some])
            yield some
            offset += some
            count -= some

    def _log(self, status: int, wanted: str | None, sent: int) -> None:
        if self.server.log:
            path = getattr(self, "path", "")
            self.server.log.note(method=self.command, path=path, range=wanted, status=status, bytes=sent)


def make_server(
    contents: Contents, host: str = "127.0.0.1", port: int = 0, access_log: AccessLog | None = None
) -> Registry:
    """Return a server that is bound and not yet running; port 0 takes a free one (``server_port``).

    The caller runs `serve_forever` and closes it.

    Raises:
        UsageError: the address is taken or not this machine's.
    """
    try:
        return Registry((host, port), contents, access_log)
    except (OSError, OverflowError) as error:
        raise UsageError(f"cannot listen on {host} port {port}: {error}") from error


def open_log(path: Path) -> TextIO:
    """Open an access log to append to.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot write the access log: {error.strerror}") from error
