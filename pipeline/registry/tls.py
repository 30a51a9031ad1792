"""Certificates of a registry: certs.d folders and the TLS contexts made of them.

Layout: containers-certs.d(5): ``*.crt`` are authorities, ``*.cert`` with ``*.key`` client pairs.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.registry.tls_details import TlsDetails

if TYPE_CHECKING:
    import ssl


class Certificates(NamedTuple):
    """Files of one registry: authorities to trust besides the system's, pairs to show to the registry."""

    authorities: tuple[Path, ...] = ()
    pairs: tuple[tuple[Path, Path], ...] = ()


def folders(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the certs.d folders, the user's first."""
    home = environ.get("HOME", "")
    own = (Path(home) / ".config/containers/certs.d",) if home else ()
    return (*own, Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


def find(registry: str, places: Sequence[Path]) -> Certificates:
    """Return the certificates of ``registry`` (host:port as the user wrote it) in the first folder that has them.

    Raises:
        UsageError: as `read`.
    """
    for place in places:
        if (place / registry).is_dir():
            return read(place / registry)
    return Certificates()


def read(folder: Path) -> Certificates:
    """Return the certificates in one folder.

    Raises:
        UsageError: it cannot be read, or a ``.cert`` or ``.key`` lacks its other half.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"cannot read certificates in {shown(str(folder))}: {error.strerror}") from error
    for entry in entries:
        half = {".cert": ".key", ".key": ".cert"}.get(entry.suffix)
        if half and entry.with_suffix(half) not in entries:
            raise UsageError(f"{shown(str(entry))} has no {entry.with_suffix(half).name} beside it")
    pairs = tuple((entry, entry.with_suffix(".key")) for entry in entries if entry.suffix == ".cert")
    return Certificates(tuple(entry for entry in entries if entry.suffix == ".crt"), pairs)


def context(
    certificates: Certificates,
    details: TlsDetails,
    *,
    verify: bool,
    with_pairs: bool,
) -> "ssl.SSLContext":
    """Return a client context; ``with_pairs`` is for the registry itself, never for where it redirects.

    The same files give the same context again, without a look at them.

    Raises:
        UsageError: a certificate file is not one; Python cannot keep to the ``details``.
    """
    return _made(certificates if with_pairs else certificates._replace(pairs=()), details, verify)


@lru_cache(maxsize=256)
def _made(certificates: Certificates, details: TlsDetails, verify: bool) -> "ssl.SSLContext":
    import ssl  # noqa: PLC0415 - registries without TLS, and copies between files, need none of it

    if verify:
        made = ssl.create_default_context()
    else:
        # The system's authorities cost 30 ms to load; here nobody asks them.
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["http/1.1"])
    details.apply(made)
    try:
        for authority in certificates.authorities:
            made.load_verify_locations(authority)
        for certificate, key in certificates.pairs:
            # The password is never asked for: a prompt would hang a batch.
            made.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        where = shown(str(error.filename or certificates.authorities + certificates.pairs))
        raise UsageError(f"cannot load certificates of {where}: {shown(str(error))}") from error
    return made
