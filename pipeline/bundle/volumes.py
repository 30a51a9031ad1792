"""The files of a bundle read through once, each hashed, whatever is wrong with them.

A part that is missing is a gap to who reads on, so that what comes after it is still found where it should be.
"""

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline.disk import disk_error
from transship.pipeline.errors import ContentError, NotFoundError, TransportError
from transship.pipeline.transports.checksums import Checksums, Volume, read_checksums
from transship.pipeline.transports.files import open_regular
from transship.pipeline.transports.medium import InFile
from transship.pipeline.transports.volumes import numbers, stem_of, volume, volumes

_PIECE: Final = 1 << 20


class Gap(NamedTuple):
    """Bytes that are missing: how many, by what the checksums say, which may be any number."""

    length: int


Piece: TypeAlias = "bytes | Gap"


class Fault(NamedTuple):
    """Something wrong: the name of the file or member, and in one line why."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class Files:
    """The files of a bundle as its checksums name them; as they lie there where those cannot be read.

    A medium without errors: what cannot be read is zeros.
    """

    def __init__(self, path: Path, said: Checksums | None = None) -> None:
        """Find them, by the checksums that were ``said`` already or else by those beside them.

        Raises:
            NotFoundError: there is neither a file nor checksums.
        """
        self.faults: list[Fault] = []
        self.frames: list[Fault] = []
        """What could not be unpacked, which is news where all files are as they were."""
        self.document = ""
        """The digest of bundle.json, as the checksums say it; empty without."""
        self._folder = path.parent
        stem = stem_of(path)
        try:
            said = said or read_checksums(path)
            self.volumes: Sequence[Volume] = said.volumes
            self.document = str(said.document)
            self._note_others(path, {one.name for one in said.volumes})
        except (ContentError, TransportError) as error:
            found = [volume(stem, number) for number in numbers(stem)]
            found = [path] if path.is_file() and (path == stem or not found) else found
            if not found:
                raise NotFoundError(f"{path}: no such bundle", advice="name its file, or its first volume") from error
            self.faults.append(Fault(f"{stem.name}.sums", error.message.rpartition(": ")[2]))
            self.volumes = [Volume(one.name, one.stat().st_size, "") for one in found]
        self._starts = [0, *accumulate(one.size for one in self.volumes)]

    def _note_others(self, path: Path, named: set[str]) -> None:
        """Note what would be read of the bundle that its checksums do not name."""
        with suppress(NotFoundError):
            for one in volumes(path) or [path]:
                if one.name not in named:
                    self.faults.append(Fault(one.name, "would be read, and its checksums do not name it"))

    @property
    def size(self) -> int:
        """Bytes of all together."""
        return self._starts[-1]

    @property
    def identity(self) -> tuple[int, ...]:
        """Nothing that could be told from others."""
        return ()

    def at(self, offset: int) -> str:
        """Return the name of the file in which byte ``offset`` lies."""
        return self.volumes[min(bisect_right(self._starts, offset), len(self.volumes)) - 1].name

    def readinto(self, view: memoryview, offset: int) -> int:
        """Fill ``view`` from one file, with zeros where that fails."""
        if not 0 <= offset < self.size:
            return 0
        number = bisect_right(self._starts, offset) - 1
        view = view[: self._starts[number + 1] - offset]
        count = 0
        with suppress(OSError, TransportError), open_regular(self._folder / self.volumes[number].name) as stream:
            count = os.preadv(stream.fileno(), [view], offset - self._starts[number])
        view[count:] = bytes(len(view) - count)
        return len(view)

    def in_files(self, _offset: int, _count: int) -> Iterator[InFile]:
        """Yield nothing."""
        yield from ()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def pieces(self) -> Iterator[Piece]:
        """Yield all bytes in their order, as many as there should be; note what is wrong with which file."""
        found: dict[str, str] = {}
        for one in self.volumes:
            hasher = hashlib.sha256()
            left = one.size
            why = ""
            try:
                with open_regular(self._folder / one.name) as stream:
                    while left and (piece := stream.read(min(left, _PIECE))):
                        hasher.update(piece)
                        left -= len(piece)
                        yield piece
                    more = os.fstat(stream.fileno()).st_size - one.size
                    why = f"{more} bytes longer than it was" if more > 0 else ""
            except (OSError, TransportError) as error:
                said = error if isinstance(error, TransportError) else disk_error(one.name, error)
                why = "missing" if isinstance(said, NotFoundError) else said.advice or said.message.rpartition(": ")[2]
            if left and not why:
                why = f"{left} bytes shorter than it was"
            sha256 = hasher.hexdigest()
            if not why and one.sha256 not in ("", sha256):
                other = next((name for name, known in found.items() if known == sha256), "")
                other = other or next((each.name for each in self.volumes if each.sha256 == sha256), "")
                why = f"holds the bytes of {other}" if other else "damaged: not what its checksum says"
            found[one.name] = sha256
            if why:
                self.faults.append(Fault(one.name, why))
            if left:
                yield Gap(left)
