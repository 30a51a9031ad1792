"""The signature that a v2s1 manifest must bear, and that vouches for nothing: anybody has its key.

Registries and old clients check that there is one and that it fits. The same payload gets the same signature (RFC 6979)
wherever it is made. Sources: libtrust's "pretty" JSON web signature; FIPS 186-4 and SEC 2 for ECDSA on P-256.
"""

import base64
import hashlib
import hmac
import json
from functools import lru_cache
from typing import Final, TypeAlias

_Point: TypeAlias = "tuple[int, int] | None"

_P: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G: Final = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_KEY: Final = int.from_bytes(hashlib.sha256(b"transship signs for nobody").digest()) % _N


def signed(payload: bytes, time: str) -> bytes:
    """Return ``payload``, a compact JSON object, with a signature as its last member; ``time`` is what that says."""
    body, tail = payload[:-1], payload[-1:]
    said = {"formatLength": len(body), "formatTail": _text(tail), "time": time}
    protected = _text(json.dumps(said, separators=(",", ":")).encode())
    x, y = _public()
    jwk = {"crv": "P-256", "kty": "EC", "x": _number(x), "y": _number(y)}
    made = {
        "header": {"jwk": jwk, "alg": "ES256"},
        "signature": _sign(f"{protected}.{_text(payload)}".encode()),
        "protected": protected,
    }
    return body + b',"signatures":[' + json.dumps(made, separators=(",", ":")).encode() + b"]" + tail


def _sign(message: bytes) -> str:
    digest = hashlib.sha256(message).digest()
    number = int.from_bytes(digest)
    nonce = _nonce(digest)
    point = _times(nonce, _G)
    r = point[0] % _N if point else 0
    s = pow(nonce, -1, _N) * (number + r * _KEY) % _N
    return _text(r.to_bytes(32) + s.to_bytes(32))


def _nonce(digest: bytes) -> int:
    """Return the k of RFC 6979, section 3.2."""
    seed = _KEY.to_bytes(32) + (int.from_bytes(digest) % _N).to_bytes(32)
    value, key = b"\x01" * 32, bytes(32)
    for mark in (b"\x00", b"\x01"):
        key = hmac.digest(key, value + mark + seed, "sha256")
        value = hmac.digest(key, value, "sha256")
    while True:
        value = hmac.digest(key, value, "sha256")
        found = int.from_bytes(value)
        if 0 < found < _N:
            return found
        key = hmac.digest(key, value + b"\x00", "sha256")
        value = hmac.digest(key, value, "sha256")


@lru_cache(maxsize=1)
def _public() -> tuple[int, int]:
    found = _times(_KEY, _G)
    return found or _G


def _times(factor: int, point: _Point) -> _Point:
    total: _Point = None
    while factor:
        if factor & 1:
            total = _plus(total, point)
        point = _plus(point, point)
        factor >>= 1
    return total


def _plus(one: _Point, other: _Point) -> _Point:
    if one is None or other is None:
        return one or other
    (x, y), (u, v) = one, other
    if x == u and (y + v) % _P == 0:
        return None
    slope = (3 * x * x - 3) * pow(2 * y, -1, _P) if one == other else (v - y) * pow(u - x, -1, _P)
    top = (slope * slope - x - u) % _P
    return top, (slope * (x - top) - y) % _P


def _number(value: int) -> str:
    return _text(value.to_bytes(32))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
