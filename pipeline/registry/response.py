"""An answer as it comes off a connection: status, header fields, body. Source: RFC 9112, sections 2 to 7.

The fields are read here, strictly and within limits, and not as mail: that is safer, and costs half.
A body with a length is left to `http.client`.
"""

import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected
from io import BufferedReader
from typing import Final

from transship.pipeline.registry.faults import WireError

_MAX_LINE: Final = 64 << 10
_MAX_FIELDS: Final = 100
_LONGEST: Final = 600.0
"""Seconds for a head on a socket without a time-out, which the pool gives none."""
_GATHERED: Final = 96 << 10
"""Bytes after which a read returns, however much more is there: what no one has written yet is lost by a kill."""
_MAX_INTERIM: Final = 10
_STATUS: Final = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*)\r?\n")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_EMPTY: Final = frozenset({204, 304})


class Headers(Mapping[str, str]):
    """Header fields by name in any case; of a field on several lines the values are joined by commas, in order."""

    __slots__ = ("_values",)

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        """``pairs`` are names in lower case and values."""
        values: dict[str, str] = {}
        for name, value in pairs:
            values[name] = f"{values[name]}, {value}" if name in values else value
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class RawResponse(HTTPResponse):
    """`HTTPResponse` whose head is read by the rules of this module; its ``fields`` replace ``headers``."""

    fields: Headers

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None) -> None:
        super().__init__(sock, debuglevel, method)
        self._patience = sock.gettimeout() or _LONGEST
        self._is_plain = type(sock) is socket.socket and bool(sock.gettimeout())
        self._bodiless = method == "HEAD"
        self._left: int | None = None

    def begin(self) -> None:
        """Read status and fields, past what is only interim (RFC 9110, section 15.2).

        Raises:
            HTTPException: no HTTP/1 answer, a field that is none, more than 100 of them, a line over 64 KiB.
            OSError: the connection broke, or the head is not whole within the socket's time-out.
        """
        stream = self.fp
        until = time.monotonic() + self._patience
        for _ in range(_MAX_INTERIM):
            minor, self.status = _status(stream, until)
            self.fields = _fields(stream, until)
            if self.status >= 200:
                break
        else:
            raise HTTPException("answers no more than interim statuses")
        self.version = 11 if minor else 10
        self._frame()

    def read1(self, n: int = -1) -> bytes:
        """Return what is there of the body, at most ``n`` bytes, a positive number; raises as `begin`."""
        if not self.chunked or self.fp is None:
            return self._with_more(super().read1(n), min(n, _GATHERED))
        stream = self.fp
        until = time.monotonic() + self._patience
        if not self._left:
            if self._left is not None and _line(stream, until) not in (b"\r\n", b"\n"):
                raise HTTPException("answers a chunk that does not end where it says")
            self._left = _chunk(stream, until)
            if not self._left:
                # Trailers: read within the limits of fields, and dropped (RFC 9110, section 6.5.1).
                _fields(stream, until)
                return b""
        data = self.fp.read1(min(n, self._left))
        if not data:
            raise IncompleteRead(b"", self._left)
        self._left -= len(data)
        return data

    def _with_more(self, data: bytes, most: int) -> bytes:
        """Return ``data``, up to ``most`` bytes long, with what else the kernel has by now.

        A sender that is kept short (`dialling`) brings little at a time, and each piece that is handed on costs more
        than its bytes. Where less came than was asked for, nothing is left in the buffer of ``fp``.
        """
        if not data or not self._is_plain or not self.length or len(data) >= most:
            return data
        pieces, left, handle = [data], most - len(data), self.fp.fileno()
        # A time-out makes a socket one that does not block. What fails here will again, at the next read.
        with suppress(OSError):
            while left and self.length and (more := os.read(handle, min(left, self.length))):
                pieces.append(more)
                left -= len(more)
                self.length -= len(more)
        return b"".join(pieces)

    def _frame(self) -> None:
        """Find where the body ends (RFC 9112, section 6.3) and whether the connection outlives it."""
        coding = self.fields.get("transfer-encoding", "identity").lower()
        claimed = self.fields.get("content-length")
        if coding not in ("identity", "chunked"):
            raise HTTPException("answers an unknown Transfer-Encoding")
        if claimed is not None and not _LENGTH.fullmatch(claimed):
            raise HTTPException("answers a Content-Length that is none")
        self.chunked = coding == "chunked"
        self.length = None if self.chunked or claimed is None else int(claimed)
        # What says both may be read otherwise by a proxy between.
        unsafe = self.chunked and claimed is not None
        if self._bodiless or self.status in _EMPTY:
            self.chunked = False
            self.length = 0
        options = self.fields.get("connection", "").lower()
        lasting = "close" not in options if self.version == 11 else "keep-alive" in options
        self.will_close = unsafe or not lasting or (self.length is None and not self.chunked)


