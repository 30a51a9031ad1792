"""What went wrong below HTTP, said in a few words, and whether it may pass."""

import socket
import ssl
from http.client import IncompleteRead, InvalidURL, RemoteDisconnected
from typing import Final

from transship.pipeline.errors import TransientError, TransportError, shown

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})


class WireError(Exception):
    """No answer, or none to its end. ``connected`` says whether a connection came about, ``via`` names a proxy."""

    def __init__(self, cause: Exception, *, connected: bool = True, via: str = "") -> None:
        """``cause`` is what the socket, TLS or `http.client` raised."""
        super().__init__(cause)
        self.cause = cause
        self.connected = connected
        self.via = via


_TIMES: Final = frozenset({9, 10})
"""OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_OUT_OF_TIME: Final = "check this machine's clock; if that is right the registry needs a new certificate"
_UNTRUSTED: Final = "add its authority to a certs.d folder or --cert-dir, or say --tls-verify=false"
_PLAIN: Final = "for plain HTTP say --tls-verify=false, in a batch file tls-verify: false"


def turn(fault: WireError, what: str) -> TransportError:
    """Return our error for ``fault``; ``what`` is the method and the redacted URL."""
    cause = fault.cause
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TransportError(
            f"{what}: the certificate is not trusted: {shown(cause.verify_message)}",
            advice=_OUT_OF_TIME if cause.verify_code in _TIMES else _UNTRUSTED,
        )
    if isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS:
        return TransportError(f"{what}: does not speak TLS", advice=_PLAIN)
    return TransientError(f"{what}: {reason(fault)}", advice="check that it is up and reachable")


def reason(fault: WireError) -> str:
    """Return what happened, in a few words."""
    return _reason(fault) + (f" ({fault.via})" if fault.via else "")


def _reason(fault: WireError) -> str:
    cause = fault.cause
    if isinstance(cause, (socket.gaierror, UnicodeError, InvalidURL)):
        return "the host name is not known"
    if isinstance(cause, TimeoutError):
        return f"no {'answer' if fault.connected else 'connection'} within the time allowed"
    if isinstance(cause, RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(cause, IncompleteRead):
        return "the connection was closed"
    if isinstance(cause, OSError) and cause.strerror:
        return shown(cause.strerror.lower())
    return shown(str(cause))
