"""Where what lies in a bundle, read off a whole one with no code of the product; and bits to flip in it."""

import json
import os
import struct
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_NAME = "org.opencontainers.image.ref.name"
_BLOCK = 512


class Member(NamedTuple):
    """A member: its header is the block before ``offset``; ``owners`` are the names of the images that need it."""

    name: str
    offset: int
    size: int
    owners: frozenset[str]

    @property
    def end(self) -> int:
        """Where the header of the next begins."""
        return self.offset + self.size + -self.size % _BLOCK


class Laid:
    """The members of a tar in their order."""

    def __init__(self, tar: Path) -> None:
        with tarfile.open(tar) as archive:
            found = list(archive)
            owners = _owners(archive, {member.name: member for member in found})
        self.size = tar.stat().st_size
        self.members = [
            Member(one.name, one.offset_data, one.size, frozenset(owners.get(one.name, ()))) for one in found
        ]

    def at(self, offset: int) -> Member | None:
        """Return the member to which a byte belongs, its header and padding too; None for what is behind all."""
        return next((one for one in self.members if one.offset - _BLOCK <= offset < one.end), None)

    def owners(self, begin: int, end: int) -> frozenset[str]:
        """Return the images that need a byte from ``begin`` to before ``end``."""
        found = (one.owners for one in self.members if one.offset - _BLOCK < end and begin < one.end)
        return frozenset[str]().union(*found)

    def named(self, name: str) -> Member:
        return next(one for one in self.members if one.name == name)


def _owners(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}

    def read(name: str) -> Any:
        stream = archive.extractfile(members[name])
        assert stream is not None
        return json.load(stream)

    def walk(descriptor: Any, image: str) -> None:
        name = f"blobs/{descriptor['digest'].replace(':', '/')}"
        found.setdefault(name, set()).add(image)
        if "manifest" in descriptor["mediaType"] or "index" in descriptor["mediaType"]:
            document = read(name)
            below = [*document.get("manifests", ()), *document.get("layers", ())]
            for one in [*below, document["config"]] if "config" in document else below:
                walk(one, image)

    for entry in read("index.json")["manifests"]:
        walk(entry, entry["annotations"][_NAME])
    return found


class Frame(NamedTuple):
    """A frame of zstd: where it begins and ends in the files, and what of the tar it holds."""

    begin: int
    end: int
    plain: tuple[int, int]


def frames(packed: Path) -> list[Frame]:
    """Return the frames of a seekable file. Source: zstd's contrib/seekable_format, version 0.1.1."""
    raw = packed.read_bytes()
    count, flags, magic = struct.unpack("<IBI", raw[-9:])
    assert (flags, magic) == (0, 0x8F92EAB1)
    sizes = list(struct.iter_unpack("<II", raw[-9 - 8 * count : -9]))
    ends, plain = (list(pairwise([0, *accumulate(size[side] for size in sizes)])) for side in (0, 1))
    return [Frame(*place, of) for place, of in zip(ends, plain, strict=True)]


class Place(NamedTuple):
    """A byte of all files together: what it is part of, and the images that need it, None where nobody could tell."""

    kind: str
    offset: int
    owners: frozenset[str] | None


def places_in_tar(laid: Laid, sizes: Sequence[int], number: int) -> list[Place]:
    """Return places in the volumes of these ``sizes``: ``number`` of each kind where there are so many."""
    blobs = [one for one in laid.members if one.name.startswith("blobs/")]
    first = [one for one in laid.members if one not in blobs]
    padded = [one for one in blobs if one.size % _BLOCK]
    wanted = {
        **{one.name: [one.offset - _BLOCK, one.offset + one.size // 3] for one in first},
        "header": [one.offset - _BLOCK // (n + 1) for n, one in enumerate(_some(blobs, number))],
        "blob": [one.offset + one.size * n // number for n, one in enumerate(_some(blobs, number))],
        "padding": [one.end - 1 for one in _some(padded, number)],
        "edge of a volume": [edge - n % 2 for n, edge in enumerate(_some([*accumulate(sizes)][:-1], 2 * number))],
        "end": [laid.members[-1].end, laid.size - 1],
    }
    return [Place(kind, offset, _told(laid, offset)) for kind, offsets in wanted.items() for offset in offsets]


def places_in_frames(laid: Laid, packed: Path, number: int) -> list[Place]:
    """Return places in a packed file that holds what is ``laid``: in the middle of frames, and in their table."""
    found = frames(packed)
    clear = [one for one in found if one.plain[0] >= laid.named("bundle.json").end]
    middles = [Place("frame", (one.begin + one.end) // 2, laid.owners(*one.plain)) for one in _some(clear, number)]
    begin, end = found[-1].end, packed.stat().st_size
    table = [begin + (end - 1 - begin) * n // number for n in range(number + 1)]
    first = [Place("first frame", found[0].end // 2, None)]
    return [*first, *middles, *(Place("table", offset, None) for offset in table)]


def _told(laid: Laid, offset: int) -> frozenset[str] | None:
    member = laid.at(offset)
    if member is None:
        return frozenset()
    return None if member.name == "bundle.json" else member.owners


def _some(every: Sequence[T], number: int) -> list[T]:
    """Return ``number`` of all, the first and the last with them; all where there are fewer."""
    if len(every) <= number:
        return list(every)
    return [every[(len(every) - 1) * n // (number - 1)] for n in range(number)]


@contextmanager
def flipped(files: Sequence[Path], offset: int, bit: int) -> Iterator[str]:
    """Flip a bit of byte ``offset`` of all files together, until the body ends; give the name of its file."""
    starts = [0, *accumulate(path.stat().st_size for path in files)]
    number = bisect_right(starts, offset) - 1
    with files[number].open("r+b", buffering=0) as stream:
        before = os.pread(stream.fileno(), 1, offset - starts[number])
        os.pwrite(stream.fileno(), bytes([before[0] ^ 1 << bit]), offset - starts[number])
        try:
            yield files[number].name
        finally:
            os.pwrite(stream.fileno(), before, offset - starts[number])
