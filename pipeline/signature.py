"""Signatures of images as values, and the files that hold them; nothing here verifies anything.

Source of the file form: what container tools write to ``dir:`` folders and lookaside stores.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.document import load

MAX_SIGNATURE: Final = 4 << 20
"""Bytes of one signature's file."""
MAX_SIGNATURES: Final = 1024
"""Signatures of one manifest that are read; who has more is refused."""
MAX_TOGETHER: Final = 64 << 20
"""Bytes of all signatures of one image together, which are in memory at once; who has more is refused."""
_OPENPGP: Final = frozenset(b"\x88\x89\x8a\x8b\x90\x91\x92\xa0\xa1\xa2\xa3\xc2\xc4\xc8\x3d")
"""How an OpenPGP message that is a signature may begin: signature, one-pass signature or compressed data."""
_SIMPLE: Final = b"simple-signing"
_SIGSTORE: Final = b"sigstore-json"
_GO_ESCAPES: Final = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


class SimpleSignature(NamedTuple):
    """An OpenPGP message that holds a payload (`trust.payload`) and its signature; unverified."""

    raw: bytes


class SigstoreSignature(NamedTuple):
    """A payload and what vouches for it: ``annotations`` holds signature, certificate, chain, bundle; unverified.

    The keys of ``annotations`` are cosign's.
    """

    media_type: str
    payload: bytes
    annotations: Mapping[str, str]


Signature: TypeAlias = SimpleSignature | SigstoreSignature


def refuse_more(size: int, what: str) -> None:
    """Raise `ContentError` where signatures of ``size`` bytes together are too many; ``what`` names the place."""
    if size > MAX_TOGETHER:
        raise ContentError(f"{what}: over {MAX_TOGETHER >> 20} MiB of signatures of one image")


def to_file(signature: Signature) -> bytes:
    """Return the bytes of a file that holds ``signature``, as container tools write them."""
    if isinstance(signature, SimpleSignature):
        return signature.raw
    import json  # noqa: PLC0415 - few images have one

    text = json.dumps(
        {
            "mimeType": signature.media_type,
            "payload": base64.b64encode(signature.payload).decode(),
            "annotations": dict(sorted(signature.annotations.items())),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    for char, escape in _GO_ESCAPES.items():
        text = text.replace(char, escape)
    return b"\0" + _SIGSTORE + b"\n" + text.encode()


def from_file(raw: bytes, what: str) -> Signature:
    """Return the signature that a file holds; ``what`` names it in messages.

    Raises:
        ContentError: no form that is known, or over `MAX_SIGNATURE` bytes.
    """
    if len(raw) > MAX_SIGNATURE:
        raise ContentError(f"{what}: {len(raw)} bytes, over the limit of {MAX_SIGNATURE}")
    if not raw:
        raise ContentError(f"{what}: the signature is empty")
    if raw[0] in _OPENPGP:
        return SimpleSignature(raw)
    if raw[0]:
        raise ContentError(f"{what}: no signature of a known form, begins with byte 0x{raw[0]:02x}")
    name, newline, rest = raw[1:].partition(b"\n")
    if newline and name == _SIMPLE:
        return SimpleSignature(rest)
    if newline and name == _SIGSTORE:
        return _sigstore(rest, what)
    raise ContentError(f"{what}: unknown form of signature {shown(name[:40].decode('latin-1'))!r}")


def _sigstore(raw: bytes, what: str) -> SigstoreSignature:
    said = load(raw, what, MAX_SIGNATURE)
    media_type, payload, annotations = (said.get(key) for key in ("mimeType", "payload", "annotations"))
    if not isinstance(media_type, str) or not isinstance(payload, str):
        raise ContentError(f"{what}: mimeType or payload is missing or no string")
    if annotations is None:
        annotations = {}
    if not isinstance(annotations, dict):
        raise ContentError(f"{what}: annotations are no object")
    texts = {key: value for key, value in annotations.items() if isinstance(value, str)}
    if len(texts) != len(annotations):
        raise ContentError(f"{what}: an annotation is no string")
    try:
        return SigstoreSignature(media_type, base64.b64decode(payload, validate=True), texts)
    except binascii.Error as error:
        raise ContentError(f"{what}: the payload is not base64: {error}") from error
