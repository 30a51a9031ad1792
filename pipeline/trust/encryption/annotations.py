"""What the descriptor of an encrypted layer says of it: for whom its key is wrapped, and how the bytes are encrypted.

Untrusted until a key opens it, and read within bounds. Source: containers/ocicrypt encryption.go, blockcipher.go.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.document import Json, Object, dump, load

KEYS: Final = "org.opencontainers.image.enc.keys."
PUBLIC: Final = "org.opencontainers.image.enc.pubopts"
CIPHER: Final = "AES_256_CTR_HMAC_SHA256"
PROTOCOLS: Final = ("jwe", "pkcs7", "pgp")
KEY_SIZE: Final = 32
NONCE_SIZE: Final = 16
MAC_SIZE: Final = 32
MAX_PACKET: Final = 256 << 10
"""Bytes of one wrapped key, for all recipients of a protocol."""
MAX_PACKETS: Final = 16
MAX_OPTIONS: Final = 16 << 10
"""Bytes of the document that is wrapped: a key, a nonce and a digest."""


class Secret(NamedTuple):
    """What opens a layer, once unwrapped: key and nonce of AES-256-CTR; never shown."""

    key: bytes
    nonce: bytes

    def __repr__(self) -> str:
        return "Secret(...)"


class Public(NamedTuple):
    """What is said openly: the HMAC-SHA256 of the encrypted bytes, and a nonce where it stands there, else empty."""

    mac: bytes
    nonce: bytes


def wrapped_keys(annotations: Mapping[str, str], what: str) -> dict[str, tuple[bytes, ...]]:
    """Return the wrapped keys of a layer by protocol, also of those that nothing here can unwrap.

    Raises:
        ContentError: one is no base64, or there are too many, or one is too large; ``what`` names the layer.
    """
    return {
        name.removeprefix(KEYS): _packets(text, f"{what}: annotation {shown(name)}")
        for name, text in annotations.items()
        if name.startswith(KEYS) and text
    }


def read_public(annotations: Mapping[str, str], what: str) -> Public:
    """Return the public options of a layer.

    Raises:
        ContentError: they are missing or malformed, or of another cipher; ``what`` names the layer.
    """
    where = f"{what}: annotation {PUBLIC}"
    text = annotations.get(PUBLIC)
    if not text:
        raise ContentError(f"{where} is missing", advice="without it nobody can check what is decrypted")
    document = load(_decoded(text, where, MAX_OPTIONS), where, MAX_OPTIONS)
    cipher = document.get("cipher")
    if cipher != CIPHER:
        raise ContentError(f"{where}: cipher {shown(str(cipher))!r} is not known", advice=f"known is {CIPHER}")
    mac = _bytes(document, "hmac", where)
    if len(mac) != MAC_SIZE:
        raise ContentError(f"{where}: hmac has {len(mac)} bytes, not {MAC_SIZE}")
    return Public(mac, _nonce(document, where))


def read_secret(raw: bytes, public: Public, what: str) -> Secret:
    """Return what the unwrapped document ``raw`` says; messages quote nothing of it.

    Raises:
        ContentError: it is malformed, or its key or nonce has a wrong length; ``what`` names the layer.
    """
    where = f"{what}: the key that was unwrapped"
    try:
        document = load(raw, where, MAX_OPTIONS)
        key = _bytes(document, "symkey", where)
        nonce = public.nonce or _nonce(document, where)
    except ContentError:
        document, key, nonce = {}, b"", b""
    if len(key) != KEY_SIZE or len(nonce) != NONCE_SIZE:
        # Nothing of it is quoted, nor kept as a cause: it may be most of a key.
        raise ContentError(f"{where} is no key of {CIPHER}") from None
    return Secret(key, nonce)


def secret_document(secret: Secret, plain: Digest) -> bytes:
    """Return the bytes that are wrapped for the recipients; ``plain`` is the layer before it was encrypted."""
    return dump({"symkey": _text(secret.key), "digest": str(plain), "cipheroptions": {"nonce": _text(secret.nonce)}})


def made_annotations(packets: Mapping[str, bytes], mac: bytes) -> dict[str, str]:
    """Return the annotations of a layer whose key is wrapped in ``packets``, by protocol."""
    public = dump({"cipher": CIPHER, "hmac": _text(mac), "cipheroptions": {}})
    return {f"{KEYS}{protocol}": _text(packet) for protocol, packet in packets.items()} | {PUBLIC: _text(public)}


def _packets(text: str, where: str) -> tuple[bytes, ...]:
    parts = text.split(",", MAX_PACKETS)
    if len(parts) > MAX_PACKETS:
        raise ContentError(f"{where}: over {MAX_PACKETS} wrapped keys")
    return tuple(_decoded(part, where, MAX_PACKET) for part in parts)


def _decoded(text: str, where: str, limit: int) -> bytes:
    if len(text) > limit // 3 * 4 + 4:
        raise ContentError(f"{where}: over the limit of {limit} bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError(f"{where}: not base64") from error


def _nonce(document: Object, where: str) -> bytes:
    options = document.get("cipheroptions")
    return _bytes(options, "nonce", where) if isinstance(options, dict) and "nonce" in options else b""


def _bytes(document: Object, key: str, where: str) -> bytes:
    value: Json = document.get(key)
    if not isinstance(value, str):
        raise ContentError(f"{where}: {key} is missing or no string")
    return _decoded(value, f"{where}: {key}", MAX_OPTIONS)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
