"""``oci-archive:``, an OCI layout in a tar. Written whole and at once, the same bytes every time."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from transship.pipeline.digest import Digest, check
from transship.pipeline.errors import NotFoundError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import OCI_MANIFESTS
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.transport import StoredBlob
from transship.pipeline.transports.archive_index import archive_index
from transship.pipeline.transports.entries import Entries
from transship.pipeline.transports.layout import (
    INDEX,
    MARKER,
    MARKER_RAW,
    Root,
    blob_name,
)
from transship.pipeline.transports.layout_referrers import LayoutReferrers
from transship.pipeline.transports.oci import refuse_unaccepted
from transship.pipeline.transports.tar import Archive
from transship.pipeline.transports.tar_writer import TarWriter, refuse_foreign


class OciArchiveSource:
    """One image of a layout in a tar, plain or compressed; links in it are refused."""

    def __init__(self, path: Path, name: str = "", index: int | None = None) -> None:
        """Open the archive and read its index; raises as `Archive` and `Source.manifest` do."""
        self._path = path
        self._archive = Archive(path)
        try:
            self._index = archive_index(self._archive)
            self._root = self._index.choose(name, index)
            self._name = name or self._root.name
        except NotFoundError as error:
            self.close()
            raise NotFoundError(error.message, advice=error.advice or "is it an OCI archive?") from error
        except BaseException:
            self.close()
            raise

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return a manifest, as `Source.manifest` says."""
        digest = instance or self._root.digest
        media_type = self._root.media_type if digest == self._root.digest else ""
        what = f"{self._path} manifest {digest}"
        raw = self._read(blob_name(digest), MAX_DOCUMENT)
        check(raw, digest, what)
        return parse(raw, media_type, what)

    def blob(self, wanted: Descriptor, start: int = 0) -> BinaryIO:
        """Open a blob, as `Source.blob` says."""
        return self._archive.open(self._archive.find(blob_name(wanted.digest)), start)

    def referrers(self, subject: Digest) -> list[Referrer]:
        """Return what hangs on a manifest; see `transport.Referring`."""
        return self._hanging().referrers(subject, self._name)

    def has_referrer(self, referrer: Referrer) -> bool:
        """Say whether the archive names it; see `transport.Referring`."""
        return self._hanging().has(referrer, self._name)

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def _hanging(self) -> LayoutReferrers:
        return self._index.referrers(lambda entry: self.manifest(entry.digest))

    def _read(self, name: str, limit: int) -> bytes:
        return self._archive.read(self._archive.find(name), limit)


class OciArchiveSink:
    """Collects images and writes them into one tar on commit; an archive there before is replaced then."""

    accepts = OCI_MANIFESTS

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tar = TarWriter(path)
        self._roots: list[Root] = []

    def __enter__(self) -> Self:
        """Refuse a destination that is no archive; raises as `refuse_foreign` does."""
        refuse_foreign(self._path)
        return self

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob was put already."""
        return self._tar.has(blob_name(wanted.digest), wanted.size)

    def put_blob(self, content: StoredBlob) -> None:
        """Note a blob, read on commit."""
        self._tar.add(blob_name(content.descriptor.digest), content.path, content.descriptor.size)

    def discard(self, digest: Digest) -> None:
        """Do nothing: the whole is written anew each time."""

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Note a manifest, as `Sink.put_manifest` says.

        Raises:
            ContentError: it is none of `accepts`.
        """
        refuse_unaccepted(manifest.media_type, self.accepts, "an OCI archive")
        self._tar.add(blob_name(manifest.digest), manifest.raw)
        if name is not None:
            self._roots.append(Root.of(manifest, name))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the archive where ``kind`` is None, durable on return."""
        if kind is None:
            self._tar.add(MARKER, MARKER_RAW)
            self._tar.add(INDEX, Entries.empty().add(self._roots).raw(str(self._path)))
            self._tar.write()
