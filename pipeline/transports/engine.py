"""The part of the Docker Engine's HTTP API that moves images: inspect one, save one, load an archive.

Source: Docker Engine API, from v1.24 on: ``/_ping``, ``/images/{name}/json``, ``/images/{name}/get``, ``/images/load``.
"""

import http.client
import json
import socket
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from transship.pipeline import trace
from transship.pipeline.errors import (
    ContentError,
    DeniedError,
    NotFoundError,
    TransientError,
    TransportError,
    UsageError,
    shown,
)

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_PORT: Final = 2375
_ANSWER_SECONDS: Final = 60.0
_PACKING_SECONDS: Final = 900.0
"""The engine writes a whole image to its disk before the first byte of an answer."""
_MAX_ANSWER: Final = 4 << 20
_MAX_IMAGE: Final = 1 << 40
_PIECE: Final = 1 << 20
_NOT_FOUND: Final = 404
_SERVER_BUSY: Final = frozenset({429, 502, 503, 504})
_ADVICE: Final = "is it running? set DOCKER_HOST, --src-daemon-host or --dest-daemon-host"


class Engine:
    """A Docker Engine; nothing is sent until asked. Each call has a connection of its own, so threads may share it."""

    def __init__(self, host: str = "") -> None:
        """``host`` is ``unix:///path`` or ``tcp://host:port``, as in DOCKER_HOST; empty is the usual socket.

        Raises:
            UsageError: it is neither.
        """
        self.host = host or DEFAULT_HOST
        parts = urllib.parse.urlsplit(self.host)
        self._path = parts.path if parts.scheme == "unix" else ""
        try:
            self._address = (parts.hostname or "", parts.port or _PORT)
        except ValueError:
            self._address = ("", 0)
        if not self._path and not (parts.scheme in ("tcp", "http") and self._address[0] and parts.path in ("", "/")):
            raise UsageError(
                f"Docker Engine {shown(self.host)!r}: cannot be reached that way",
                advice="expected unix:///path or tcp://host:port; for TLS or ssh forward its socket with ssh -L",
            )

    def image_id(self, name: str) -> str:
        """Return the ID of the image that the engine knows by ``name``.

        Raises:
            NotFoundError: it has none of that name.
            TransportError: it cannot be reached, or refused.
        """
        with self._call("GET", f"/images/{_quoted(name)}/json") as answer:
            found = _document(_whole(answer, self.host))
        image_id = found.get("Id")
        if not isinstance(image_id, str) or not image_id:
            raise ContentError(f"Docker Engine {self.host}: image {shown(name)} has no ID in its answer")
        return image_id

    def save(self, image_id: str, write: Callable[[bytes], object]) -> None:
        """Hand the archive of one image to ``write``, as ``docker save`` does, piece by piece.

        Raises:
            TransportError: the engine refused, or broke off.
            ContentError: it sends without an end.
        """
        total = 0
        with self._call("GET", f"/images/{_quoted(image_id)}/get") as answer:
            while piece := answer.read(_PIECE):
                total += len(piece)
                if total > _MAX_IMAGE:
                    raise ContentError(f"Docker Engine {self.host}: image {image_id} is over {_MAX_IMAGE} bytes")
                write(piece)
            # Read by pieces, http.client takes an early end for the end.
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)

    def load(self, archive: Iterable[bytes], size: int) -> None:
        """Load an archive of ``size`` bytes, as ``docker load`` does; images of the same names lose them.

        Raises:
            TransportError: the engine refused it, or broke off.
        """
        headers = {"Content-Type": "application/x-tar", "Content-Length": str(size)}
        with self._call("POST", "/images/load?quiet=1", archive, headers) as answer:
            raw = _whole(answer, self.host)
        # The status says 200 before the engine has read the archive; what went wrong stands in the progress.
        for line in raw.splitlines():
            said = _document(line)
            if "error" in said or "errorDetail" in said:
                raise TransportError(f"Docker Engine {self.host} did not load: {shown(_message(said))}")

    def check(self) -> None:
        """Raise what stands in the way of reaching the engine."""
        self._version()

    def _version(self) -> str:
        """Return the newest API version that the engine speaks, as a prefix of paths; no engine drops its newest."""
        with self._answered("GET", "/_ping") as answer:
            _whole(answer, self.host)
            version = answer.headers.get("Api-Version", "")
        if not version.replace(".", "").isdigit():
            raise TransportError(f"{self.host}: answers, but is no Docker Engine", advice="check DOCKER_HOST")
        return f"/v{version}"

    @contextmanager
    def _call(
        self, method: str, path: str, body: Iterable[bytes] | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        with self._answered(method, self._version() + path, body, headers) as answer:
            yield answer

    @contextmanager
    def _answered(
        self, method: str, path: str, body: Iterable[bytes] | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = _Connection(self._path, self._address, _ANSWER_SECONDS)
        try:
            self._connected(connection)
            connection.patience(_PACKING_SECONDS if path.endswith(("/get", "quiet=1")) else _ANSWER_SECONDS)
            # An engine that refuses an archive answers before it has read all of it, and closes.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            trace.tell("Docker Engine %s: %s %s: %d", self.host, method, path.partition("?")[0], answer.status)
            if answer.status >= http.HTTPStatus.BAD_REQUEST:
                raise self._refused(answer)
            yield answer
        except (OSError, http.client.HTTPException) as error:
            raise TransientError(f"Docker Engine {self.host} broke off: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _connected(self, connection: "_Connection") -> None:
        try:
            connection.connect()
        except PermissionError as error:
            raise DeniedError(
                f"Docker Engine {self.host}: permission denied", advice="join the group of its socket, or use sudo"
            ) from error
        except FileNotFoundError as error:
            raise TransportError(f"no Docker Engine at {self.host}: no such socket", advice=_ADVICE) from error
        except OSError as error:
            raise TransientError(
                f"no Docker Engine at {self.host}: {error.strerror or error}", advice=_ADVICE
            ) from error

    def _refused(self, answer: http.client.HTTPResponse) -> TransportError:
        said = _message(_document(_whole(answer, self.host))) or answer.reason
        kind: type[TransportError] = TransportError
        if answer.status == _NOT_FOUND:
            kind = NotFoundError
        elif answer.status in _SERVER_BUSY:
            kind = TransientError
        return kind(f"Docker Engine {self.host}: {shown(said)} ({answer.status})")


class _Connection(http.client.HTTPConnection):
    """HTTP to a TCP address, or to a Unix socket where there is a path."""

    def __init__(self, path: str, address: tuple[str, int], timeout: float) -> None:
        super().__init__(address[0] or "docker", address[1], timeout=timeout)
        self._socket_path = path

    def connect(self) -> None:
        if not self._socket_path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)

    def patience(self, seconds: float) -> None:
        """Wait that long for each piece from here on."""
        self.sock.settimeout(seconds)


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="/:@")


def _whole(answer: http.client.HTTPResponse, host: str) -> bytes:
    raw = answer.read(_MAX_ANSWER + 1)
    if len(raw) > _MAX_ANSWER:
        raise ContentError(f"Docker Engine {host}: an answer of more than {_MAX_ANSWER} bytes")
    return raw


def _document(raw: bytes) -> dict[str, object]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {"message": raw.decode("utf-8", "replace").strip()}
    return found if isinstance(found, dict) else {}


def _message(said: dict[str, object]) -> str:
    detail = said.get("errorDetail")
    inner = detail.get("message") if isinstance(detail, dict) else None
    return str(said.get("message") or said.get("error") or inner or "")
