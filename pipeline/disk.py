"""What the disk refuses, said in words; and files, folders and names made durable, copied and removed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from transship.pipeline.errors import DeniedError, NotFoundError, TransientError, TransportError, shown

_PIECE: Final = 1 << 30
_WRITE_BACK: Final = 8 << 20
_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR})
_PASSING: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT})
_CANNOT_COPY_RANGE: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EPERM}
)
_ADVICE: Final = {
    errno.ENOSPC: "free some space there, or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EIO: "the disk failed; the system's log says more, and the same command goes on once it works",
    errno.EROFS: "the file system is mounted read-only",
    errno.EACCES: "check the owner and the mode of the file and of its folder",
    errno.ELOOP: "it is a symbolic link, which transship does not follow there",
}


@contextmanager
def at_disk(path: Path) -> Iterator[None]:
    """Turn an `OSError` inside into the `TransportError` that names ``path`` and says why."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


def disk_error(path: Path | str, error: OSError) -> TransportError:
    """Return the `TransportError` for ``error`` at ``path``, of the family that fits its errno."""
    kind: type[TransportError] = TransportError
    for family, numbers in ((DeniedError, _DENIED), (NotFoundError, _ABSENT), (TransientError, _PASSING)):
        if error.errno in numbers:
            kind = family
    reason = os.strerror(error.errno) if error.errno else str(error)
    return kind(f"{shown(str(path), 400)}: {reason}", advice=_ADVICE.get(error.errno or 0, ""))


def sync_directory(path: Path | str) -> None:
    """Make the entries of a directory durable (fsync); raises `OSError`."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing; their names are durable on return. Raises `OSError`."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_directory(each.parent)


def sync_or_drop(handle: int, path: Path | str) -> None:
    """Make an open file durable (fsync); where that fails, remove it from ``path`` and raise the `OSError`.

    The kernel tells of pages that it could not write only once, and then takes them for clean: what
    such a file reads as is not what the disk has, and a later fsync succeeds all the same.
    """
    try:
        os.fsync(handle)
    except OSError:
        remove_file(path)
        raise


def write_all(handle: int, raw: "bytes | memoryview") -> None:
    """Write all of ``raw`` at the offset of an open file; raises `OSError`."""
    done = os.write(handle, raw)
    while done < len(raw):
        done += os.write(handle, memoryview(raw)[done:])


class WriteBack:
    """Has the disk begin to write a file that is being written, so that the fsync at its end finds little left."""

    def __init__(self, handle: int, start: int = 0) -> None:
        """Take an open file, which is written from byte ``start`` on."""
        self._handle = handle
        self._begun = start

    def back_to(self, offset: int) -> None:
        """Say that it is written from byte ``offset`` on now."""
        self._begun = offset

    def reached(self, offset: int) -> None:
        """Say that all is written up to byte ``offset``: the disk is told, once that is 8 MiB more."""
        fresh = offset - self._begun
        if fresh >= _WRITE_BACK:
            # Linux begins to write what is dirty there and waits for none of it; the pages stay until they are clean.
            with suppress(OSError):
                os.posix_fadvise(self._handle, self._begun, fresh, os.POSIX_FADV_DONTNEED)
            self._begun = offset


def has_file(path: Path, size: int) -> bool:
    """Say whether ``path`` is a regular file, not a link, of ``size`` bytes."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return found.st_size == size and (found.st_mode & 0o170000) == 0o100000


def copy_range(source: int, target: int, count: int) -> None:
    """Copy ``count`` bytes from one open file to another, at their offsets, inside the kernel where it can.

    Raises:
        OSError: the disk failed, or ``source`` ends early (EIO).
    """
    left = count
    while left:
        done = _copy_some(source, target, min(left, _PIECE))
        if not done:
            raise OSError(errno.EIO, "the file ends before its size")
        left -= done


def _copy_some(source: int, target: int, count: int) -> int:
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in _CANNOT_COPY_RANGE:
            raise
    return os.sendfile(target, source, None, min(count, 0x7FFFF000))


def remove_folder(path: Path | str) -> None:
    """Remove a folder with all below it, as far as the disk lets; follows no links. Idempotent."""
    with suppress(OSError):
        remove_tree(path)


def remove_tree(path: Path | str) -> None:
    """Remove a folder with all below it; follows no links. Raises `OSError`."""
    # shutil has the same, and loads three compressors first.
    for _, folders, files, handle in os.fwalk(path, topdown=False):
        for name in files:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=handle)
        for name in folders:
            with suppress(FileNotFoundError):
                os.rmdir(name, dir_fd=handle)
    os.rmdir(path)


def remove_file(path: Path | str) -> None:
    """Remove a file, if the disk lets. Idempotent."""
    with suppress(OSError):
        os.unlink(path)
