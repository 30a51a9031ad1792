"""What went wrong below HTTP, said in a few words, and whether it may pass."""

import socket
import ssl

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from transship.pipeline.errors import TransientError, TransportError, shown

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})


def turn(error: HTTPError, what: str) -> TransportError:
    """Return our error for one of urllib3's; ``what`` is the method and the redacted URL."""
    cause = error.args[0] if error.args else error
    if isinstance(error, SSLError) and isinstance(cause, ssl.SSLCertVerificationError):
        return TransportError(
            f"{what}: the certificate is not trusted: {shown(cause.verify_message)}",
            advice="add its authority to a certs.d folder or --cert-dir, or turn TLS verification off",
        )
    if isinstance(error, SSLError) and isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS:
        return TransportError(f"{what}: does not speak TLS", advice="for plain HTTP turn TLS verification off")
    return TransientError(f"{what}: {reason(error)}", advice="check that it is up and reachable")


def unreachable(error: HTTPError) -> bool:
    """Say whether not even a connection came about."""
    return isinstance(error, (NewConnectionError, ConnectTimeoutError, NameResolutionError))


def reason(error: HTTPError) -> str:
    """Return what happened, in a few words."""
    if isinstance(error, NameResolutionError):
        return "the host name is not known"
    if isinstance(error, NewConnectionError):
        return _system(error.__cause__ or error.__context__) or "no connection"
    if isinstance(error, ConnectTimeoutError):
        return "no connection within the time allowed"
    if isinstance(error, ReadTimeoutError):
        return "no answer within the time allowed"
    for cause in reversed(error.args):
        if isinstance(cause, OSError) and _system(cause):
            return _system(cause)
    return shown(str(error.args[0] if error.args else error))


def _system(cause: BaseException | None) -> str:
    if isinstance(cause, (OSError, socket.gaierror)) and cause.strerror:
        return shown(cause.strerror.lower())
    return ""
