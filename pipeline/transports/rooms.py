"""An archive begun before its members are there: each is written straight where it will lie, by any thread."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from transship.pipeline.disk import WriteBack, at_disk
from transship.pipeline.durable import claim, scratch_beside, sweep
from transship.pipeline.transport import Make, WrongSizeError
from transship.pipeline.transports.tar import BLOCK


class Rooms:
    """A hidden file beside ``path`` with room for members of the ``sizes`` said, in the order of their names."""

    def __init__(self, path: Path, sizes: Mapping[str, int]) -> None:
        """Make the file; nothing but a gap is in it."""
        self.scratch = scratch_beside(path)
        self.filled: set[str] = set()
        self._path = path
        self._sizes = dict(sizes)
        self._starts: dict[str, int] = {}
        end = 0
        for name in sorted(sizes):
            self._starts[name] = end + BLOCK
            end += BLOCK + sizes[name] + -sizes[name] % BLOCK
        with at_disk(path):
            sweep(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self.handle = os.open(self.scratch, flags, 0o666)
        claim(self.handle)

    def fill(self, name: str, make: Make) -> int:
        """Have ``make`` write the member ``name``, from its first byte to its last; return its size.

        Raises:
            WrongSizeError: it is larger or smaller than its room.
            TransportError: the disk refused.
        """
        with at_disk(self._path):
            # Its own: once the file is given up, no thread writes to what has that number then.
            handle = os.open(self.scratch, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            member = _Member(handle, self._path, self._starts[name], self._sizes[name])
            make(member.write)
        finally:
            os.close(handle)
        if member.left:
            raise WrongSizeError(f"{self._path}: {name} is {member.left} bytes smaller than was said")
        self.filled.add(name)
        return self._sizes[name]

    def holds(self, name: str, size: int, start: int) -> bool:
        """Say whether ``name`` is here whole, of ``size`` bytes, at byte ``start``."""
        return name in self.filled and (self._sizes[name], self._starts[name]) == (size, start)

    def drop(self) -> None:
        """Remove the file; idempotent."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
            with suppress(OSError):
                self.scratch.unlink()


class _Member:
    def __init__(self, handle: int, path: Path, start: int, size: int) -> None:
        self.left = size
        self._handle = handle
        self._path = path
        self._offset = start
        self._write_back = WriteBack(handle, start)

    def write(self, data: bytes) -> None:
        if len(data) > self.left:
            raise WrongSizeError(f"{self._path}: a member is larger than was said")
        rest = memoryview(data)
        with at_disk(self._path):
            while rest:
                done = os.pwrite(self._handle, rest, self._offset)
                self._offset += done
                rest = rest[done:]
        self.left -= len(data)
        self._write_back.reached(self._offset)
