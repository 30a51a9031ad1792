"""Passphrases of keys, from files. A passphrase is never part of an argument, a message or a checkpoint."""

from typing import Final

from transship.pipeline.errors import UsageError, shown

_MOST: Final = 64 << 10


def read_passphrase(path: str) -> bytes:
    """Return the first line of a file, without its end: as gpg and skopeo read one.

    Raises:
        UsageError: it cannot be read, or the line is over 64 KiB.
    """
    try:
        with open(path, "rb") as file:
            raw = file.readline(_MOST + 1)
    except OSError as error:
        raise UsageError(f"passphrase file {shown(path)}: cannot be read: {error.strerror}") from error
    if len(raw) > _MOST:
        raise UsageError(f"passphrase file {shown(path)}: its first line is over {_MOST} bytes")
    return raw.removesuffix(b"\n")