class Response:
    """One answer, its body still to be read. Not thread-safe."""

    __slots__ = ("_done", "_ended", "_wire", "headers", "status")

    def __init__(self, wire: RawResponse, done: Callable[[bool], None]) -> None:
        """``done`` is called once: with True where the connection may carry another request."""
        self.status: int = wire.status
        self.headers = wire.fields
        self._wire = wire
        self._done = done
        self._ended = False
        if wire.length == 0:
            self._end(not wire.will_close)

    @property
    def length_remaining(self) -> int | None:
        """Bytes of the body still to come, None where only its end will tell."""
        return self._wire.length

    def read1(self, size: int) -> bytes:
        """Return what is there of the body, from one byte up to ``size``; empty at its end.

        Raises:
            WireError: the connection broke, stood still too long or ended early; it is closed then.
        """
        if self._ended:
            return b""
        try:
            data = self._wire.read1(size)
            if not data and self._wire.length:
                raise IncompleteRead(b"", self._wire.length)
        except (OSError, HTTPException) as error:
            self.close()
            raise WireError(error) from error
        if not data or self._wire.length == 0:
            self._end(not self._wire.will_close)
        return data

    def close(self) -> None:
        """Free the connection: closed, unless the body was read to its end; idempotent."""
        if not self._ended:
            self._end(False)

    def _end(self, reusable: bool) -> None:
        self._ended = True
        self._wire.close()
        self._done(reusable)


def _line(stream: BufferedReader, until: float) -> bytes:
    """Return the next line, by reads of the socket that each may wait, all of them ``until`` a time."""
    line = b""
    while seen := stream.peek(1):
        end = seen.find(b"\n") + 1
        line += stream.read(end or len(seen))
        if len(line) > _MAX_LINE:
            raise HTTPException("answers a line of more than 64 KiB")
        if end:
            break
        if time.monotonic() > until:
            raise TimeoutError
    return line


def _status(stream: BufferedReader, until: float) -> tuple[int, int]:
    """Return minor version and status."""
    line = _line(stream, until)
    if not line:
        raise RemoteDisconnected("closed without an answer")
    match = _STATUS.fullmatch(line)
    if match is None:
        raise HTTPException("answers what is not HTTP/1")
    return int(match[1]), int(match[2])


def _chunk(stream: BufferedReader, until: float) -> int:
    """Return the size of the chunk that begins, 0 for the last (RFC 9112, section 7.1)."""
    line = _line(stream, until)
    match = _CHUNK.fullmatch(line)
    if match is None:
        raise HTTPException("answers a malformed chunk") if line else IncompleteRead(b"")
    return int(match[1], 16)


def _fields(stream: BufferedReader, until: float) -> Headers:
    pairs: list[tuple[str, str]] = []
    while (line := _line(stream, until)) not in (b"\r\n", b"\n"):
        match = _FIELD.fullmatch(line)
        # A folded line is no field either: what reads it differently could be told another length.
        if match is None:
            raise HTTPException("answers a malformed header" if line else "closed inside a header")
        if len(pairs) == _MAX_FIELDS:
            raise HTTPException(f"answers more than {_MAX_FIELDS} header fields")
        pairs.append((match[1].decode("ascii").lower(), match[2].decode("latin-1").rstrip(" \t")))
    return Headers(pairs)
