"""Durable writes to a file system: a name appears only when all below it is on the disk.

Refuses to leave a half-written file under a final name, whatever stops the process: what is written has a scratch name
first, claimed by a lock, and what killed processes left of such is swept.
"""

import errno
import fcntl
import math
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from transship.pipeline.disk import (
    at_disk,
    copy_range,
    disk_error,
    has_file,
    remove_file,
    remove_folder,
    remove_tree,
    sync_directory,
    write_all,
)

_PARTIAL: Final = os.O_CLOEXEC | os.O_NOFOLLOW
_SCRATCH_NAME: Final = 180
_GRACE_SECONDS: Final = 0.5
"""What changed later than this is let be: its writer may be about to claim it, or to rename it."""
_SCRATCH: Final = re.compile(r"\..+\.[0-9a-f]{12}\.partial")
_SCRATCH_FOLDER: Final = re.compile(r"\.transship-[0-9a-f]{12}")
# What a file system without hard links, or another file system, answers to link(2).
_CANNOT_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES})


@contextmanager
def scratch_folder(near: Path) -> Iterator[Path]:
    """Make a hidden folder in ``near`` for as long as this lasts; those of killed processes are removed first.

    Raises:
        TransportError: the disk refused.
    """
    _sweep(near, _SCRATCH_FOLDER)
    scratch = near / f".transship-{os.urandom(6).hex()}"
    with at_disk(scratch):
        scratch.mkdir(mode=0o700)
        handle = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        claim(handle)
        yield scratch
    finally:
        os.close(handle)
        remove_folder(scratch)


def scratch_beside(path: Path) -> Path:
    """Return a fresh hidden name in the folder of ``path``, for what is to be renamed to it."""
    return Path(_scratch_beside(path))


def _scratch_beside(path: Path) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:_SCRATCH_NAME]}.{os.urandom(6).hex()}.partial")


def claim(handle: int) -> None:
    """Lock a scratch file or folder for as long as ``handle`` is open, so that `sweep` lets it be."""
    with suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_locked(path: str) -> int | None:
    """Open a file that is renamed once it is whole, making it if need be, and lock it; raises `OSError`.

    Returns None where another has it. One that is read-only already, as its writer was killed
    just before the rename, becomes writable again.
    """
    with suppress(PermissionError):
        return _locked(os.open(path, _PARTIAL | os.O_RDWR | os.O_CREAT, 0o600), path)
    with suppress(FileNotFoundError):
        handle = _locked(os.open(path, _PARTIAL | os.O_RDONLY), path)
        if handle is None:
            return None
        try:
            os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
    return _locked(os.open(path, _PARTIAL | os.O_RDWR | os.O_CREAT, 0o600), path)


def _locked(handle: int, path: str) -> int | None:
    """Return ``handle`` once it is locked and still the file at ``path``, else close it."""
    mine = False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been renamed between open and lock.
        mine = os.fstat(handle).st_ino == os.stat(path).st_ino
    except (BlockingIOError, FileNotFoundError):
        pass
    finally:
        if not mine:
            os.close(handle)
    return handle if mine else None


def sweep(path: Path) -> None:
    """Remove what writers of ``path`` that were killed left beside it, never what is claimed.

    Waits half a second where something unclaimed is so young that its writer may be about to claim it.
    """
    _sweep(path.parent, re.compile(rf"\.{re.escape(path.name[:_SCRATCH_NAME])}\.[0-9a-f]{{12}}\.partial"))


def sweep_folder(folder: Path) -> None:
    """Remove what writers of any name in ``folder`` left, as `sweep` does."""
    _sweep(folder, _SCRATCH)


def _sweep(folder: Path, shape: re.Pattern[str]) -> None:
    young: list[str] = []
    limit = time.time() - _GRACE_SECONDS
    with suppress(OSError), os.scandir(folder) as entries:
        young = [entry.path for entry in entries if shape.fullmatch(entry.name) and _left_alone(entry.path, limit)]
    if young:
        time.sleep(_GRACE_SECONDS)
        # Young no more, whatever a clock that was set back says.
        for scratch in young:
            _left_alone(scratch, math.inf)


def _left_alone(scratch: str, limit: float) -> bool:
    """Remove ``scratch`` if nobody has claimed it and it is older than ``limit``; return whether it is too young."""
    with suppress(OSError):
        handle = os.open(scratch, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(handle)
            if found.st_ctime >= limit:
                return True
            if stat.S_ISDIR(found.st_mode):
                remove_tree(scratch)
            else:
                os.unlink(scratch)
        finally:
            os.close(handle)
    return False


def write_durably(path: Path, raw: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Make ``path`` hold ``raw``, replacing a file there at once or not at all.

    On return it survives a power cut; with ``durable`` false only a crash of the process.

    Raises:
        TransportError: the disk refused; what was at ``path`` is still there.
    """
    scratch = _scratch_beside(path)
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            claim(handle)
            write_all(handle, raw)
            os.fchmod(handle, mode)
            if durable:
                os.fsync(handle)
            os.rename(scratch, path)
        except BaseException:
            remove_file(scratch)
            raise
        finally:
            os.close(handle)
        if durable:
            sync_directory(os.path.dirname(path) or ".")
    except OSError as error:
        raise disk_error(path, error) from error


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, or a durable copy where the disk cannot link.

    Idempotent: a regular file of the same size on another disk is left as it is; on this disk it
    becomes a link of ``source``, which heals one that was damaged, at no cost. The name is
    durable once the folder of ``target`` is synced, which is left to the caller.

    Raises:
        TransportError: the disk refused; ``target`` is as it was.
    """
    with at_disk(target):
        ours = os.stat(source)
        if has_file(target, ours.st_size) and _as_good(ours, os.lstat(target)):
            return
        if _linked(source, target):
            return
        # Here the disk cannot link, or something damaged has the name: replaced by rename, not by removal.
        scratch = scratch_beside(target)
        try:
            if not _linked(source, scratch):
                copy_durably(source, scratch)
            os.rename(scratch, target)
        except BaseException:
            remove_file(scratch)
            raise


def _as_good(ours: os.stat_result, theirs: os.stat_result) -> bool:
    return ours.st_dev != theirs.st_dev or ours.st_ino == theirs.st_ino


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target, follow_symlinks=True)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return False
        raise
    return True


def copy_durably(source: Path, target: Path) -> None:
    """Copy a file to a name that is not there yet, its data durable; raises `OSError`."""
    with source.open("rb", buffering=0) as reading:
        state = os.fstat(reading.fileno())
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as writing:
            claim(handle)
            copy_range(reading.fileno(), writing.fileno(), state.st_size)
            os.fchmod(writing.fileno(), state.st_mode & 0o777)
            os.fsync(writing.fileno())
