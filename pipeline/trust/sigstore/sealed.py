"""A secret under a passphrase, as cosign and skopeo keep private keys: scrypt and NaCl's secretbox, in JSON.

Source: go-securesystemslib, ``encrypted``.
"""

import base64
import hashlib
import os
from typing import Final

from transship.pipeline.errors import ContentError, DeniedError, shown
from transship.pipeline.manifest.document import dump, load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.trust.extra import from_extra
from transship.pipeline.trust.sigstore.text import from_base64

_COSTS: Final = (1 << 15, 1 << 16, 1 << 17)
"""N of scrypt that these tools have ever written, with r 8 and p 1. Others are refused, as there: they eat memory."""
_COST: Final = 1 << 16
"""What is written, as they do now; those of before 2023 read 1 << 15 alone."""
_BLOCK_SIZE: Final = 8
_MEMORY: Final = 256 << 20
_SALT: Final = 32
_NONCE: Final = 24
_KEY: Final = 32
_MAX: Final = 64 << 10


def seal(secret: bytes, passphrase: bytes) -> bytes:
    """Return the JSON that holds ``secret`` under ``passphrase``.

    Raises:
        UsageError: PyNaCl is not installed.
    """
    with from_extra("a sigstore key"):
        from nacl.secret import SecretBox  # noqa: PLC0415

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    box = SecretBox(_key(passphrase, salt, _COST)).encrypt(secret, nonce).ciphertext
    return dump(
        {
            "kdf": {
                "name": "scrypt",
                "params": {"N": _COST, "r": _BLOCK_SIZE, "p": 1},
                "salt": base64.b64encode(salt).decode(),
            },
            "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
            "ciphertext": base64.b64encode(box).decode(),
        }
    )


def unseal(raw: bytes, passphrase: bytes, what: str) -> bytes:
    """Return the secret that `seal`, cosign or skopeo put into ``raw``.

    Raises:
        ContentError: it is malformed, or uses what none of them writes.
        DeniedError: the passphrase is wrong, or a byte was changed.
        UsageError: PyNaCl is not installed.
    """
    with from_extra("a sigstore key"):
        from nacl.exceptions import CryptoError  # noqa: PLC0415
        from nacl.secret import SecretBox  # noqa: PLC0415

    outer = Fields(load(raw, what, _MAX), what)
    kdf, cipher = outer.object("kdf"), outer.object("cipher")
    for field, expected in ((kdf, "scrypt"), (cipher, "nacl/secretbox")):
        if field.text("name") != expected:
            raise ContentError(f"{field.where}: {shown(field.text('name'))!r}, expected {expected!r}")
    params = kdf.object("params")
    cost = params.size("N")
    if cost not in _COSTS or params.size("r") != _BLOCK_SIZE or params.size("p") != 1:
        raise ContentError(f"{params.where}: not what cosign or skopeo write")
    salt, nonce, box = from_base64(kdf, "salt"), from_base64(cipher, "nonce"), from_base64(outer, "ciphertext")
    if len(salt) != _SALT or len(nonce) != _NONCE:
        raise ContentError(f"{what}: salt or nonce has another length than cosign's and skopeo's")
    try:
        return SecretBox(_key(passphrase, salt, cost)).decrypt(box, nonce)
    except CryptoError:
        # Not chained: frames of it hold the key.
        raise DeniedError(f"{what}: the passphrase is wrong, or the file is damaged") from None


def _key(passphrase: bytes, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(passphrase, salt=salt, n=cost, r=_BLOCK_SIZE, p=1, maxmem=_MEMORY, dklen=_KEY)
