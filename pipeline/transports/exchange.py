"""Putting a finished folder in the place of another, at once where the kernel can."""

import errno
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, Protocol

from transship.pipeline.durable import scratch_beside

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_CANNOT: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


class _Rename(Protocol):
    def __call__(self, old_at: int, old: bytes, new_at: int, new: bytes, flags: int, /) -> int: ...


def exchange(made: Path, path: Path) -> None:
    """Rename the folder ``made`` to ``path``; what was there is at ``made`` then.

    Where the kernel cannot swap, ``path`` is absent for a moment, and back as it was on failure.

    Raises:
        OSError: the disk refused; both are as they were.
    """
    if not os.path.lexists(path):
        os.rename(made, path)
        return
    if _swapped(made, path):
        return
    aside = scratch_beside(path)
    os.rename(path, aside)
    try:
        os.rename(made, path)
    except BaseException:
        os.rename(aside, path)
        raise
    os.rename(aside, made)


def _swapped(made: Path, path: Path) -> bool:
    import ctypes  # noqa: PLC0415 - few replace a folder

    rename = _renameat2()
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(made), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(path))


@cache
def _renameat2() -> _Rename | None:
    """Return renameat2(2), None where the C library has none (glibc before 2.28, other systems)."""
    import ctypes  # noqa: PLC0415

    with suppress(OSError, AttributeError):
        function = ctypes.CDLL(None, use_errno=True).renameat2
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
        found: _Rename = function
        return found
    return None
