"""Keys that open layers: ``FILE``, or ``FILE:PASSPHRASE`` with ``pass=``, ``file=`` and ``fd=``, as skopeo spells it.

Source: containers/ocicrypt helpers/parse_helpers.go, utils/utils.go.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwcrypto import jwk
from jwcrypto.common import JWException

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.trust.encryption import jwe, pgp, pkcs7
from transship.pipeline.trust.encryption.spelling import parse_secret
from transship.pipeline.trust.material import PEM, read_all, read_key

_MAX_PASSPHRASE: Final = 4096
_FORMS: Final = "give it as FILE:file=PASSFILE, FILE:fd=NUMBER or FILE:pass=PASSPHRASE"


class Opened(NamedTuple):
    """What a key made of a packet: the plain bytes, or why there are none."""

    plain: bytes | None
    why: str = ""

    def __repr__(self) -> str:
        return "Opened(...)"


class SecretKey(NamedTuple):
    """A key of one file, and what it does with a packet of each protocol that it is for."""

    name: str
    by_protocol: dict[str, Callable[[bytes, str], Opened]]

    def __repr__(self) -> str:
        return f"SecretKey({self.name!r})"


def load_decryption_keys(texts: Sequence[str]) -> tuple[SecretKey, ...]:
    """Return the keys that ``texts`` name, each file once; certificates, which skopeo wants beside keys, are none.

    Raises:
        UsageError: a file cannot be read or holds no key, or its passphrase is missing or wrong.
    """
    found = [_load(*parse_secret(text)) for text in texts]
    return tuple(key for key in found if key)


def _load(path: str, said: str | None) -> SecretKey | None:
    raw, name = read_key(path), path.rpartition("/")[2]
    passphrase = None if said is None else _passphrase(said, shown(path))
    if pgp.is_secret_key(raw):
        return SecretKey(name, {"pgp": partial(_by_pgp, raw, passphrase)})
    if b"pkcs11:" in raw and PEM not in raw:
        raise UsageError(f"key file {shown(path)}: keys in hardware modules (PKCS #11) are not built")
    if _is_certificate(raw):
        return None
    key, private = _private(raw, passphrase, shown(path))
    ways: dict[str, Callable[[bytes, str], Opened]] = {"jwe": partial(_by_jwe, key)}
    if isinstance(private, rsa.RSAPrivateKey):
        ways["pkcs7"] = partial(_by_pkcs7, private)
    return SecretKey(name, ways)


def _by_pgp(raw: bytes, passphrase: bytes | None, packet: bytes, _what: str) -> Opened:
    return Opened(*pgp.unwrap(raw, passphrase, packet))


def _by_jwe(key: jwk.JWK, packet: bytes, what: str) -> Opened:
    return Opened(jwe.unwrap(key, packet, what))


def _by_pkcs7(key: rsa.RSAPrivateKey, packet: bytes, what: str) -> Opened:
    return Opened(pkcs7.unwrap(key, packet, what))


def _private(raw: bytes, passphrase: bytes | None, path: str) -> tuple[jwk.JWK, object]:
    none = UsageError(f"key file {path}: no private key", advice="give one in PEM, DER or JWK, or OpenPGP secret keys")
    try:
        if PEM not in raw and raw.lstrip()[:1] == b"{":
            key = jwk.JWK.from_json(raw.decode())
            if not key.has_private:
                raise none
            pem = key.export_to_pem(private_key=True, password=None)
            return key, serialization.load_pem_private_key(pem, None)
        load = serialization.load_pem_private_key if PEM in raw else serialization.load_der_private_key
        private = _decrypted(load, raw, passphrase, path)
        if not isinstance(private, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise UsageError(f"key file {path}: neither RSA nor EC", advice="no layer is encrypted for such a key")
        return jwk.JWK.from_pyca(private), private
    except (ValueError, TypeError, JWException):
        raise none from None


def _decrypted(load: Callable[..., object], raw: bytes, passphrase: bytes | None, path: str) -> object:
    # ocicrypt lets a passphrase stand at a key that needs none.
    try:
        return load(raw, None)
    except TypeError:
        if not passphrase:
            raise UsageError(f"key file {path}: it needs a passphrase", advice=_FORMS) from None
    try:
        return load(raw, passphrase)
    except ValueError:
        raise UsageError(f"key file {path}: its passphrase is wrong", advice=_FORMS) from None


def _is_certificate(raw: bytes) -> bool:
    try:
        if b"PRIVATE KEY-----" in raw:
            return False
        _ = x509.load_pem_x509_certificate(raw) if PEM in raw else x509.load_der_x509_certificate(raw)
    except ValueError:
        return False
    return True


def _passphrase(said: str, path: str) -> bytes:
    """Return the passphrase that ``said`` gives or leads to; one line end at a file's end is not of it."""
    form, equals, value = said.partition("=")
    if not equals or form not in ("pass", "file", "fd"):
        return os.fsencode(said)
    if form == "pass":
        return os.fsencode(value)
    if form == "file":
        raw = read_key(value)
    else:
        try:
            raw = read_all(int(value), _MAX_PASSPHRASE)
        except (OSError, ValueError, OverflowError):
            raise UsageError(f"key file {path}: its passphrase cannot be read from fd={shown(value)}") from None
    if len(raw) > _MAX_PASSPHRASE:
        raise UsageError(f"key file {path}: a passphrase of over {_MAX_PASSPHRASE} bytes")
    return raw.removesuffix(b"\n").removesuffix(b"\r")
