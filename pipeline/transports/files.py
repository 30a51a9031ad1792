"""Reading files that others wrote: links and devices are refused, every read has a limit."""

import io
import os
import stat
from pathlib import Path

from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, TransportError, shown


def open_regular(path: Path, start: int = 0) -> io.FileIO:
    """Open a regular file from byte ``start`` on.

    Raises:
        NotFoundError: there is none.
        TransportError: it is a symbolic link, a folder or a device, or the disk refused.
    """
    with at_disk(path):
        # O_NONBLOCK: opening a FIFO would wait for a writer for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        stream = io.FileIO(handle)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            stream.close()
            raise TransportError(f"{shown(str(path), 400)} is no regular file")
        stream.seek(start)
    return stream


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file; raises as `open_regular` does.

    Raises:
        ContentError: it has more than ``limit`` bytes.
    """
    with open_regular(path) as stream, at_disk(path):
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise ContentError(f"{shown(str(path), 400)}: {size} bytes, over the limit of {limit}")
        # No more than it has: a buffer of the limit's size costs more than the file.
        return stream.read(size + 1)[:limit]
