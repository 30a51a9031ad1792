"""A server that answers each connection's requests with given bytes, and remembers what came."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO


class RawServer:
    """``connections`` holds, for each connection, the answers to its requests in turn; then it is closed."""

    def __init__(self, connections: Sequence[Sequence[bytes]]) -> None:
        self.received: list[bytes] = []
        self.closed = threading.Event()
        self._connections = connections
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve all connections, one after the other."""
        for answers in self._connections:
            with contextlib.suppress(OSError):
                self._serve(self._listener.accept()[0], answers)
            self.closed.set()

    def stop(self) -> None:
        """End a wait for a connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self, connection: socket.socket, answers: Sequence[bytes]) -> None:
        with connection, connection.makefile("rb") as stream:
            for answer in answers:
                self.received.append(_request(stream))
                connection.sendall(answer)


def _request(stream: BinaryIO) -> bytes:
    lines: list[bytes] = []
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        lines.append(line)
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return b"".join(lines) + b"\r\n" + stream.read(length)


@contextlib.contextmanager
def answering(*connections: Sequence[bytes]) -> Iterator[RawServer]:
    """Run a `RawServer`."""
    server = RawServer(connections)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)
