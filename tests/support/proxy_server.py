"""An HTTP proxy on loopback that leads every name to one port, and remembers what it was asked."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from socketserver import StreamRequestHandler, ThreadingTCPServer

from support.listening import listening


class _Server(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def proxying(target: int, password: str = "") -> Iterator[tuple[int, list[str]]]:
    """Yield the proxy's port and the request lines seen; ``password`` is the Basic value it demands."""
    seen: list[str] = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            head = b"".join(iter(self.rfile.readline, b"\r\n"))
            seen.append(head.partition(b"\r\n")[0].decode())
            if password and f"Proxy-Authorization: Basic {password}\r\n".encode() not in head:
                self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", target)) as onward:
                if head.startswith(b"CONNECT "):
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    method, url, rest = head.split(b" ", 2)
                    onward.sendall(method + b" /" + url.split(b"/", 3)[3] + b" " + rest + b"\r\n")
                back = threading.Thread(target=_pass_on, args=(onward, self.connection))
                back.start()
                _pass_on(self.connection, onward)
                back.join()

    server = _Server(("127.0.0.1", 0), Handler)
    with listening(server):
        yield server.server_address[1], seen


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
