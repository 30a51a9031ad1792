"""Certificates that stand for a key: whether they lead to a root that is trusted, and whom they name.

Path validation is that of the package cryptography, at a given time; what must hold beyond it is said here.
Sources: RFC 5280, section 6; Fulcio's certificate specification, "Extensions".
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.errors import ContentError, RefusedError, shown
from transship.pipeline.trust.extra import from_extra
from transship.pipeline.trust.sigstore import pem

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, ExtendedKeyUsage, KeyUsage
    from cryptography.x509.verification import ExtensionPolicy, Policy, Subject

_MOST: Final = 10
"""Certificates beside a signature that are read."""
_ISSUERS: Final = ("1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8")
"""Where Fulcio says who vouched for the subject: as bare bytes, and later as a UTF8String."""
_UTF8_STRING: Final = 0x0C
_HEADER: Final = "".join(map(chr, range(0x21)))


class Anchors(NamedTuple):
    """Roots that the user trusts, and certificates between that may be needed to get to them."""

    roots: "Sequence[Certificate]"
    between: "Sequence[Certificate]" = ()


def trusted(raws: Sequence[bytes], what: str) -> "list[Certificate]":
    """Return the certificates in PEM that the user trusts.

    Raises:
        ContentError: none is there, or one is malformed.
        UsageError: cryptography is not installed.
    """
    return [certificate for raw in raws for certificate in _read(raw, what, text=True)]


def leaf(text: str) -> "Certificate":
    """Return the one certificate beside a signature; raises `RefusedError` where there is none, or another."""
    found = _beside(text, "certificate")
    if len(found) != 1:
        raise RefusedError(f"certificate: there are {len(found)}, expected one")
    return found[0]


def between(text: str) -> "list[Certificate]":
    """Return the intermediate certificates of the chain beside a signature, whose last is the root.

    Raises:
        RefusedError: one is malformed, or there are more than ten.
    """
    found = _beside(text, "certificate chain") if text else []
    if len(found) > _MOST:
        raise RefusedError(f"certificate chain: {len(found)} certificates, over the limit of {_MOST}")
    return found[:-1]


def check_chain(certificate: "Certificate", anchors: Anchors, at: float, hostname: str = "") -> None:
    """Raise `RefusedError` unless ``certificate`` leads to a root at a time, and is for signing code.

    ``at`` is in seconds since 1970; all certificates of the path must be valid then. With a ``hostname``, a DNS name
    or an address, it must be issued to that.
    """
    from cryptography.x509.verification import PolicyBuilder, Store, VerificationError  # noqa: PLC0415

    try:
        moment = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        authorities, end = _policies()
        policy = PolicyBuilder().store(Store(list(anchors.roots))).time(moment).max_chain_depth(_MOST)
        policy = policy.extension_policies(ca_policy=authorities, ee_policy=end)
        verifier = policy.build_server_verifier(_subject(hostname)) if hostname else policy.build_client_verifier()
        verifier.verify(certificate, list(anchors.between))
    except (VerificationError, ValueError, OverflowError, OSError) as error:
        reason = shown(" ".join(str(error).partition(" (encountered")[0].rpartition("ValueError: ")[2].split()))
        what = f"is not issued to {hostname}" if "no matching subjectAltName" in reason else "leads to no trusted root"
        raise RefusedError(f"certificate: {what}: {reason}") from error


def check_email(certificate: "Certificate", wanted: str) -> None:
    """Raise `RefusedError` unless ``certificate`` is issued to the mail address ``wanted``, to the letter."""
    from cryptography.x509 import RFC822Name, SubjectAlternativeName  # noqa: PLC0415

    try:
        names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
        found = names.get_values_for_type(RFC822Name)
    except Exception as error:
        raise RefusedError("certificate: has no names that can be read") from error
    if wanted not in found:
        raise RefusedError(f"certificate: is issued to {shown(', '.join(found)) or 'no mail address'}, not to {wanted}")


def check_issuer(certificate: "Certificate", wanted: str) -> None:
    """Raise `RefusedError` unless Fulcio says that ``wanted`` vouched for the subject, wherever it says who did."""
    text = wanted.encode()
    spelt = dict(zip(_ISSUERS, (text, _utf8_string(text)), strict=True))
    try:
        said = [extension for extension in certificate.extensions if extension.oid.dotted_string in spelt]
    except Exception as error:
        raise RefusedError("certificate: has extensions that cannot be read") from error
    if not said:
        raise RefusedError("certificate: does not say who vouched for its subject: none of Fulcio's")
    for extension in said:
        raw = getattr(extension.value, "value", b"")
        if raw != spelt[extension.oid.dotted_string]:
            who = shown(raw.decode("utf-8", "replace").lstrip(_HEADER))
            raise RefusedError(f"certificate: OIDC issuer {who!r}, expected {shown(wanted)!r}")


def _policies() -> "tuple[ExtensionPolicy, ExtensionPolicy]":
    from cryptography.x509 import BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName  # noqa: PLC0415
    from cryptography.x509.verification import Criticality, ExtensionPolicy  # noqa: PLC0415

    anyhow, every = Criticality.AGNOSTIC, ExtensionPolicy.permit_all()
    every = every.may_be_present(ExtendedKeyUsage, anyhow, _for_code)
    authorities = every.require_present(BasicConstraints, anyhow, None).may_be_present(KeyUsage, anyhow, _for_issuing)
    return authorities, every.require_present(SubjectAlternativeName, anyhow, None)


def _for_code(_: "Policy", __: "Certificate", usage: "ExtendedKeyUsage | None") -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: PLC0415

    if usage and not {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage):
        raise ValueError("not for signing code")


def _for_issuing(_: "Policy", __: "Certificate", usage: "KeyUsage | None") -> None:
    if usage and not usage.key_cert_sign:
        raise ValueError("an authority that may not issue certificates")


def _subject(hostname: str) -> "Subject":
    from cryptography.x509 import DNSName, IPAddress  # noqa: PLC0415

    try:
        return IPAddress(ipaddress.ip_address(hostname.strip("[]")))
    except ValueError:
        return DNSName(hostname)


def _utf8_string(text: bytes) -> bytes:
    """Return ``text`` in DER."""
    size = len(text)
    more = b"" if size < 0x80 else size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([_UTF8_STRING, 0x80 | len(more) if more else size]) + more + text


def _beside(text: str, what: str) -> "list[Certificate]":
    try:
        return _read(text.encode(), what)
    except ContentError as error:
        raise RefusedError(error.message) from error


def _read(raw: bytes, what: str, *, text: bool = False) -> "list[Certificate]":
    with from_extra("sigstore"):
        from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    found = []
    for label, der in pem.blocks(raw, what, text=text):
        if label != "CERTIFICATE":
            raise ContentError(f"{what}: {shown(label)}, expected a certificate")
        try:
            found.append(load_der_x509_certificate(der))
        except Exception as error:
            raise ContentError(f"{what}: holds what is no certificate") from error
    return found
