"""Entries of a transparency log (Rekor) as signatures carry them: a bundle with the log's signature, the SET.

Sources: Rekor's hashedrekord 0.0.1; cosign's bundle; RFC 8785 for the bytes that the log signs.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.errors import ContentError, RefusedError, shown
from transship.pipeline.manifest.document import Object, dump, load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.trust.sigstore import pem
from transship.pipeline.trust.sigstore.text import decoded, from_base64

if TYPE_CHECKING:
    from transship.pipeline.trust.sigstore.keys import PublicKey

_MAX: Final = 1 << 20
_BUNDLE: Final = ("Payload", "SignedEntryTimestamp")
_PAYLOAD: Final = ("body", "integratedTime", "logID", "logIndex")
_EXACT: Final = 1 << 53
"""Below it a number means the same to all readers of JSON (RFC 8785)."""


class Recorded(NamedTuple):
    """What a log must have recorded: a signature in base64, of a payload, by a key or a certificate in PEM."""

    signer: bytes
    signature: str
    payload: bytes


def recorded_at(keys: Sequence["PublicKey"], bundle: str, wanted: Recorded) -> int:
    """Return when one of the logs with these ``keys`` recorded ``wanted``, in seconds since 1970.

    Raises:
        RefusedError: the bundle is malformed, signed by none of the keys, or that of another signature, payload,
            key or certificate.
    """
    try:
        said = _exactly(load(bundle.encode(), "Rekor bundle", _MAX), "Rekor bundle", _BUNDLE)
        payload = said.object("Payload")
        _exactly(payload.document, "Rekor bundle: Payload", _PAYLOAD)
        numbers = {key: _number(payload, key) for key in ("integratedTime", "logIndex")}
        # Made anew from the values that were read, so that the log's signature holds for just these.
        signed = dump(
            {
                "body": payload.text("body"),
                "integratedTime": numbers["integratedTime"],
                "logID": payload.text("logID"),
                "logIndex": numbers["logIndex"],
            }
        )
        _check_signed(keys, from_base64(said, "SignedEntryTimestamp"), signed)
        _check_body(from_base64(payload, "body"), wanted)
    except ContentError as error:
        raise RefusedError(error.message) from error
    return numbers["integratedTime"]


def proposed(wanted: Recorded) -> Object:
    """Return the entry that asks a log to record ``wanted``.

    Raises:
        ContentError: its signature is not base64.
    """
    decoded(wanted.signature, "signature")
    return {
        "kind": "hashedrekord",
        "apiVersion": "0.0.1",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(wanted.payload).hexdigest()}},
            "signature": {
                "content": wanted.signature,
                "publicKey": {"content": base64.b64encode(wanted.signer).decode()},
            },
        },
    }


def bundle_of(answer: bytes, what: str, wanted: Recorded) -> str:
    """Return the bundle of the one entry that a log answered when it was asked to record ``wanted``.

    ``what`` names the log. Its signature is not checked: who signs need not have the log's key.

    Raises:
        ContentError: it is no answer of one, or not of one entry.
        RefusedError: it is the entry of something else.
    """
    entries = Fields(load(answer, what, _MAX), what)
    if len(entries.document) != 1:
        raise ContentError(f"{what}: answers {len(entries.document)} entries, expected one")
    entry = entries.object(next(iter(entries.document)))
    stamp = from_base64(entry.object("verification"), "signedEntryTimestamp")
    _check_body(from_base64(entry, "body"), wanted)
    payload: Object = {
        "body": entry.text("body"),
        "integratedTime": _number(entry, "integratedTime"),
        "logIndex": _number(entry, "logIndex"),
        "logID": entry.text("logID"),
    }
    return dump({"Payload": payload, "SignedEntryTimestamp": base64.b64encode(stamp).decode()}).decode()


def _number(fields: Fields, key: str) -> int:
    value = fields.size(key)
    if value >= _EXACT:
        raise ContentError(f"{fields.where}: {key} {value} is too large")
    return value


def _check_signed(keys: Sequence["PublicKey"], stamp: bytes, signed: bytes) -> None:
    from transship.pipeline.trust.sigstore.keys import signed_by  # noqa: PLC0415

    if not any(signed_by(key, stamp, signed) for key in keys):
        raise RefusedError("Rekor bundle: signed by none of the logs that are trusted")


def _check_body(body: bytes, wanted: Recorded) -> None:
    """Refuse an entry that is not of ``wanted``: any entry of the log would do else."""
    what = "Rekor bundle: body"
    entry = Fields(load(body, what, _MAX), what)
    kind, version = entry.text("kind"), entry.text("apiVersion")
    if (kind, version) != ("hashedrekord", "0.0.1"):
        raise RefusedError(f"{what}: {shown(kind)} {shown(version)}, expected hashedrekord 0.0.1")
    spec = entry.object("spec")
    signature, digest = spec.object("signature"), spec.object("data").object("hash")
    signer = from_base64(signature.object("publicKey"), "content")
    if pem.block(signer, f"{what}: publicKey").raw != pem.block(wanted.signer, "the signer's key").raw:
        raise RefusedError("Rekor bundle: it is of another key or certificate")
    if from_base64(signature, "content") != decoded(wanted.signature, "signature"):
        raise RefusedError("Rekor bundle: it is of another signature")
    if digest.text("algorithm") != "sha256":
        raise RefusedError(f"{what}: hash {shown(digest.text('algorithm'))!r}, expected sha256")
    if digest.text("value").lower() != hashlib.sha256(wanted.payload).hexdigest():
        raise RefusedError("Rekor bundle: it is of another payload")


def _exactly(document: Object, where: str, keys: Sequence[str]) -> Fields:
    for key in document:
        if key not in keys:
            raise ContentError(f"{where}: unknown key {shown(key)!r}")
    for key in keys:
        if key not in document:
            raise ContentError(f"{where}: key {key!r} is missing")
    return Fields(document, where)
