"""A registry's front that counts: how many connections it has at most, and how many requests it is at work on."""

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.listening import listening

_SLOW = 0.01
"""Seconds an answer takes at least, so that requests meet."""
_PATIENCE = 10.0
"""Seconds for requests to meet that are to."""
_GRACE = 2.0
"""Seconds for a connection that its client has closed to be heard of here."""


class Counts:
    """The most at once so far. A request counts until the last byte of its answer is sent."""

    def __init__(self, limit: int, meet: int = 0) -> None:
        self.limit = limit
        self._meet = meet
        self._met = threading.Event()
        self.requests = self.connections = 0
        self._now = {"requests": 0, "connections": 0}
        self._lock = threading.Lock()

    def begin(self, kind: str) -> None:
        with self._lock:
            self._now[kind] += 1
        # What is over is over only if it stays so: of a connection that was closed the end may still be on its way.
        deadline = time.monotonic() + (_GRACE if kind == "connections" else 0)
        while self._now[kind] > self.limit and time.monotonic() < deadline:
            time.sleep(0.002)
        with self._lock:
            setattr(self, kind, max(getattr(self, kind), self._now[kind]))
            if self.requests >= self._meet:
                self._met.set()

    def wait(self) -> None:
        """Wait once, for as many requests as are to meet; on a busy machine they come one after the other."""
        self._met.wait(_PATIENCE)
        self._met.set()

    def end(self, kind: str) -> None:
        with self._lock:
            self._now[kind] -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256


@contextlib.contextmanager
def counting(target: int, limit: int, *, meet: int = 0) -> Iterator[tuple[int, Counts]]:
    """Yield the port of a front of the registry at port ``target``, and what it counts.

    Answers with blobs wait until ``meet`` requests are there at once, or it is clear that so many never are.
    """
    counts = Counts(limit, meet)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            counts.begin("connections")

        def finish(self) -> None:
            counts.end("connections")
            super().finish()

        def log_message(self, *_: object) -> None:
            pass

        def _forward(self) -> None:
            counts.begin("requests")
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            time.sleep(_SLOW)
            if "/blobs/" in self.path:
                counts.wait()
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", target, timeout=30)) as onward:
                # With its own Host, as what the registry gives as a Location is to lead here.
                onward.request(self.command, self.path, body or None, dict(self.headers))
                answer = onward.getresponse()
                raw = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"date", "server", "connection", "transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(raw))
            self.send_header("Content-Length", length)
            self.wfile.write(b"".join(self._headers_buffer) + b"\r\n")  # type: ignore[attr-defined]
            self._headers_buffer = []
            # The client is owed one more byte for as long as this counts.
            self.wfile.write(raw[:-1])
            counts.end("requests")
            self.wfile.write(raw[-1:])

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _forward

    server = _Server(("127.0.0.1", 0), Handler)
    with listening(server):
        yield server.server_port, counts
