"""``containers-storage:``, images in Podman's storage, by Podman itself. One platform an image, its layers unpacked."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import DOCKER_MANIFEST, OCI_MANIFEST
from transship.pipeline.manifest.views import Image, Manifest
from transship.pipeline.reference import StorageReference
from transship.pipeline.transport import StoredBlob
from transship.pipeline.transports.directory import ROOT, VERSION, VERSION_RAW, file_name
from transship.pipeline.transports.docker_archive import DockerArchiveSource
from transship.pipeline.transports.oci import refuse_unaccepted
from transship.pipeline.transports.podman import Podman
from transship.pipeline.transports.spool import Spools

_saved: Final = Spools(4)
"""Images saved lately: each is opened several times on its way, and each time would cost the whole image."""


def open_storage(reference: StorageReference) -> DockerArchiveSource:
    """Return the image that the storage has now by that name, saved to an unnamed temporary file.

    Its manifest is made here, over the very config and the plain layers: the storage keeps layers unpacked, and its
    manifest names packed ones that are gone.

    Raises:
        NotFoundError: there is none.
        TransportError: Podman is not there or failed, or the disk refused.
    """
    podman = Podman(reference.store)
    image_id = podman.image_id(reference)
    stream = _saved.get((reference.store, image_id), lambda: podman.save(image_id))
    return DockerArchiveSource(Path(str(reference)), stream=stream)


class StorageSink:
    """Loads an image as it is put, manifest as it is; gives it the name of the reference on commit."""

    accepts = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})

    def __init__(self, reference: StorageReference) -> None:
        """Ask whether the storage opens, and begin nothing.

        Raises:
            UsageError: the reference has an ID or a digest, or no name.
            TransportError: Podman is not installed, or cannot open it.
        """
        if reference.image_id or reference.named is None or reference.named.digest:
            raise UsageError(f"{reference}: cannot be written to", advice="expected containers-storage:[store]name:tag")
        self._reference = reference
        self._podman = Podman(reference.store)
        self._podman.check()
        self._blobs: dict[Digest, StoredBlob] = {}
        self._roots: list[str] = []

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob was put already."""
        found = self._blobs.get(wanted.digest)
        return found is not None and found.descriptor.size == wanted.size

    def put_blob(self, content: StoredBlob) -> None:
        """Note a blob, read with its manifest."""
        self._blobs[content.descriptor.digest] = content

    def discard(self, digest: Digest) -> None:
        """Do nothing: the storage heals its own layers."""

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Load an image; idempotent; it has no name until commit.

        Raises:
            ContentError: it is none of `accepts`, or Podman made another image of it.
            UsageError: it names a blob that was not put.
            TransportError: Podman failed.
        """
        refuse_unaccepted(manifest.media_type, self.accepts, "containers-storage")
        if not isinstance(manifest, Image):
            raise AssertionError("the media type of an image, another view")
        with at_disk(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="transship-") as text:
            folder = Path(text)
            for blob in manifest.blobs:
                self._link(blob, folder)
            (folder / ROOT).write_bytes(manifest.raw)
            (folder / VERSION).write_bytes(VERSION_RAW)
            image_id = self._podman.load(folder)
        if image_id != manifest.config.digest.hex:
            raise ContentError(f"{self._reference}: podman made image {image_id} of config {manifest.config.digest}")
        if name is not None:
            self._roots.append(image_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Name the image where ``kind`` is None; else what was loaded stays without a name, for podman image prune."""
        for image_id in self._roots if kind is None else ():
            self._podman.tag(image_id, self._reference.name)

    def _link(self, wanted: Descriptor, folder: Path) -> None:
        blob = self._blobs.get(wanted.digest)
        if blob is None or blob.descriptor.size != wanted.size:
            raise UsageError(f"{self._reference}: blob {wanted.digest} was not put before its manifest")
        # Podman follows a symbolic link, which costs nothing on any file system.
        os.symlink(blob.path.resolve(), folder / file_name(wanted.digest))
