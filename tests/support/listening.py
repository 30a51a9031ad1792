"""A server of the standard library, run by a thread for as long as a test needs it."""

import contextlib
import threading
from collections.abc import Iterator
from socketserver import BaseServer


@contextlib.contextmanager
def listening(server: BaseServer) -> Iterator[None]:
    """Serve, and close ``server`` at the end."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
