"""``oci:``, an OCI layout in a folder. Source: OCI image-spec image-layout.md."""

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from transship.pipeline.digest import Digest, check
from transship.pipeline.disk import at_disk, has_file, make_folder, sync_or_drop
from transship.pipeline.durable import link_or_copy, scratch_beside, write_durably
from transship.pipeline.errors import ConflictError, ContentError, NotFoundError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import OCI_MANIFESTS, MediaType
from transship.pipeline.manifest.referrer import Referrer, beside
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.transport import StoredBlob
from transship.pipeline.transports.files import open_regular, read_regular
from transship.pipeline.transports.index_file import index_file
from transship.pipeline.transports.layout import (
    INDEX,
    MARKER,
    MARKER_RAW,
    MAX_MARKER,
    Root,
    check_marker,
    conflict,
)
from transship.pipeline.transports.layout_referrers import LayoutReferrers

_BLOB_MODE: Final = 0o444
_BLOBS: Final = "blobs"


class OciSource:
    """One image of a layout, by name or position."""

    def __init__(self, path: Path, name: str = "", index: int | None = None, blobs: Path | None = None) -> None:
        """Read the layout's index; raises as `Source.manifest` does. ``blobs`` is where its blobs are, if elsewhere."""
        self._path = path
        self._blobs = blobs or path / _BLOBS
        try:
            check_marker(read_regular(path / MARKER, MAX_MARKER), str(path))
            self._root = index_file(path).choose(name, index)
            self._name = name or self._root.name
        except NotFoundError as error:
            if (path / INDEX).exists():
                raise
            raise NotFoundError(f"{path} is no OCI layout: {error}") from error

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return a manifest, as `Source.manifest` says."""
        digest = instance or self._root.digest
        media_type = self._root.media_type if digest == self._root.digest else ""
        what = f"{self._path} manifest {digest}"
        raw = read_regular(_file(self._blobs, digest), MAX_DOCUMENT)
        check(raw, digest, what)
        return parse(raw, media_type, what)

    def blob(self, wanted: Descriptor, start: int = 0) -> BinaryIO:
        """Open a blob, as `Source.blob` says."""
        return open_regular(_file(self._blobs, wanted.digest), start)

    def referrers(self, subject: Digest) -> list[Referrer]:
        """Return what hangs on a manifest; see `transport.Referring`."""
        return self._layout().referrers(subject, self._name)

    def has_referrer(self, referrer: Referrer) -> bool:
        """Say whether index.json names it; see `transport.Referring`."""
        name = beside(self._name, referrer.tag) if referrer.tag else ""
        return index_file(self._path).lists(name, referrer.manifest.digest)

    def _layout(self) -> LayoutReferrers:
        return index_file(self._path).referrers(lambda entry: self.manifest(entry.digest))

    def close(self) -> None:
        """Nothing is kept open."""


class OciSink:
    """Adds images to a layout, made where there is none; many sinks, threads and processes may at once.

    What a failed copy leaves are blobs and manifests that no name leads to: whole, and there for the next try.
    """

    accepts = OCI_MANIFESTS

    def __init__(self, path: Path, blobs: Path | None = None) -> None:
        """``blobs`` is where blobs are kept, if not in the layout: a folder that several share."""
        self._path = path
        self._blobs = blobs or path / _BLOBS
        self._own = () if blobs else (self._blobs,)
        self._roots: list[Root] = []
        self._manifests: list[Path] = []
        self._folders: set[Path] = set()

    def __enter__(self) -> Self:
        """Make the layout where there is none.

        Raises:
            ConflictError: the folder has something else in it.
            ContentError: it is a layout of another version.
        """
        with at_disk(self._path):
            make_folder(self._path)
        try:
            check_marker(read_regular(self._path / MARKER, MAX_MARKER), str(self._path))
        except NotFoundError:
            self._begin()
        return self

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob is there, a regular file of its size."""
        return has_file(_file(self._blobs, wanted.digest), wanted.size)

    def put_blob(self, content: StoredBlob) -> None:
        """Link or copy a blob in, as `Sink.put_blob` says."""
        link_or_copy(content.path, self._blob(content.descriptor.digest))

    def discard(self, digest: Digest) -> None:
        """Remove a blob found damaged, as `Sink.discard` says."""
        path = _file(self._blobs, digest)
        refuse_links(path.parent, *self._own)
        with at_disk(path):
            path.unlink(missing_ok=True)

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Add a manifest, as `Sink.put_manifest` says.

        Raises:
            ContentError: it is none of `accepts`.
        """
        refuse_unaccepted(manifest.media_type, self.accepts, "an OCI layout")
        path = self._blob(manifest.digest)
        if not has_file(path, len(manifest.raw)) or read_regular(path, MAX_DOCUMENT) != manifest.raw:
            write_durably(path, manifest.raw, mode=_BLOB_MODE, durable=False)
        self._manifests.append(path)
        if name is not None:
            self._roots.append(Root.of(manifest, name))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make all durable, then add the names, where ``kind`` is None."""
        if kind is None:
            for path in self._manifests:
                with open_regular(path) as stream, at_disk(path):
                    sync_or_drop(stream.fileno(), path)
            index_file(self._path).add(self._roots, self._folders)

    def _blob(self, digest: Digest) -> Path:
        path = _file(self._blobs, digest)
        if path.parent not in self._folders:
            refuse_links(path.parent, *self._own)
            with at_disk(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._folders |= {path.parent, path.parent.parent}
        return path

    def _begin(self) -> None:
        """Write the marker; of several at once the first one's stays, for the lock is on it."""
        marker = self._path / MARKER
        with at_disk(self._path):
            names = os.listdir(self._path)
        if not all(MARKER in name for name in names):
            if marker.exists():
                return
            raise conflict(str(self._path))
        scratch = scratch_beside(marker)
        try:
            write_durably(scratch, MARKER_RAW)
            with at_disk(marker), suppress(FileExistsError):
                os.link(scratch, marker)
        finally:
            with suppress(OSError):
                scratch.unlink()


def refuse_unaccepted(media_type: MediaType, accepts: frozenset[MediaType], where: str) -> None:
    """Raise `ContentError` unless ``media_type`` is one that ``where`` can hold."""
    if media_type not in accepts:
        raise ContentError(f"{where} cannot hold {media_type}", advice="convert the image, or choose another format")


def refuse_links(*folders: Path) -> None:
    """Raise `ConflictError` where one is a symbolic link: what is written or removed there would be elsewhere."""
    for folder in folders:
        if folder.is_symlink():
            raise ConflictError(
                f"{shown(str(folder), 400)} is a symbolic link; nothing is written through it",
                advice="name where it leads, or keep blobs elsewhere by --dest-shared-blob-dir",
            )


def _file(blobs: Path, digest: Digest) -> Path:
    return blobs / digest.algorithm / digest.hex
