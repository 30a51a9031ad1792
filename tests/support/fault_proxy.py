"""A proxy before a real registry that counts bytes and breaks what its rules say, read anew at each request."""

import contextlib
import fcntl
import http.client
import re
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from support.listening import listening

_PIECE = 64 << 10
_BUFFER = 512 << 10
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})
Do = Literal[
    "rst",  # reset the connection once `at` bytes of the answer's body are sent
    "fin",  # close it there
    "stall",  # send nothing more from there on
    "flip",  # change one bit of the byte `at`
    "shortcl",  # name and send only `at` bytes
    "nocl_trunc",  # name no length, close after `at` bytes
    "norange",  # let the registry see no Range
    "wrong_range",  # a 206 that begins `at` bytes later than was asked, and says so
    "wrong_total",  # a 206 that says the whole is `at` bytes longer
    "status",  # answer `status`, unseen by the registry
    "hang",  # answer nothing
    "slow_head",  # send the head byte by byte, four a second
    "rst_early",  # reset before the registry sees the request
    "rst_reply",  # reset after the registry has answered
    "throttle",  # send `bps` bytes a second
]


@dataclass
class Rule:
    """What becomes of requests whose ``METHOD /path`` matches, of the first ``times`` of them if that is set."""

    do: Do
    match: str = ""
    times: int = -1
    at: int = 0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    bps: int = 0


@dataclass
class Passed:
    """One request, as far as it came: bytes of bodies ``up`` and ``down``, what was done to it."""

    method: str
    target: str
    range: str = ""
    authorized: bool = False
    status: int = 0
    up: int = 0
    down: int = 0
    did: str = ""
    at: float = field(default_factory=time.monotonic)


@dataclass
class FaultProxy:
    """A running proxy. ``rules`` may be changed at any time: the first that fits a request is applied.

    Once ``most`` bytes of bodies went down, if that is set, no more follow until it is changed.
    """

    upstream: int
    rules: list[Rule] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    port: int = 0
    most: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def of(self, match: str) -> list[Passed]:
        return [one for one in self.passed if re.search(match, f"{one.method} {one.target}")]

    @property
    def blobs(self) -> list[Passed]:
        return self.of(r"^GET .*/blobs/sha256:")

    @property
    def down(self) -> int:
        """Bytes of blobs sent to the client."""
        return sum(one.down for one in self.blobs)

    @property
    def up(self) -> int:
        """Bytes of blobs received from the client."""
        return sum(one.up for one in self.of("/blobs/uploads/"))

    def rule(self, method: str, target: str) -> Rule | None:
        """Return the rule for a request, one time of it used up."""
        with self.turn:
            for rule in self.rules:
                if rule.times and re.search(rule.match, f"{method} {target}"):
                    rule.times -= rule.times > 0
                    return rule
        return None


