"""A bundle verified, offline and without unpacking it: one pass over every byte.

bundle.json says what lies where, so each byte of the tar has one right value: headers and padding follow from names
and sizes, index.json from the images, blobs hash to their digests, and bundle.json to what the checksums say.
"""

import hashlib
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from transship import schemas
from transship.pipeline.bundle.stream import Reader, Stream
from transship.pipeline.bundle.trees import Trees
from transship.pipeline.bundle.volumes import Fault, Files
from transship.pipeline.digest import Digest, check
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.referrer import beside
from transship.pipeline.overlap import ahead
from transship.pipeline.transports.bundle_file import BUNDLE, MAX_BUNDLE, BundledBlob, BundleFile
from transship.pipeline.transports.checksums import Checksums
from transship.pipeline.transports.entries import Entries
from transship.pipeline.transports.layout import INDEX, MARKER, MARKER_RAW, MAX_INDEX, Root, blob_name
from transship.pipeline.transports.medium import read_at
from transship.pipeline.transports.tar import BLOCK
from transship.pipeline.transports.tar_writer import END, header

_MOST_LINES: Final = 50


@dataclass(slots=True)
class Verdict:
    """What one pass found: faults, the files first, and the names of the images that are not whole."""

    faults: list[Fault] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    said: BundleFile | None = None
    bytes: int = 0
    lost: list[Digest] = field(default_factory=list)
    """Blobs that are not what they should be."""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not self.damaged

    def lines(self) -> list[str]:
        """Return what is wrong, a line each, fifty at most."""
        found = [str(fault) for fault in self.faults] + [f"image {image}: damaged" for image in self.damaged]
        more = len(found) - _MOST_LINES
        return [*found[:_MOST_LINES], f"... and {more} more"] if more > 0 else found


def verify_bundle(path: Path, said: Checksums | None = None) -> Verdict:
    """Verify the bundle at ``path``, which may name its first volume.

    ``said`` are its checksums where those were read already, as where somebody signed them: others may be there now.

    Raises:
        NotFoundError: there is none.
    """
    files = Files(path, said)
    found = Verdict()
    try:
        stream = Stream(files)
    except ContentError as error:
        found.bytes = Reader(ahead(files.pieces(), 1)).drain()
        files.faults.append(Fault(files.volumes[-1].name, error.message.removeprefix("it: ")))
        found.faults = _ordered(files)
        return found
    try:
        _Pass(files, stream, found).run()
    finally:
        stream.close()
    found.bytes = files.size
    return found


def _ordered(files: Files) -> list[Fault]:
    """Return what is wrong with files in the order of the files, and then the rest."""
    place = {one.name: number for number, one in enumerate(files.volumes)}
    return sorted(dict.fromkeys(files.faults), key=lambda fault: place.get(fault.where, len(place)))


