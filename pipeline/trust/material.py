"""Files of keys, certificates, passphrases and signatures, read within bounds; no message says what stands in them."""

import os
from typing import Final

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.trust.requirements import Keys

MAX_MATERIAL: Final = 4 << 20
"""Bytes of one file of keys."""
PEM: Final = b"-----BEGIN "
"""How a key or a certificate in PEM begins."""


def read(keys: Keys, what: str) -> tuple[bytes, ...]:
    """Return the bytes of each file, or what stands in the policy; ``what`` names the requirement in messages.

    Raises:
        UsageError: a file cannot be read, or is over `MAX_MATERIAL`: a policy whose keys are gone accepts nothing.
    """
    return keys.datas or tuple(read_file(path, what) for path in keys.paths)


def read_file(path: str, what: str) -> bytes:
    """Return the bytes of one file; raises as `read`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = read_all(handle, MAX_MATERIAL)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file name"
        raise UsageError(f"{what}: {shown(path)}: cannot be read: {why}") from error
    if len(raw) > MAX_MATERIAL:
        raise UsageError(f"{what}: {shown(path)}: over the limit of {MAX_MATERIAL} bytes")
    return raw


def read_all(handle: int, limit: int) -> bytes:
    """Return what an open file holds from here on, at most one byte more than ``limit``; raises `OSError`."""
    raw = b""
    while len(raw) <= limit and (data := os.read(handle, limit + 1 - len(raw))):
        raw += data
    return raw


def read_key(path: str) -> bytes:
    """Return the bytes of a key file that an option names; raises as `read`, and where it is empty."""
    raw = read_file(path, "key file")
    if not raw:
        raise UsageError(f"key file: {shown(path)}: empty")
    return raw


def passphrase(path: str, what: str) -> bytes:
    """Return the first line of a passphrase file, without its end: as gpg and skopeo read one; raises as `read`."""
    return read_file(path, what).partition(b"\n")[0]


def first_line(path: str, what: str) -> str:
    """Return `passphrase` as text; raises as `read`, and where it is not UTF-8."""
    try:
        return passphrase(path, what).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{what}: {path}: the passphrase is not UTF-8") from None
