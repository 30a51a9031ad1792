"""A squashfs as a tar, by ``sqfs2tar`` of squashfs-tools-ng: nothing is unpacked to the disk.

It gives the same tar for the same file system: entries in the order of their names, owners, times and
extended attributes as they are there.
"""

import io
import os
import resource
import selectors
import shutil
import subprocess
import tempfile
import time
from typing import Final

from transship.pipeline.compression.decoding import refuse_bomb
from transship.pipeline.disk import copy_range, write_all
from transship.pipeline.errors import ContentError, TransientError, TransportError, shown
from transship.pipeline.transports.sif_file import Extent

_MEMORY: Final = 4 << 30
"""Bytes of address space that the program may take: it holds the whole tree of a file system."""
_QUIET_SECONDS: Final = 120.0
_WHOLE_SECONDS: Final = 3 * 3600.0
_PIECE: Final = 1 << 18
_SAID: Final = 4096


def squashfs_tar(stream: io.FileIO, extent: Extent, where: str) -> io.FileIO:
    """Return an unnamed temporary file: the tar of the squashfs at ``extent`` of ``stream``, its root as ``./``.

    Raises:
        TransportError: the program is not installed.
        TransientError: it comes to no end.
        ContentError: the file system is damaged or a bomb.
        OSError: the disk refused.
    """
    program = shutil.which("sqfs2tar")
    if program is None:
        raise TransportError(
            f"{where}: sqfs2tar is not installed, or not in PATH",
            advice="install squashfs-tools-ng: SIF images are read by it",
        )
    with tempfile.TemporaryFile(buffering=0) as packed, tempfile.TemporaryFile(buffering=0) as spool:
        stream.seek(extent.offset)
        copy_range(stream.fileno(), packed.fileno(), extent.size)
        _run([program, "--root-becomes", ".", f"/dev/fd/{packed.fileno()}"], packed.fileno(), spool, extent.size, where)
        return io.FileIO(os.dup(spool.fileno()))


def _run(words: list[str], handle: int, spool: io.FileIO, taken: int, where: str) -> None:
    with subprocess.Popen(  # noqa: S603 # no shell, and no word of it is foreign
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[handle], bufsize=0
    ) as program:
        try:
            resource.prlimit(program.pid, resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            said = _drained(program, spool, taken, where)
            code = program.wait(_QUIET_SECONDS)
        finally:
            program.kill()
    if code:
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        why = shown(lines[-1] if lines else f"exit code {code}", 300)
        raise ContentError(f"{where}: its squashfs cannot be read: {why}")


def _drained(program: "subprocess.Popen[bytes]", spool: io.FileIO, taken: int, where: str) -> bytes:
    """Write what the program gives to ``spool`` until its end; return the end of what it says."""
    given = 0
    said = b""
    until = time.monotonic() + _WHOLE_SECONDS
    with selectors.DefaultSelector() as ready:
        assert program.stdout
        assert program.stderr
        for pipe in (program.stdout, program.stderr):
            ready.register(pipe, selectors.EVENT_READ)
        while ready.get_map():
            found = ready.select(_QUIET_SECONDS)
            if not found or time.monotonic() > until:
                raise TransientError(f"{where}: sqfs2tar comes to no end")
            for key, _ in found:
                data = os.read(key.fd, _PIECE)
                if not data:
                    ready.unregister(key.fileobj)
                elif key.fileobj is program.stderr:
                    said = (said + data)[-_SAID:]
                else:
                    given += len(data)
                    _refuse_bomb(taken, given, where)
                    write_all(spool.fileno(), data)
    return said


def _refuse_bomb(taken: int, given: int, where: str) -> None:
    try:
        refuse_bomb(taken, given)
    except ContentError as error:
        raise ContentError(f"{where}: {error.message}") from error
