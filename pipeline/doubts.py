"""Which blobs of a store are to be hashed again before they are used: all that were not there at a run's clean end.

At its end a run seals its store: it writes down name, size and time of last change of every blob. What is found
otherwise by the next run may be what a power cut, a failing disk or another tool, through a hard link, made of it.
That is proof against accidents, not against who sets a time back: `verify` reads every byte.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import ContentError

_SEAL: Final = "blobs.seal"
_HEAD: Final = b"transship seal 1"
_CHUNK: Final = 1 << 20


def seal(root: Path) -> None:
    """Write down what the store at ``root`` holds, for the next run; not yet durable on return."""
    write_durably(root / _SEAL, b"\n".join([_HEAD, *_lines(root), b""]), durable=False)


class Doubts:
    """The blobs that are not as they were sealed. Thread-safe; false once there is none left."""

    def __init__(self, doubted: dict[Digest, bool] | None = None, *, astray: bool = False) -> None:
        """``doubted`` says of each blob whether it was sealed otherwise, and so has changed since."""
        self._doubted = doubted or {}
        self.astray = astray
        """Whether blobs that were sealed are gone or, without a seal, may be; or there are files that are no blobs."""

    @classmethod
    def of(cls, root: Path) -> "Doubts":
        """Compare the store at ``root`` with its seal; without one, or with a torn one, all is doubted."""
        try:
            sealed = set((root / _SEAL).read_bytes().split(b"\n"))
        except OSError:
            sealed = set()
        if _HEAD not in sealed:
            sealed = set()
        lines = set(_lines(root))
        gone = {_name(line) for line in sealed - lines - {_HEAD, b""}}
        doubted: dict[Digest, bool] = {}
        strange = False
        for name in map(_name, lines - sealed):
            try:
                doubted[Digest.parse(name.decode())] = name in gone
            except ContentError:
                strange = True
            gone.discard(name)
        return cls(doubted, astray=strange or bool(gone) or not sealed)

    def __bool__(self) -> bool:
        return bool(self._doubted)

    def changed(self) -> list[Digest]:
        """Return the blobs that were sealed and are otherwise now."""
        return [digest for digest, changed in self._doubted.items() if changed]

    def dispelled(self, digest: Digest, path: str) -> bool:
        """Say whether the blob at ``path`` is sound, reading it if it is doubted; one that is not is removed."""
        if digest not in self._doubted:
            return True
        hasher = digest.hasher()
        with suppress(OSError), open(path, "rb", buffering=0) as stream:
            while data := stream.read(_CHUNK):
                hasher.update(data)
        sound = hasher.hexdigest() == digest.hex
        if not sound:
            with suppress(OSError):
                os.unlink(path)
        self._doubted.pop(digest, None)
        return sound

    def copy(self) -> "Doubts":
        """Return the same, for another process."""
        return Doubts(dict(self._doubted))


def _name(line: bytes) -> bytes:
    return line.partition(b" ")[0]


def _lines(root: Path) -> Iterator[bytes]:
    """Yield a line for each blob: digest, bytes, mtime in nanoseconds."""
    with suppress(OSError), os.scandir(root / "blobs") as algorithms:
        for algorithm in algorithms:
            if not algorithm.is_dir(follow_symlinks=False):
                continue
            with os.scandir(algorithm.path) as blobs:
                for blob in blobs:
                    found = blob.stat(follow_symlinks=False)
                    yield f"{algorithm.name}:{blob.name} {found.st_size} {found.st_mtime_ns}".encode()
