"""Opens the TCP connection to a registry, and keeps one that stays on this machine short of buffers."""

import socket
from contextlib import suppress
from typing import Final

_SEGMENT: Final = 3500
"""Bytes of data in a segment over loopback, whose own would be 64 KiB.

Linux gives a sender room for ten segments and more, and counts each as the next power of two that holds it and some
600 bytes of heads: this one fits into 4 KiB. Segments are still handed over by the 64 KiB.
"""
_WINDOW: Final = 16 << 10
"""Bytes that a sender on this machine may be ahead of what we read; its own buffer grows by what it may send.

A smaller one bounds more and costs speed: docs/decisions/0007-resume.md has both.
"""


def dial(host: str | bytes, port: int, seconds: float) -> socket.socket:
    """Return a socket connected to the first address of ``host`` that answers, each within ``seconds``.

    What is in the buffers of both kernels when a process is killed is sent twice. Over a link they are as large as the
    link needs; over loopback they are megabytes and serve nothing (docs/decisions/0007-resume.md).

    Raises:
        OSError: there is no address, or none answers; that of the last one tried.
    """
    failed: OSError | None = None
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(seconds)
            if _is_loopback(str(address[0])):
                _keep_short(made)
            made.connect(address)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return made
        except OSError as error:
            made.close()
            failed = error
    raise failed or OSError(f"no address of {host!r}")


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def _keep_short(made: socket.socket) -> None:
    # Both are told to the other side as the connection begins: later they would not count.
    with suppress(OSError):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
