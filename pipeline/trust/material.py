"""Keys and certificates that a policy names, read."""

from pathlib import Path
from typing import Final

from transship.pipeline.errors import UsageError
from transship.pipeline.trust.requirements import Keys

MAX_MATERIAL: Final = 4 << 20
"""Bytes of one file of keys."""


def read(keys: Keys, what: str) -> tuple[bytes, ...]:
    """Return the bytes of each file, or what stands in the policy; ``what`` names the requirement in messages.

    Raises:
        UsageError: a file cannot be read, or is over `MAX_MATERIAL`: a policy whose keys are gone accepts nothing.
    """
    return keys.datas or tuple(read_file(path, what) for path in keys.paths)


def read_file(path: str, what: str) -> bytes:
    """Return the bytes of one file; raises as `read`."""
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(MAX_MATERIAL + 1)
    except OSError as error:
        raise UsageError(f"{what}: {path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_MATERIAL:
        raise UsageError(f"{what}: {path}: over the limit of {MAX_MATERIAL} bytes")
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
