"""The list of checksums beside a bundle: what ``sha256sum -c`` reads, with more in comments.

Its bytes follow from what it says alone, and it is what is signed.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, shown
from transship.pipeline.transports.files import read_regular
from transship.pipeline.transports.volumes import MAX_VOLUMES, stem_of, volume

MAX_SUMS: Final = 1 << 20
_HEAD: Final = "# transship bundle, version 1"
_DOCUMENT: Final = re.compile(r"# bundle\.json (sha256:[0-9a-f]{64})")
_VOLUME: Final = re.compile(r"# ([0-9]{1,19}) bytes\n([0-9a-f]{64})  ([^\n/\\]{1,255})")
_PART: Final = re.compile(r"(?P<stem>.+)(?:\.[0-9]{3}|\.sums(?:\.asc|\.sig)?)", re.DOTALL)
"""The name of a file that belongs to a bundle."""


class Volume(NamedTuple):
    """A file of a bundle: its name, its size in bytes, the hex of its SHA-256."""

    name: str
    size: int
    sha256: str


class Checksums(NamedTuple):
    """The files of a bundle in their order, and the digest of its bundle.json."""

    document: Digest
    volumes: tuple[Volume, ...]

    def raw(self) -> bytes:
        """Return the bytes of the list."""
        lines = [f"# {volume.size} bytes\n{volume.sha256}  {volume.name}" for volume in self.volumes]
        below = "\n".join([f"# bundle.json {self.document}", *lines, ""]).encode()
        # Else a flipped bit in it would be taken for one in the file that it speaks of.
        return f"{_HEAD}\n# the lines below {Digest.of(below)}\n".encode() + below

    @classmethod
    def parse(cls, raw: bytes, where: str) -> "Checksums":
        """Return what a list says; there is one way to spell it.

        Raises:
            ContentError: it is not spelt so.
        """
        text = raw.decode("utf-8", "replace")
        head, _, rest = text.partition("\n")
        _, _, rest = rest.partition("\n")
        line, _, rest = rest.partition("\n")
        document = _DOCUMENT.fullmatch(line)
        volumes = tuple(Volume(name, int(size), sha256) for size, sha256, name in _VOLUME.findall(rest))
        names = {volume.name for volume in volumes}
        if head == _HEAD and document and 0 < len(volumes) == len(names) <= MAX_VOLUMES:
            found = cls(Digest.parse(document[1]), volumes)
            if found.raw() == raw:
                return found
        raise ContentError(f"{where}: no list of checksums of a bundle, or damaged", advice="bring it again")


def sums_of(path: Path) -> Path:
    """Return where the list of the bundle at ``path`` is; ``path`` may name its first volume."""
    stem = stem_of(path)
    return stem.with_name(f"{stem.name}.sums")


def signatures_of(path: Path) -> tuple[Path, ...]:
    """Return where signatures of that list are, if it has any: OpenPGP's, sigstore's."""
    sums = sums_of(path)
    return tuple(sums.with_name(sums.name + end) for end in (".asc", ".sig"))


def read_checksums(path: Path) -> Checksums:
    """Return the list of the bundle at ``path``; raises as `checksums_in` and `read_sums` do."""
    return checksums_in(read_sums(path), path)


def bundles_named(paths: Iterable[Path]) -> list[Path]:
    """Return the bundles that ``paths`` mean, each once, in their order.

    A volume of one, its checksums and their signatures mean the bundle: so ``bundle.tar.*`` is one. What has no
    checksums beside it stays as it is.
    """
    return list(dict.fromkeys(map(_bundle_of, paths)))


def _bundle_of(path: Path) -> Path:
    found = _PART.fullmatch(path.name)
    stem = path.with_name(found["stem"]) if found else path
    return stem if os.path.lexists(sums_of(stem)) else path


def read_sums(path: Path) -> bytes:
    """Return the bytes of the list of the bundle at ``path``.

    Raises:
        NotFoundError: there is none.
        ContentError: it is longer than any is.
        TransportError: the disk refused.
    """
    where = sums_of(path)
    try:
        return read_regular(where, MAX_SUMS)
    except NotFoundError as error:
        raise NotFoundError(
            f"{shown(str(where), 400)}: the checksums of the bundle are not there", advice="bring this file too"
        ) from error


def checksums_in(raw: bytes, path: Path) -> Checksums:
    """Return what the list ``raw`` says of the bundle at ``path``.

    Raises:
        ContentError: it is damaged, or another bundle's: what it vouches for is not what would be read.
    """
    where, stem = shown(str(sums_of(path)), 400), stem_of(path)
    found = Checksums.parse(raw, where)
    names = [one.name for one in found.volumes]
    if names not in ([stem.name], [volume(stem, number).name for number in range(1, len(names) + 1)]):
        raise ContentError(
            f"{where}: names {shown(names[0])}, which is no file of {shown(stem.name)}",
            advice="a bundle keeps the name under which it was made",
        )
    return found
