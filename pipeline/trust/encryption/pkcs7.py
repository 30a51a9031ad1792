"""Keys wrapped as PKCS #7 enveloped data (RFC 2315) for X.509 certificates with RSA keys.

AES-GCM's parameters stand where ocicrypt's library writes and looks for them, and nobody else: a SEQUENCE in a
primitive SEQUENCE, with the nonce tagged [4]. Sources: containers/ocicrypt keywrap/pkcs7; smallstep/pkcs7.
"""

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

from asn1crypto import core, parser
from cryptography import x509
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding as block_padding
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transship.pipeline.errors import ContentError

_MAX_RECIPIENTS: Final = 64
_MAX_PARTS: Final = 1024
_KEY: Final = 16
_NONCE: Final = 12
_TAG: Final = 16
_OCTETS, _SEQUENCE, _SET = 4, 16, 17
_OWN: Final = 2
"""The class of tags that mean what their place says."""
_DATA: Final = "1.2.840.113549.1.7.1"
_ENVELOPED: Final = "1.2.840.113549.1.7.3"
_RSA: Final = "1.2.840.113549.1.1.1"
_AES: Final = "2.16.840.1.101.3.4.1."
_CIPHERS: Final = {"2": (16, "cbc"), "42": (32, "cbc"), "6": (16, "gcm"), "46": (32, "gcm")}
"""By the last number of AES's object identifiers: bytes of the key, mode."""


class _Element(NamedTuple):
    """One element of DER or BER: its tag, whether it is made of others, its content."""

    tag: int
    constructed: bool
    content: bytes

    def parts(self, count: int = 0) -> "list[_Element]":
        """Return the elements in it; raises `ValueError` where they are fewer than ``count``."""
        found = []
        rest = self.content
        while rest:
            _, constructed, tag, header, content, trailer = parser.parse(rest)
            found.append(_Element(tag, bool(constructed), content))
            rest = rest[len(header) + len(content) + len(trailer) :]
            if len(found) > _MAX_PARTS:
                raise ValueError("too many elements")
        if len(found) < count:
            raise ValueError("elements are missing")
        return found


class _Enveloped(NamedTuple):
    """What a packet holds: the keys for its recipients, the cipher, its parameters, the encrypted bytes."""

    keys: list[bytes]
    cipher: str
    parameters: _Element
    sealed: bytes


def wrap(certificates: Sequence[x509.Certificate], plain: bytes) -> bytes:
    """Return ``plain`` encrypted for the RSA key of each certificate, as DER."""
    key, nonce = os.urandom(_KEY), os.urandom(_NONCE)
    inner = _made(_SEQUENCE, parser.emit(_OWN, 0, 4, nonce) + core.Integer(_TAG).dump())
    algorithm = _oid(f"{_AES}6") + _made(_SEQUENCE, inner, constructed=0)
    sealed = _made(_OCTETS, AESGCM(key).encrypt(nonce, plain, None), constructed=0)
    content = _made(_SEQUENCE, _oid(_DATA) + _made(_SEQUENCE, algorithm) + parser.emit(_OWN, 1, 0, sealed))
    infos = _made(_SET, b"".join(sorted(_info(certificate, key) for certificate in certificates)))
    enveloped = _made(_SEQUENCE, core.Integer(0).dump() + infos + content)
    return _made(_SEQUENCE, _oid(_ENVELOPED) + parser.emit(_OWN, 1, 0, enveloped))


def unwrap(key: rsa.RSAPrivateKey, packet: bytes, what: str) -> bytes | None:
    """Return what ``packet`` holds for ``key``, None where it is not for that key.

    Raises:
        ContentError: it is no enveloped data that this reads, or has too many recipients; ``what`` names the layer.
    """
    where = f"{what}: its key for pkcs7"
    try:
        found = _read(packet)
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise ContentError(f"{where}: no PKCS #7 enveloped data") from error
    if len(found.keys) > _MAX_RECIPIENTS:
        raise ContentError(f"{where}: over {_MAX_RECIPIENTS} recipients")
    known = _CIPHERS.get(found.cipher.removeprefix(_AES)) if found.cipher.startswith(_AES) else None
    if known is None:
        raise ContentError(f"{where}: its cipher is {found.cipher}", advice="known are AES-128 and -256, GCM and CBC")
    for one in found.keys:
        plain = _tried(key, one, *known, found)
        if plain is not None:
            return plain
    return None


def _read(packet: bytes) -> _Enveloped:
    [packed] = _Element(_SEQUENCE, True, packet).parts(1)
    kind, data = packed.parts(2)[:2]
    if _dotted(kind) != _ENVELOPED:
        raise ValueError("another kind of content")
    _, infos, content = data.parts(1)[0].parts(3)[:3]
    _, algorithm, sealed = content.parts(3)[:3]
    cipher, parameters = algorithm.parts(2)[:2]
    # Of a recipient that is told by another tag than SEQUENCE there is no RSA key.
    keys = [info.parts(4)[3].content for info in infos.parts() if info.tag == _SEQUENCE]
    whole = b"".join(part.content for part in sealed.parts()) if sealed.constructed else sealed.content
    return _Enveloped(keys, _dotted(cipher), parameters, whole)


def _tried(key: rsa.RSAPrivateKey, wrapped: bytes, size: int, mode: str, found: _Enveloped) -> bytes | None:
    try:
        # A key that it is not for gives some other bytes, or an error.
        content_key = key.decrypt(wrapped, padding.PKCS1v15())
        if len(content_key) != size:
            return None
        if mode == "gcm":
            return AESGCM(content_key).decrypt(_nonce(found.parameters), found.sealed, None)
        decryptor = Cipher(algorithms.AES(content_key), modes.CBC(found.parameters.content)).decryptor()
        remover = block_padding.PKCS7(128).unpadder()
        return remover.update(decryptor.update(found.sealed) + decryptor.finalize()) + remover.finalize()
    except (ValueError, TypeError, IndexError, InvalidTag):
        return None


def _nonce(parameters: _Element) -> bytes:
    """Return the nonce; the parameters may also stand as RFC 5084 has them."""
    found = parameters.parts(1)
    if not parameters.constructed:
        found = found[0].parts(2)
    if len(found) > 1 and found[1].content != bytes([_TAG]):
        raise ValueError("a tag of another length")
    return found[0].content


def _info(certificate: x509.Certificate, key: bytes) -> bytes:
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey):
        raise TypeError("no RSA certificate")
    serial = _made(_SEQUENCE, certificate.issuer.public_bytes() + core.Integer(certificate.serial_number).dump())
    algorithm = _made(_SEQUENCE, _oid(_RSA) + core.Null().dump())
    sealed = _made(_OCTETS, public.encrypt(key, padding.PKCS1v15()), constructed=0)
    return _made(_SEQUENCE, core.Integer(0).dump() + serial + algorithm + sealed)


def _made(tag: int, content: bytes, *, constructed: int = 1) -> bytes:
    made: bytes = parser.emit(0, constructed, tag, content)
    return made


def _oid(dotted: str) -> bytes:
    made: bytes = core.ObjectIdentifier(dotted).dump()
    return made


def _dotted(element: _Element) -> str:
    return str(core.ObjectIdentifier.load(parser.emit(0, 0, element.tag, element.content)).dotted)
