"""Files of keys, read within bounds; of what stands in them no message says anything."""

import os
from typing import Final

from transship.pipeline.errors import UsageError, shown

PEM: Final = b"-----BEGIN "
_LIMIT: Final = 1 << 20


def read_key(path: str) -> bytes:
    """Return the bytes of a key file.

    Raises:
        UsageError: it cannot be read, is empty, or has over 1 MiB.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = read_all(handle, _LIMIT)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no file name"
        raise UsageError(f"key file {shown(path)}: {why}", advice="correct the path") from None
    if not raw:
        raise UsageError(f"key file {shown(path)}: empty")
    if len(raw) > _LIMIT:
        raise UsageError(f"key file {shown(path)}: over {_LIMIT} bytes", advice="no key is as large")
    return raw


def read_all(handle: int, limit: int) -> bytes:
    """Return what an open file holds from here on, at most one byte more than ``limit``; raises `OSError`."""
    raw = b""
    while len(raw) <= limit and (data := os.read(handle, limit + 1 - len(raw))):
        raw += data
    return raw
