"""For whom layers are encrypted: ``jwe:FILE``, ``pkcs7:FILE`` or ``pgp:NAME``, as skopeo spells it.

Source: containers/ocicrypt helpers/parse_helpers.go, utils/utils.go.
"""

from collections.abc import Sequence
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwcrypto import jwk
from jwcrypto.common import JWException

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.trust.encryption import jwe, pgp, pkcs7
from transship.pipeline.trust.encryption.spelling import parse_recipient
from transship.pipeline.trust.material import PEM, read_key


class Recipients(NamedTuple):
    """The public keys for which a layer's key is wrapped."""

    keys: tuple[tuple[jwk.JWK, str], ...] = ()
    certificates: tuple[x509.Certificate, ...] = ()
    people: tuple[pgp.PublicKey, ...] = ()

    def wrap(self, plain: bytes) -> dict[str, bytes]:
        """Return ``plain`` wrapped for all of them, by protocol."""
        made = {}
        if self.keys:
            made["jwe"] = jwe.wrap(self.keys, plain)
        if self.certificates:
            made["pkcs7"] = pkcs7.wrap(self.certificates, plain)
        if self.people:
            made["pgp"] = pgp.wrap(self.people, plain)
        return made


def load_recipients(texts: Sequence[str]) -> Recipients:
    """Return the keys that ``texts`` name.

    Raises:
        UsageError: one is misspelt, its file cannot be read, or holds no key of that kind.
    """
    keys: list[tuple[jwk.JWK, str]] = []
    certificates: list[x509.Certificate] = []
    people: dict[str, pgp.PublicKey] = {}
    for text in texts:
        protocol, value = parse_recipient(text)
        if protocol == "pgp":
            people |= {found.fingerprint: found for found in pgp.find(value)}
        elif protocol == "jwe":
            key = _public(read_key(value), text)
            keys.append((key, jwe.algorithm(key, shown(text))))
        else:
            certificates.append(_certificate(read_key(value), text))
    return Recipients(tuple(keys), tuple(certificates), tuple(people.values()))


def _public(raw: bytes, text: str) -> jwk.JWK:
    what = f"{shown(text)}: no public key"
    advice = "give a public key in PEM or DER, or a JWK"
    try:
        if raw.lstrip()[:1] == b"{":
            key = jwk.JWK.from_json(raw.decode())
            if key.has_private or not key.has_public:
                raise UsageError(what, advice=advice)
            return key
        load = serialization.load_pem_public_key if PEM in raw else serialization.load_der_public_key
        found = load(raw)
        if not isinstance(found, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
            raise UsageError(f"{shown(text)}: neither RSA nor EC", advice="use a key of one of these")
        return jwk.JWK.from_pyca(found)
    except (ValueError, TypeError, JWException):
        raise UsageError(what, advice=advice) from None


def _certificate(raw: bytes, text: str) -> x509.Certificate:
    try:
        found = x509.load_pem_x509_certificate(raw) if PEM in raw else x509.load_der_x509_certificate(raw)
        public = found.public_key()
    except ValueError:
        raise UsageError(f"{shown(text)}: no X.509 certificate", advice="give one in PEM or DER") from None
    if not isinstance(public, rsa.RSAPublicKey):
        raise UsageError(f"{shown(text)}: its key is not RSA, and PKCS #7 takes no other", advice="use jwe: for EC")
    return found
