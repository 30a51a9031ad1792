"""Keys wrapped as JSON Web Encryption (RFC 7516), with the algorithms that ocicrypt takes and no others.

jwcrypto authenticates the header's bytes as they came. Source: containers/ocicrypt keywrap/jwe.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

from jwcrypto import jwe, jwk
from jwcrypto.common import JWException

from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.manifest.document import Json, Object, dump, load
from transship.pipeline.trust.encryption.annotations import MAX_OPTIONS, MAX_PACKET

_RSA: Final = ("RSA-OAEP", "RSA-OAEP-256")
_EC: Final = ("ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW")
_CONTENT: Final = ("A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM")
_ALLOWED: Final = [*_RSA, *_EC, *_CONTENT]
_DEFAULT: Final = {"RSA": "RSA-OAEP", "EC": "ECDH-ES+A256KW"}
_MAX_RECIPIENTS: Final = 64
"""Each costs a try with each private key."""
_HEADER: Final[dict[str, Json]] = {"enc": "A256GCM"}


def algorithm(key: jwk.JWK, what: str) -> str:
    """Return the algorithm by which a layer's key is wrapped for ``key``; a JWK may name one itself.

    Raises:
        UsageError: none of those that are known fits; ``what`` names the key.
    """
    kind = str(key.get("kty"))
    said = key.get("alg") or _DEFAULT.get(kind, "")
    if said not in {"RSA": _RSA, "EC": _EC}.get(kind, ()):
        raise UsageError(
            f"{what}: a key of type {kind} with the algorithm {said or 'none'!s} takes no layer's key by JWE",
            advice=f"use RSA or EC, with {', '.join(_RSA + _EC)}",
        )
    return str(said)


def wrap(keys: Sequence[tuple[jwk.JWK, str]], plain: bytes) -> bytes:
    """Return ``plain`` encrypted for each key, by the algorithm beside it."""
    if len(keys) == 1:
        [(key, name)] = keys
        made = jwe.JWE(plain, protected=_json({"alg": name, **_HEADER}), algs=_ALLOWED)
        made.add_recipient(key)
    else:
        made = jwe.JWE(plain, protected=_json(_HEADER), algs=_ALLOWED)
        for key, name in keys:
            made.add_recipient(key, header=_json({"alg": name}))
    return str(made.serialize()).encode()


def unwrap(key: jwk.JWK, packet: bytes, what: str) -> bytes | None:
    """Return what ``packet`` holds for ``key``, None where it is not for that key.

    Raises:
        ContentError: it is no JWE in JSON, has too many recipients, or is compressed: that is never so in
            ocicrypt's, and a small packet could be a large one; ``what`` names the layer.
    """
    where = f"{what}: its key for jwe"
    document = load(packet, where, MAX_PACKET)
    listed = document.get("recipients", [])
    if not isinstance(listed, list) or len(listed) > _MAX_RECIPIENTS:
        raise ContentError(f"{where}: recipients is no list of at most {_MAX_RECIPIENTS}")
    heads: list[Json] = [one.get("header") for one in listed if isinstance(one, dict)]
    for header in (_protected(document, where), document.get("unprotected"), document.get("header"), *heads):
        if isinstance(header, dict) and "zip" in header:
            raise ContentError(f"{where}: it is compressed, which no layer's key is")
    token: Any = jwe.JWE(algs=_ALLOWED)
    try:
        token.deserialize(packet.decode())
        token.decrypt(key, max_plaintext=MAX_OPTIONS)
    except (JWException, ValueError):
        return None
    plain: bytes = token.plaintext
    return plain


def _json(header: dict[str, Json]) -> str:
    return dump(header).decode()


def _protected(document: Object, where: str) -> Object:
    text = document.get("protected", "")
    if not isinstance(text, str):
        raise ContentError(f"{where}: protected is no string")
    if not text:
        return {}
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError(f"{where}: protected is not base64") from error
    return load(raw, f"{where}: protected", MAX_OPTIONS)
