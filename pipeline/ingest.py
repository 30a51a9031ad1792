"""One blob brought in from a source that nobody trusts: hashed while it is written, resumed, verified.

What breaks off stays where it is and is gone on from, also in another process after a ``kill -9``.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO, Final, TypeAlias

from transship.pipeline.digest import Hasher
from transship.pipeline.disk import WriteBack, disk_error, write_all
from transship.pipeline.errors import ContentError, TransientError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.pull import cut_short
from transship.pipeline.transport import RangeRefusedError
from transship.pipeline.tries import Tries

OpenAt: TypeAlias = Callable[[int], AbstractContextManager[BinaryIO]]
OnBytes: TypeAlias = Callable[[int], None]

_CHUNK: Final = 1 << 20


class Ingest:
    """One attempt at one blob, in a file that is locked: resume, retry while there is progress, verify."""

    def __init__(
        self, wanted: Descriptor, handle: int, path: str, open_at: OpenAt, on_bytes: OnBytes, *, write_back: bool
    ) -> None:
        """``handle`` is the file, open, and ``path`` its name for messages; ``on_bytes`` hears of each piece read.

        With ``write_back`` the disk writes in the meantime what is made durable at the end.
        """
        self._wanted = wanted
        self._handle = handle
        self._path = path
        self._open_at = open_at
        self._on_bytes = on_bytes
        self._write_back = WriteBack(handle) if write_back else None
        self._hasher: Hasher = wanted.digest.hasher()
        self._offset = 0

    def run(self) -> bool:
        """Have the file hold the blob, verified; return whether bytes were read.

        Raises:
            ContentError: size or digest differ, twice; nothing is kept.
            TransportError: the source failed; what came is kept for the next attempt.
        """
        self._resume()
        read = self._offset < self._wanted.size
        try:
            self._complete()
        except ContentError:
            # A partial blob of an earlier run may itself be what is wrong; one clean try settles it.
            self._restart()
            try:
                self._complete()
            except ContentError:
                self._restart()
                raise
        return read

    def _complete(self) -> None:
        tries = Tries(self._offset)
        while self._offset < self._wanted.size or self._wanted.size == 0:
            try:
                self._pull()
                break
            except RangeRefusedError:
                # From byte 0 again and again would never end against a medium that also breaks off.
                if tries.failed(self._offset):
                    raise
                self._restart()
            except TransientError:
                if tries.failed(self._offset):
                    raise
                time.sleep(tries.pause)
        self._verify()

    def _pull(self) -> None:
        with self._open_at(self._offset) as stream:
            while data := stream.read(min(_CHUNK, self._wanted.size - self._offset + 1)):
                if self._offset + len(data) > self._wanted.size:
                    raise ContentError(f"blob {self._wanted.digest}: longer than the {self._wanted.size} bytes it says")
                self._append(data)
        if self._offset < self._wanted.size:
            raise cut_short(self._wanted, self._offset)

    def _append(self, data: bytes) -> None:
        try:
            write_all(self._handle, data)
        except OSError as error:
            raise disk_error(self._path, error) from error
        self._hasher.update(data)
        self._offset += len(data)
        if self._write_back:
            self._write_back.reached(self._offset)
        self._on_bytes(len(data))

    def _verify(self) -> None:
        actual = self._hasher.hexdigest()
        if actual != self._wanted.digest.hex:
            algorithm = self._wanted.digest.algorithm
            raise ContentError(
                f"blob digest does not match: expected {self._wanted.digest}, got {algorithm}:{actual}",
                advice="the source holds or sends damaged bytes",
            )

    def _resume(self) -> None:
        """Hash what an earlier ingest left; the disk may have lost its tail, never the order of bytes."""
        size = os.fstat(self._handle).st_size
        if not size:
            return
        if size > self._wanted.size:
            self._restart()
        while data := os.read(self._handle, _CHUNK):
            self._hasher.update(data)
            self._offset += len(data)
        if self._write_back:
            self._write_back.back_to(self._offset)

    def _restart(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._handle, 0)
        os.lseek(self._handle, 0, os.SEEK_SET)
        self._hasher = self._wanted.digest.hasher()
        self._offset = 0
        if self._write_back:
            self._write_back.back_to(0)
