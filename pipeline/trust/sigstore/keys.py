"""Keys of sigstore: private ones encrypted as cosign and skopeo write them, public ones in PEM, what is signed by them.

Source: cosign's SIGNATURE_SPEC, "Signature Schemes" and "Hashing Algorithms".
"""

import hashlib
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from transship.pipeline.errors import ContentError, shown
from transship.pipeline.trust.extra import from_extra
from transship.pipeline.trust.sigstore import pem
from transship.pipeline.trust.sigstore.sealed import seal, unseal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

PublicKey: TypeAlias = "EllipticCurvePublicKey | RSAPublicKey | Ed25519PublicKey"
PrivateKey: TypeAlias = "EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey"

_SEALED: Final = frozenset({"ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"})
_WRITTEN: Final = "ENCRYPTED COSIGN PRIVATE KEY"
"""The older label: the only one that all versions read. skopeo writes it too."""
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_RSA_BITS: Final = range(2048, 16385)


def generate(passphrase: bytes) -> tuple[bytes, bytes]:
    """Return a new ECDSA P-256 key as two PEM texts: the private one under ``passphrase``, the public one.

    Raises:
        UsageError: cryptography or PyNaCl is not installed.
    """
    key = fresh()
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    der = key.private_bytes(form.Encoding.DER, form.PrivateFormat.PKCS8, form.NoEncryption())
    return pem.written(_WRITTEN, seal(der, passphrase)), public_pem(key.public_key())


def fresh() -> "EllipticCurvePrivateKey":
    """Return a new ECDSA P-256 key; raises as `generate`."""
    with from_extra("sigstore"):
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    return ec.generate_private_key(ec.SECP256R1())


def private_key(raw: bytes, passphrase: bytes, what: str) -> PrivateKey:
    """Return the key in the file ``raw``.

    Raises:
        ContentError: it is none that cosign or skopeo wrote, or of a kind that nobody verifies.
        DeniedError: the passphrase is wrong.
        UsageError: as `generate`.
    """
    with from_extra("sigstore"):
        from cryptography.hazmat.primitives.serialization import load_der_private_key  # noqa: PLC0415

    label, inner = pem.block(raw, what)
    if label not in _SEALED:
        raise ContentError(
            f"{what}: {shown(label)}, expected an encrypted key of sigstore",
            advice="make one by transship generate-sigstore-key",
        )
    der = unseal(inner, passphrase, what)
    try:
        key = load_der_private_key(der, None)
    except Exception:
        # Not chained: it may tell of the key.
        raise ContentError(f"{what}: holds no private key in PKCS #8") from None
    _refuse_weak(key.public_key(), what)
    return cast(PrivateKey, key)


def public_key(raw: bytes, what: str) -> PublicKey:
    """Return the key in PEM.

    Raises:
        ContentError: it is none, several, or of a kind that is not accepted: ECDSA over P-256, P-384 or P-521,
            RSA of 2,048 bits or more, Ed25519.
        UsageError: cryptography is not installed.
    """
    with from_extra("sigstore"):
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    label, inner = pem.block(raw, what, text=True)
    if label not in ("PUBLIC KEY", "RSA PUBLIC KEY"):
        raise ContentError(f"{what}: {shown(label)}, expected a public key")
    try:
        key = load_pem_public_key(pem.written(label, inner))
    except Exception as error:
        raise ContentError(f"{what}: holds no public key") from error
    return accepted_key(key, what)


def accepted_key(key: object, what: str) -> PublicKey:
    """Return ``key`` where it is of a kind that is accepted; raises `ContentError` as `public_key`."""
    _refuse_weak(key, what)
    return cast(PublicKey, key)


def public_pem(key: PublicKey) -> bytes:
    """Return a key in PEM, as Go's tools write it."""
    return pem.written("PUBLIC KEY", spki(key))


def spki(key: PublicKey) -> bytes:
    """Return a key in DER (SubjectPublicKeyInfo)."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415

    return key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: PublicKey) -> str:
    """Return the hex of the SHA-256 of a key in DER."""
    return hashlib.sha256(spki(key)).hexdigest()


def sign(key: PrivateKey, message: bytes) -> bytes:
    """Return the signature of ``message``: over its SHA-256, in ASN.1 for ECDSA, PKCS #1 v1.5 for RSA."""
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), SHA256())
    return key.sign(message)


def signed_by(key: PublicKey, signature: bytes, message: bytes) -> bool:
    """Say whether ``signature`` is that of ``message`` by ``key``, as `sign` makes it."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), SHA256())
        else:
            key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _refuse_weak(key: object, what: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if isinstance(key, ec.EllipticCurvePublicKey):
        good = key.curve.name in _CURVES
    elif isinstance(key, rsa.RSAPublicKey):
        good = key.key_size in _RSA_BITS
    else:
        good = isinstance(key, ed25519.Ed25519PublicKey)
    if not good:
        raise ContentError(f"{what}: a kind of key that is not accepted", advice="see docs/trust.md")
