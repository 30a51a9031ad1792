"""A file in volumes: ``x.001``, ``x.002`` and so on are slices of one stream, all of one size but the last.

Each is opened when it is read, and few stay open: there may be more than a process may have open.
"""

import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

from transship.pipeline.errors import ContentError, NotFoundError, TransportError, shown
from transship.pipeline.transports.files import open_regular
from transship.pipeline.transports.medium import FileMedium, InFile, identity
from transship.pipeline.transports.open_files import OpenFiles

MAX_VOLUMES: Final = 999
_NUMBERED: Final = re.compile(r"(?P<stem>.+)\.(?P<number>[0-9]{3})", re.DOTALL)

_open: Final = OpenFiles(8)


def volume(stem: Path, number: int) -> Path:
    """Return the name of a volume; the first is 1."""
    return stem.with_name(f"{stem.name}.{number:03d}")


def stem_of(path: Path) -> Path:
    """Return what the volumes that ``path`` means are named by: it less ``.001``."""
    found = _NUMBERED.fullmatch(path.name)
    return path.with_name(found["stem"]) if found and found["number"] == "001" else path


def numbers(stem: Path) -> list[int]:
    """Return which volumes of ``stem`` there are, in their order; none where its folder cannot be read."""
    found = []
    with suppress(OSError), os.scandir(stem.parent) as entries:
        for entry in entries:
            match = _NUMBERED.fullmatch(entry.name)
            if match and match["stem"] == stem.name and match["number"] != "000":
                found.append(int(match["number"]))
    return sorted(found)


def volumes(path: Path) -> list[Path]:
    """Return the volumes that ``path`` means, the first or the name before ``.001``; none where it is no such name.

    Raises:
        NotFoundError: one is missing between others.
    """
    stem = stem_of(path)
    found = numbers(stem)
    # A first volume without others reads the same as a file that is merely called so.
    if not found or (os.path.lexists(path) if stem == path else found == [1]):
        return []
    for wanted, number in enumerate(found, 1):
        if number != wanted:
            raise NotFoundError(
                f"{shown(str(volume(stem, wanted)), 400)}: this volume is missing, of {found[-1]} or more",
                advice="put all volumes into one folder",
            )
    return [volume(stem, number) for number in found]


class Volumes:
    """Volumes, or one file, as one stream."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Look at all of them.

        Raises:
            ContentError: one is not as large as the first.
            TransportError: the disk refused, or one is no regular file.
        """
        self._paths = paths
        self._identities = [_looked_at(path) for path in paths]
        self._starts = [0, *accumulate(found[2] for found in self._identities)]
        self._mark = object()
        self._closed = False
        self._refuse_uneven()

    @property
    def size(self) -> int:
        """Their sizes together."""
        return self._starts[-1]

    @property
    def identity(self) -> tuple[int, ...]:
        """The identities of all."""
        return tuple(number for found in self._identities for number in found)

    def readinto(self, view: memoryview, offset: int) -> int:
        """Fill ``view`` from one of them, as `Medium.readinto` says."""
        if not 0 <= offset < self.size:
            return 0
        number = bisect_right(self._starts, offset) - 1
        left = self._starts[number + 1] - offset
        with self._open(number) as opened:
            count = opened.readinto(view[:left], offset - self._starts[number])
        if not count and view:
            raise self._changed(number)
        return count

    def in_files(self, offset: int, count: int) -> Iterator[InFile]:
        """Yield the parts of volumes, as `Medium.in_files` says."""
        while count > 0 and 0 <= offset < self.size:
            number = bisect_right(self._starts, offset) - 1
            some = min(count, self._starts[number + 1] - offset)
            with self._open(number) as opened:
                yield from opened.in_files(offset - self._starts[number], some)
            offset += some
            count -= some

    def close(self) -> None:
        """Close those that are open, once nobody reads them."""
        self._closed = True
        _open.drop((self._mark, number) for number in range(len(self._paths)))

    def _open(self, number: int) -> AbstractContextManager[FileMedium]:
        if self._closed:
            raise TransportError(f"{self._paths[number]}: read after it was closed")
        return _open.use((self._mark, number), partial(self._found_again, number))

    def _found_again(self, number: int) -> FileMedium:
        found = FileMedium(open_regular(self._paths[number]), str(self._paths[number]))
        if found.identity != self._identities[number]:
            found.close()
            raise self._changed(number)
        return found

    def _refuse_uneven(self) -> None:
        sizes = [found[2] for found in self._identities]
        for path, size in zip(self._paths, sizes, strict=True):
            last = path == self._paths[-1]
            if not size or size > sizes[0] or (size < sizes[0] and not last):
                raise ContentError(
                    f"{shown(str(path), 400)}: a volume of {size} bytes, where the first has {sizes[0]}",
                    advice="bring this volume again",
                )

    def _changed(self, number: int) -> TransportError:
        return TransportError(f"{shown(str(self._paths[number]), 400)}: changed while it was read", advice="run again")


def _looked_at(path: Path) -> tuple[int, ...]:
    with open_regular(path) as stream:
        return identity(stream.fileno())