@contextlib.contextmanager
def faulty(upstream: int, *rules: Rule) -> Iterator[FaultProxy]:
    """Run a proxy before the registry at the port ``upstream``."""
    proxy = FaultProxy(upstream, list(rules))
    server = _Server(proxy)
    proxy.port = server.server_port
    with listening(server):
        try:
            yield proxy
        finally:
            proxy.ended.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections break here on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        # What lies there counts as sent: the system's own bound is what the tests allow for all that is in flight.
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        super().setup()

    @property
    def proxy(self) -> FaultProxy:
        assert isinstance(self.server, _Server)
        return self.server.proxy

    def handle_one_request(self) -> None:
        # A client that is not for TLS tries it first; waiting for the end of its line would take long.
        if self.connection.recv(1, socket.MSG_PEEK) == b"\x16":
            self.close_connection = True
            return
        super().handle_one_request()

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        seen = Passed(self.command, self.path, asked, "Authorization" in self.headers)
        self.proxy.passed.append(seen)
        rule = self.proxy.rule(self.command, self.path)
        seen.did = rule.do if rule else ""
        if rule and rule.do == "rst_early":
            self.reset()
        elif rule and rule.do == "hang":
            self.body(seen)
            self.stall()
        elif rule and rule.do == "status":
            self.body(seen)
            seen.status = rule.status
            self.head(rule.status, [*rule.headers.items(), ("Content-Length", "0")])
        else:
            self.pass_on(seen, rule)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def body(self, seen: Passed) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        pieces = []
        while seen.up < length and (piece := self.rfile.read(min(_PIECE, length - seen.up))):
            seen.up += len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def pass_on(self, seen: Passed, rule: Rule | None) -> None:
        # A field may stand on several lines, as skopeo's Accept does.
        headers = {name: ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        if rule and rule.do == "norange":
            headers.pop("Range", None)
        if rule and rule.do == "wrong_range" and seen.range:
            headers["Range"] = f"bytes={int(seen.range.removeprefix('bytes=').rstrip('-')) + rule.at}-"
        body = self.body(seen)
        if len(body) < int(self.headers.get("Content-Length") or 0):
            # A client that went away in the middle; the registry would wait for the rest, and write it late.
            self.finish_here()
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self.proxy.upstream, timeout=30)
        with contextlib.closing(upstream):
            upstream.request(self.command, self.path, body, headers)
            got = upstream.getresponse()
            seen.status = got.status
            if rule and rule.do == "rst_reply":
                self.reset()
                return
            self.answer(seen, rule, got)

    def answer(self, seen: Passed, rule: Rule | None, got: http.client.HTTPResponse) -> None:
        length = int(got.headers.get("Content-Length") or 0)
        do, at = (rule.do, rule.at) if rule else ("", 0)
        fields = [pair for pair in got.getheaders() if pair[0].lower() not in _HOP_BY_HOP]
        if do in ("shortcl", "nocl_trunc"):
            fields = [pair for pair in fields if pair[0].lower() != "content-length"]
            fields.append(("Content-Length", str(min(at, length))) if do == "shortcl" else ("Connection", "close"))
            length = min(at, length)
            self.close_connection = True
        if do == "wrong_total":
            fields = [(name, _grown(value, at) if name == "Content-Range" else value) for name, value in fields]
        self.head(got.status, fields, slow=do == "slow_head")
        if self.command != "HEAD":
            self.send(seen, rule, got, length)

    def send(self, seen: Passed, rule: Rule | None, got: http.client.HTTPResponse, length: int) -> None:
        do, at = (rule.do, rule.at) if rule else ("", 0)
        stop = at if do in ("rst", "fin", "stall") else length
        while seen.down < min(length, stop):
            piece = got.read(min(rule.bps // 10 or 1 if rule and do == "throttle" else _PIECE, stop - seen.down))
            if not piece:
                break
            if do == "flip" and seen.down <= at < seen.down + len(piece):
                piece = piece[: at - seen.down] + bytes([piece[at - seen.down] ^ 1]) + piece[at - seen.down + 1 :]
            while 0 < self.proxy.most <= self.proxy.down and not self.proxy.ended.wait(0.005):
                pass
            self.wfile.write(piece)
            seen.down += len(piece)
            if do == "throttle" and self.proxy.ended.wait(0.1):
                break
        if do in ("rst", "fin", "stall") and at < length:
            {"rst": self.reset, "fin": self.finish_here, "stall": self.stall}[do]()

    def head(self, status: int, fields: list[tuple[str, str]], *, slow: bool = False) -> None:
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, '')}"]
        raw = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in fields), "", ""]).encode("latin-1")
        for piece in [raw[n : n + 1] for n in range(len(raw))] if slow else [raw]:
            self.wfile.write(piece)
            if slow and self.proxy.ended.wait(0.25):
                break

    def stall(self) -> None:
        self.close_connection = True
        self.connection.settimeout(60)
        with contextlib.suppress(OSError):
            # Until the client gives up.
            self.connection.recv(1)

    def reset(self) -> None:
        # What is still on its way out would be dropped with the connection: let it arrive, if anybody reads.
        deadline = time.monotonic() + 5
        while _unsent(self.connection) and time.monotonic() < deadline:
            time.sleep(0.001)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.finish_here()

    def finish_here(self) -> None:
        self.close_connection = True
        self.rfile.close()
        with contextlib.suppress(OSError):
            self.wfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _unsent(connection: socket.socket) -> int:
    """Return how many bytes the other side's system has not yet acknowledged."""
    (count,) = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def _grown(content_range: str, by: int) -> str:
    span, _, total = content_range.partition("/")
    return f"{span}/{int(total) + by}"