class _Pass:
    def __init__(self, files: Files, stream: Stream, found: Verdict) -> None:
        self._files = files
        self._stream = stream
        self._found = found
        self._faults: list[Fault] = []
        self._places: dict[Digest, int] = {}
        self._index = b""

    def run(self) -> None:
        """Read all, then say which images are not whole."""
        try:
            self._read()
        except ContentError as error:
            # What follows cannot be told apart any more; the files still are.
            self._faults.append(Fault(self._stream.at(self._stream.offset), error.message))
        self._stream.drain()
        if self._found.said is not None:
            self._judge(self._found.said)
        self._found.faults = (_ordered(self._files) or self._files.frames) + list(dict.fromkeys(self._faults))

    def _read(self) -> None:
        if self._member(MARKER, len(MARKER_RAW)) != MARKER_RAW:
            self._wrong(MARKER, "damaged")
        self._index = self._member(INDEX, self._said_size(INDEX, MAX_INDEX))
        raw = self._member(BUNDLE, self._said_size(BUNDLE, MAX_BUNDLE))
        if self._files.document and str(Digest.of(raw)) != self._files.document:
            self._wrong(BUNDLE, "damaged: not what the checksums say")
        said = BundleFile.read(raw, "its")
        _refuse_misshapen(said)
        if not said.is_spelt(raw):
            self._wrong(BUNDLE, "not spelt as transship does")
        self._found.said = said
        for number, blob in enumerate(said.blobs):
            if self._stream.offset >= self._stream.size:
                self._ended(said.blobs[number:])
                break
            self._blob(blob)
        if self._stream.read(len(END)) != END or self._stream.drain():
            self._wrong("the end", "damaged, or bytes after it")

    def _said_size(self, name: str, limit: int) -> int:
        """Take a header whose size nothing else says; return that."""
        block = self._stream.read(BLOCK)
        try:
            size = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape").size
        except tarfile.HeaderError:
            size = -1
        if not 0 <= size <= limit or block != header(name, size):
            raise ContentError(f"{name}: its header is damaged: no image can be told from another")
        return size

    def _member(self, name: str, size: int) -> bytes:
        if name == MARKER and self._stream.read(BLOCK) != header(name, size):
            self._wrong(name, "its header is damaged")
        raw = self._stream.read(size)
        self._padding(name, size)
        return raw

    def _padding(self, name: str, size: int) -> bool:
        wanted = bytes(-size % BLOCK)
        if self._stream.read(len(wanted)) != wanted:
            self._wrong(name, "not zeros behind it")
            return False
        return True

    def _blob(self, blob: BundledBlob) -> None:
        name = blob_name(blob.digest)
        head = header(name, blob.size)
        begin = self._stream.offset
        sound = self._stream.read(len(head)) == head
        self._places[blob.digest] = self._stream.offset
        hasher = hashlib.new(blob.digest.algorithm)
        whole = self._stream.through(blob.size, hasher.update)
        if not whole or hasher.hexdigest() != blob.digest.hex:
            self._lost(blob.digest, begin, "damaged: does not hash to its digest")
        elif not sound:
            self._lost(blob.digest, begin, "its header is damaged")
        if not self._padding(name, blob.size):
            self._lost(blob.digest, begin, "damaged behind it")

    def _ended(self, left: Sequence[BundledBlob]) -> None:
        """Note what cannot be there any more: sizes that lie would else be told of one by one."""
        self._found.lost += [blob.digest for blob in left]
        self._wrong("the end", f"too early: {len(left)} blobs should follow")

    def _lost(self, digest: Digest, begin: int, why: str) -> None:
        self._found.lost.append(digest)
        first, last = self._stream.at(begin), self._stream.at(max(begin, self._stream.offset - 1))
        where = first if first == last else f"{first} to {last}"
        self._faults.append(Fault(f"{blob_name(digest)} in {where}", why))

    def _wrong(self, name: str, why: str) -> None:
        self._faults.append(Fault(f"{name} in {self._stream.at(max(0, self._stream.offset - 1))}", why))

    def _judge(self, said: BundleFile) -> None:
        """Say which images miss something, and whether index.json and all blobs are those of the images."""
        medium = self._stream.medium()
        bad = set(self._found.lost)

        def read(digest: Digest, size: int) -> bytes:
            if digest in bad or digest not in self._places:
                raise ContentError(f"{digest}: damaged")
            raw = read_at(medium, self._places[digest], size)
            check(raw, digest, "manifest")
            return raw

        trees = Trees(said, read)
        reached: set[Digest] = set()
        for image in said.images:
            try:
                below = trees.below(image)
            except ContentError as error:
                self._faults.append(Fault(image.name, error.message))
                self._found.damaged.append(image.name)
                continue
            # What is not in it is missed below, and may be much.
            reached.update(one for one in below if one in trees.sizes or one in trees.left)
            root = trees.root(image.digest, image.name)
            if root is not None and root.media_type != image.media_type:
                self._faults.append(Fault(image.name, f"is a {root.media_type}, and not what {BUNDLE} says"))
            missing = [one for one, size in below.items() if size not in (trees.sizes.get(one), trees.left.get(one))]
            if missing:
                self._faults.append(Fault(image.name, f"{missing[0]} is not in the bundle"))
            if missing or root is None or bad.intersection(below):
                self._found.damaged.append(image.name)
        besides = [digest for digest in (*trees.sizes, *trees.left) if digest not in reached]
        if besides and not bad and not self._found.damaged:
            self._faults.append(Fault(BUNDLE, f"{besides[0]} is of no image"))
        if not bad and self._index != index_of(said, trees):
            self._wrong(INDEX, "not what the images make of it")
        if said.lock and _locked(said) != Counter((image.source, str(image.pinned)) for image in said.images):
            self._wrong(BUNDLE, "its images are not those of the lock in it")


def _refuse_misshapen(said: BundleFile) -> None:
    """Raise `ContentError` where the schema does, but for the blobs, which were read one by one."""
    base = replace(said.base, blobs=()) if said.base else None
    try:
        schemas.validate("bundle", replace(said, blobs=(), base=base).document(), BUNDLE)
    except schemas.SchemaError as error:
        raise ContentError(str(error)) from error


def _locked(said: BundleFile) -> Counter[tuple[str, str]]:
    """Return source and digest of each image of the lock in a bundle, which is sound by its schema."""
    found = [(one, one.object("resolved")) for one in Fields(said.lock, f"{BUNDLE} lock").objects("images")]
    return Counter((image.text("from"), resolved.text("digest")) for image, resolved in found)


def index_of(said: BundleFile, trees: Trees) -> bytes:
    """Return the index.json that follows from the images of a bundle."""
    return Entries.empty().add(_roots(said, trees)).raw("bundle")


def _roots(said: BundleFile, trees: Trees) -> Iterator[Root]:
    for image in said.images:
        found = trees.root(image.digest, image.name)
        yield found or Root(image.media_type, image.digest, image.size, image.name)
        for one in image.referrers:
            name = beside(image.name, one.tag) if one.tag else ""
            kind = one.manifest.media_type, one.manifest.digest, one.manifest.size
            yield trees.root(one.manifest.digest, name) or Root(*kind, name, one.manifest.artifact_type)


def refuse_damaged(verdict: Verdict, path: Path) -> None:
    """Raise `ContentError` where something is wrong with a bundle, naming the first of it."""
    if not verdict.sound:
        more = len(verdict.faults) - 1
        raise ContentError(
            f"{path}: {verdict.faults[0] if verdict.faults else verdict.damaged[0]}"
            f"{f' (and {more} more)' if more > 0 else ''}",
            advice="transship bundle verify names all of it",
        )
