"""What a signature of an image says: which digest, under which name. A strict parser and a writer; no cryptography.

A payload has exactly the known keys, each once and spelt as they are, and nothing after it: what one reader takes
for another value would be signed as something else. Sources: containers-signature(5), and cosign's signature spec.
"""

from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.document import Json, Object, dump, load

SIMPLE: Final = "atomic container signature"
"""The type of payloads that OpenPGP signs."""
SIGSTORE: Final = "cosign container image signature"
MAX_PAYLOAD: Final = 64 << 10
"""Bytes; a payload has some hundred."""


class Payload(NamedTuple):
    """A digest of a manifest and the name it is signed under, as the signer spelt it.

    ``creator`` is a program, ``timestamp`` seconds since 1970; both are only words of the signer's.
    """

    digest: Digest
    reference: str
    creator: str | None = None
    timestamp: int | None = None


def write(payload: Payload, kind: str) -> bytes:
    """Return the bytes to sign; ``kind`` is `SIMPLE` or `SIGSTORE`."""
    optional: Object = {}
    if payload.creator is not None:
        optional["creator"] = payload.creator
    if payload.timestamp is not None:
        optional["timestamp"] = payload.timestamp
    critical: Object = {
        "identity": {"docker-reference": payload.reference},
        "image": {"docker-manifest-digest": str(payload.digest)},
        "type": kind,
    }
    return dump({"critical": critical, "optional": optional})


def parse(raw: bytes, kind: str, what: str) -> Payload:
    """Return what a payload of type ``kind`` says; ``what`` names it in messages.

    Raises:
        ContentError: an unknown, missing, doubled or otherwise spelt key, another type, a malformed value,
            trailing bytes.
    """
    said = load(raw, what, MAX_PAYLOAD)
    _exactly(said, ("critical", "optional"), what)
    critical = _object(said["critical"], "critical", what)
    _exactly(critical, ("type", "image", "identity"), what)
    if critical["type"] != kind:
        raise ContentError(f"{what}: type {shown(str(critical['type']))!r}, expected {kind!r}")
    image = _object(critical["image"], "critical.image", what)
    _exactly(image, ("docker-manifest-digest",), what)
    identity = _object(critical["identity"], "critical.identity", what)
    _exactly(identity, ("docker-reference",), what)
    digest = _text(image["docker-manifest-digest"], "docker-manifest-digest", what)
    reference = _text(identity["docker-reference"], "docker-reference", what)
    creator, timestamp = _optional(said["optional"], kind, what)
    try:
        return Payload(Digest.parse(digest), reference, creator, timestamp)
    except ContentError as error:
        raise ContentError(f"{what}: {error.message}") from error


def _optional(value: Json, kind: str, what: str) -> tuple[str | None, int | None]:
    if value is None and kind == SIGSTORE:
        return None, None  # As cosign writes it.
    said = _object(value, "optional", what)
    creator, timestamp = said.get("creator"), said.get("timestamp")
    if "creator" in said:
        creator = _text(creator, "creator", what)
    if "timestamp" in said:
        whole = isinstance(timestamp, int) or (isinstance(timestamp, float) and timestamp.is_integer())
        if isinstance(timestamp, bool) or not whole:
            raise ContentError(f"{what}: timestamp is no whole number")
    return (
        creator if isinstance(creator, str) else None,
        int(timestamp) if isinstance(timestamp, int | float) else None,
    )


def _exactly(said: Object, keys: tuple[str, ...], what: str) -> None:
    for key in said:
        if key not in keys:
            raise ContentError(f"{what}: unknown key {shown(key)!r}", advice=f"expected {', '.join(keys)}")
    for key in keys:
        if key not in said:
            raise ContentError(f"{what}: key {key!r} is missing")


def _object(value: Json, key: str, what: str) -> Object:
    if not isinstance(value, dict):
        raise ContentError(f"{what}: {key} is no object")
    return value


def _text(value: Json, key: str, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ContentError(f"{what}: {key} is no string, or empty")
    return value
