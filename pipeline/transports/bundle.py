"""``bundle:``, an OCI layout in a tar with a bundle.json: read as an archive, written as one stream of members.

The bytes depend on the images, on what bundle.json says and on `Packing` alone.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import dump
from transship.pipeline.manifest.media_types import OCI_MANIFESTS
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.overlap import ahead
from transship.pipeline.transport import StoredBlob
from transship.pipeline.transports.archive_index import archive_index
from transship.pipeline.transports.bundle_file import (
    BUNDLE,
    MAX_BUNDLE,
    BaseBlob,
    BundledBlob,
    BundledImage,
    BundleFile,
)
from transship.pipeline.transports.checksums import Checksums
from transship.pipeline.transports.entries import Entries
from transship.pipeline.transports.lately import Lately
from transship.pipeline.transports.layout import INDEX, MARKER, MARKER_RAW, Root, blob_name
from transship.pipeline.transports.oci import refuse_unaccepted
from transship.pipeline.transports.oci_archive import OciArchiveSource
from transship.pipeline.transports.tar import BLOCK, Archive
from transship.pipeline.transports.tar_writer import END, header, header_size, read_pieces
from transship.pipeline.transports.volume_writer import VolumeWriter, framed

_AHEAD: Final = 8


class Packing(NamedTuple):
    """What else than the images decides the bytes: of each volume (0 for one file), and whether zstd packs them.

    ``lock`` and ``base`` are digests of the documents that go into bundle.json, empty for none.
    """

    split: int = 0
    zstd: bool = False
    lock: str = ""
    base: str = ""

    def to_text(self) -> str:
        """Return the text that `from_text` takes; it stands in plans."""
        return dump(self._asdict()).decode()

    @classmethod
    def from_text(cls, text: str) -> "Packing":
        """Return what `to_text` wrote."""
        return cls(**json.loads(text)) if text else cls()


class BundleSource(OciArchiveSource):
    """One image of a bundle; ``bundle`` is what its bundle.json says."""

    def __init__(
        self, path: Path, name: str = "", index: int | None = None, *, bases: Sequence[Path] | None = None
    ) -> None:
        """Open the bundle, as `OciArchiveSource` does; what it leaves out is read from the bundles ``bases``.

        Raises:
            NotFoundError: it has no bundle.json.
            ContentError: it is longer or shorter than its bundle.json says: a volume is missing, or one too many.
        """
        # First: what fails closes them.
        self._bases: list[Archive] = []
        super().__init__(path, name, index)
        try:
            self.bundle = read_bundle(self._archive)
            self._bases += (Archive(base) for base in bases or ())
            # Without a word of bases, what is left out is asked for, and then said to be.
            self.left = self._lacking() if bases is not None else {}
        except BaseException:
            self.close()
            raise

    def blob(self, wanted: Descriptor, start: int = 0) -> BinaryIO:
        """Open a blob, as `Source.blob` says; raises `NotFoundError` where it is left out and no base has it."""
        name = blob_name(wanted.digest)
        for archive in (self._archive, *self._bases):
            if name in archive.members:
                return archive.open(archive.find(name), start)
        base = self.bundle.base
        if base and any(blob.digest == wanted.digest for blob in base.blobs):
            raise NotFoundError(
                f"{self._path}: {wanted.digest} is left out, and was in the bundle that this one is made on",
                advice="transship bundle apply reads it from where that one is",
            )
        return super().blob(wanted, start)

    def _lacking(self) -> Mapping[Digest, BaseBlob]:
        identity = tuple(part for one in (self._archive, *self._bases) for part in one.medium.identity)
        return _left_lately.get(identity, lambda: self.bundle.lacks(map(read_bundle, self._bases)))

    def close(self) -> None:
        """Close all archives."""
        super().close()
        for archive in self._bases:
            archive.close()


_lately: Final = Lately[BundleFile]()
_left_lately: Final = Lately[Mapping[Digest, BaseBlob]]()


def read_bundle(archive: Archive) -> BundleFile:
    """Return what the bundle.json of an archive says; that of one read lately and unchanged since is kept.

    Raises:
        NotFoundError: it has none.
        ContentError: that is malformed, or the archive not as long as it says.
    """
    return _lately.get(archive.medium.identity, lambda: _read_bundle(archive))


def _read_bundle(archive: Archive) -> BundleFile:
    path, members = archive.path, archive.members
    if BUNDLE not in members or INDEX not in members:
        raise NotFoundError(f"{path}: no {BUNDLE}, so no bundle", advice="name it as oci-archive:")
    said = BundleFile.read(archive.read(members[BUNDLE], MAX_BUNDLE), str(path))
    refuse_other_length(archive, said, members[BUNDLE].size)
    refuse_other_images(said, archive_index(archive).named, str(path))
    return said


def refuse_other_images(said: BundleFile, named: Mapping[str, Collection[Digest]], where: str) -> None:
    """Raise `ContentError` where the index.json of a bundle means others than ``said`` by the names of its images."""
    for image in said.images:
        if list(named.get(image.name, ())) != [image.digest]:
            raise ContentError(
                f"{where}: {shown(image.name)} is one image by its {INDEX} and another by its {BUNDLE}",
                advice="do not use it",
            )


def refuse_other_length(archive: Archive, said: BundleFile, own: int) -> None:
    """Raise `ContentError` where ``archive`` is not as long as ``said`` says, which stands in it in ``own`` bytes."""
    size, wanted = archive.medium.size, total(said, archive.members[INDEX].size, own)
    if wanted != size:
        raise ContentError(
            f"{archive.path}: has {size} bytes, and by its {BUNDLE} {wanted}",
            advice="a volume is missing, doubled or short; transship bundle verify says which",
        )


def names_in(path: Path) -> list[str]:
    """Return the names of the images in a bundle, sorted; raises as `BundleSource` does."""
    archive = Archive(path)
    try:
        return sorted(image.name for image in read_bundle(archive).images)
    finally:
        archive.close()


def total(said: BundleFile, index: int, own: int) -> int:
    """Return how many bytes the tar of a bundle has; ``index`` and ``own`` as `BundleFile.members` takes them."""
    sizes = (header_size(name) + size + -size % BLOCK for name, size in said.members(index, own))
    return sum(sizes) + len(END)


class BundleSink:
    """Collects images and writes a bundle on commit; one that was there before is replaced then."""

    accepts = OCI_MANIFESTS

    def __init__(self, path: Path, packing: Packing, about: BundleFile) -> None:
        """Write to ``path``; ``about`` has what bundle.json says besides images and blobs."""
        self._path = path
        self._packing = packing
        self._about = about
        self._writer = VolumeWriter(path, packing.split)
        self._contents: dict[BundledBlob, Path | bytes] = {}
        self._manifests: set[Digest] = set()
        self._images: list[BundledImage] = []
        self._roots: list[Root] = []
        self._based = {blob.digest for blob in about.base.blobs} if about.base else set()
        self._left: set[BundledBlob] = set()

    def __enter__(self) -> Self:
        """Refuse a destination that is no bundle; raises as `VolumeWriter.__enter__` does."""
        self._writer.__enter__()
        return self

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob was put already."""
        return BundledBlob(wanted.digest, wanted.size) in self._contents

    def put_blob(self, content: StoredBlob) -> None:
        """Note a blob, read on commit."""
        self._contents[BundledBlob(content.descriptor.digest, content.descriptor.size)] = content.path

    def leave(self, blob: Descriptor) -> None:
        """Note a blob that an image needs and that is not put, as the base has it.

        Raises:
            ContentError: it has not.
        """
        if blob.digest not in self._based:
            raise ContentError(f"{self._path}: {blob.digest} is neither fetched nor in the base", advice="run again")
        self._left.add(BundledBlob(blob.digest, blob.size))

    def discard(self, digest: Digest) -> None:
        """Do nothing: the whole is written anew each time."""

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Note a manifest, as `Sink.put_manifest` says.

        Raises:
            ContentError: it is none of `accepts`.
        """
        refuse_unaccepted(manifest.media_type, self.accepts, "a bundle")
        self._contents[BundledBlob(manifest.digest, len(manifest.raw))] = manifest.raw
        self._manifests.add(manifest.digest)
        if name is not None:
            self._roots.append(Root.of(manifest, name))

    def describe(self, image: BundledImage, codec: str = "") -> None:
        """Note what bundle.json says of an image that was put; ``codec`` is what packed its layers, if any were."""
        self._images.append(image)
        if codec and codec not in self._about.codecs:
            self._about = self._about.with_codec(codec)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the bundle where ``kind`` is None, durable on return."""
        try:
            if kind is None:
                self._write()
        finally:
            self._writer.__exit__(kind, error, trace)

    def _write(self) -> None:
        # Manifests are small, and without them nobody could say what is missing.
        left = self._based - self._manifests
        blobs = tuple(blob for blob in sorted(self._contents) if blob.digest not in left)
        images = tuple(sorted(self._images, key=lambda image: image.name))
        raw = self._about.of(images, blobs, (self._contents.keys() | self._left) - set(blobs)).raw()
        index = Entries.empty().add(self._roots).raw(str(self._path))
        pieces = self._pieces(((MARKER, MARKER_RAW), (INDEX, index), (BUNDLE, raw)), blobs)
        for piece in ahead(framed(pieces) if self._packing.zstd else pieces, _AHEAD):
            self._writer.write(piece)
        self._writer.commit(Checksums(Digest.of(raw), ()))

    def _pieces(self, first: tuple[tuple[str, bytes], ...], blobs: tuple[BundledBlob, ...]) -> Iterator[bytes]:
        for name, raw in first:
            yield header(name, len(raw)) + raw + bytes(-len(raw) % BLOCK)
        for blob in blobs:
            yield header(blob_name(blob.digest), blob.size)
            content = self._contents[blob]
            if isinstance(content, Path):
                yield from read_pieces(content, blob.size)
            else:
                yield content
            yield bytes(-blob.size % BLOCK)
        yield END
