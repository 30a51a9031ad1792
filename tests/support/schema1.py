"""Docker v2s1 images as Docker 1.10 pushed them, signed or not. Nothing here is the product's code but `Digest`."""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from support.images import Layer, make_layer
from transship.pipeline.digest import Digest

EMPTY = Layer(bytes(1024), gzip.compress(bytes(1024), 9, mtime=0))
CREATED = "2015-10-31T22:22:54.690851950Z"
_KEY = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())


@dataclass(frozen=True)
class Schema1Image:
    """A manifest, its payload's digest, and its layers base first (`EMPTY` where nothing was written)."""

    raw: bytes = field(repr=False)
    digest: Digest
    layers: tuple[Layer, ...] = field(repr=False)


def entries(*commands: str, empty: Iterable[int] = ()) -> list[dict[str, object]]:
    """Return a history, base first, of one command each; the top entry also has the image's config."""
    made: list[dict[str, object]] = []
    for number, command in enumerate(commands):
        entry: dict[str, object] = {
            "id": Digest.of(f"v1 {number} {command}".encode()).hex,
            "created": CREATED,
            "container_config": {"Cmd": ["/bin/sh", "-c", command]},
        }
        if made:
            entry["parent"] = made[-1]["id"]
        if number in empty:
            entry["throwaway"] = True
        made.append(entry)
    made[-1] |= {
        "architecture": "amd64",
        "os": "linux",
        "author": "A <a@b>",
        "docker_version": "1.10.3",
        "container": "c" * 64,
        "container_config": {"Cmd": ["/bin/sh", "-c", commands[-1]], "Image": "base", "Volumes": None},
        "config": {
            "Cmd": ["/bin/sh"],
            "Env": ["PATH=/bin"],
            "Labels": {"a<b>&": "c"},
            "Healthcheck": {"Test": ["NONE"]},
        },
        "Size": 5,
    }
    return made


def make_schema1(
    history: list[dict[str, object]] | list[str], *, signed: bool = False, seed: str = "v1", **top: object
) -> Schema1Image:
    """Return the image of ``history``, base first: entries, or their very text; ``top`` is of the manifest."""
    texts = [entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in history]
    layers = tuple(
        EMPTY if json.loads(text).get("throwaway") else make_layer(f"{seed}-{n}") for n, text in enumerate(texts)
    )
    document: dict[str, object] = {
        "schemaVersion": 1,
        "name": "team/old",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": str(layer.digest)} for layer in reversed(layers)],
        "history": [{"v1Compatibility": text} for text in reversed(texts)],
        **top,
    }
    payload = json.dumps(document, indent=3).encode()
    return Schema1Image(_signed(payload) if signed else payload, Digest.of(payload), layers)


def write_folder(path: Path, image: Schema1Image) -> None:
    """Write a ``dir:`` of it."""
    path.mkdir()
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    (path / "manifest.json").write_bytes(image.raw)
    for layer in image.layers:
        (path / layer.digest.hex).write_bytes(layer.packed)


def _signed(payload: bytes) -> bytes:
    """Return ``payload`` with a JSON web signature in it, as libtrust puts one there."""
    body, tail = payload[: payload.rindex(b"\n}")], payload[payload.rindex(b"\n}") :]
    protected = _text(json.dumps({"formatLength": len(body), "formatTail": _text(tail), "time": CREATED}).encode())
    numbers = _KEY.public_key().public_numbers()
    jwk = {"crv": "P-256", "kty": "EC", "x": _number(numbers.x), "y": _number(numbers.y)}
    r, s = decode_dss_signature(_KEY.sign(f"{protected}.{_text(payload)}".encode(), ec.ECDSA(SHA256())))
    signature: Mapping[str, object] = {
        "header": {"jwk": jwk, "alg": "ES256"},
        "signature": _text(r.to_bytes(32, "big") + s.to_bytes(32, "big")),
        "protected": protected,
    }
    return body + b',\n   "signatures": ' + json.dumps([signature]).encode() + b"\n}"


def _number(value: int) -> str:
    return _text(value.to_bytes(32, "big"))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
