"""What a transport offers: a Source to read one image from, a Sink to write images to.

A Source's bytes are untrusted and have three readers: `Store.ingest`, `Pull` and `verify`.
A Sink gets blobs before the manifests that name them, children before parents, the name last.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Protocol, TypeAlias, runtime_checkable

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.signature import Signature

Write: TypeAlias = Callable[[bytes], object]
"""Takes the next bytes of a blob."""
Make: TypeAlias = Callable[[Write], object]
"""Writes a whole blob by what it is given."""


class RangeRefusedError(TransportError):
    """The medium cannot give a blob from the byte asked for; asking from byte 0 may succeed."""


class WrongSizeError(TransportError):
    """A layer is not as large as was said before it was unpacked; written without that hint it may be sound."""


class Source(Protocol):
    """One image, and every blob that it names."""

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return the manifest that the reference names, or that of ``instance``, checked against its digest.

        Raises:
            NotFoundError: there is none.
            ContentError: it does not hash to the digest asked for, or is malformed.
            TransportError: the medium failed.
        """

    def blob(self, wanted: Descriptor, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open the raw bytes of a blob from byte ``start`` on; unverified, at most as long as the medium says.

        A medium that cannot seek may raise `RangeRefusedError` for ``start > 0``; the caller begins anew.
        """

    def close(self) -> None:
        """Give back what was opened; idempotent."""


@runtime_checkable
class Referring(Protocol):
    """A Source whose medium also says what hangs on a manifest; the others know of nothing that does."""

    def referrers(self, subject: Digest) -> Sequence[Referrer]:
        """Return what hangs on the manifest ``subject``, each once; what the medium says, unchecked.

        Raises:
            ContentError: what it says is malformed.
            TransportError: the medium failed.
        """

    def has_referrer(self, referrer: Referrer) -> bool:
        """Say whether ``referrer`` is tied to its subject there, as a reader would find it; raises as `referrers`."""


@runtime_checkable
class Signed(Protocol):
    """A Source whose medium may hold signatures of its manifests; those of the others are none."""

    def signatures(self, manifest: Digest, *, instance: bool) -> Sequence[Signature]:
        """Return the signatures of a manifest, unverified; ``instance``: it is not what the reference names.

        Raises:
            ContentError: one is malformed, or there are more than `MAX_SIGNATURES`.
            TransportError: the medium failed.
        """


@runtime_checkable
class KeepsSignatures(Protocol):
    """A Sink whose medium can hold signatures; ``docker:`` has to be asked (`signatures_refused`)."""

    def signatures_refused(self, *, sigstore: bool = False) -> str:
        """Return why this destination can hold none, empty where it can; may ask the medium.

        With ``sigstore`` there are such among them.
        """

    def put_signatures(self, manifest: Digest, signatures: Sequence[Signature], *, instance: bool) -> None:
        """Make ``signatures`` those of a manifest that was put; ``instance``: it is not the root. Idempotent.

        As container tools do it: OpenPGP signatures in files replace those that were there, what a registry holds
        itself is added to.

        Raises:
            TransportError: the medium can hold none of this kind, or failed.
        """


@runtime_checkable
class SizesBlobs(Protocol):
    """A Source whose medium may hold v2s1 manifests, which do not say how large their layers are."""

    def blob_size(self, digest: Digest) -> int:
        """Return the size of a blob in bytes, as the medium says; raises as `Source.manifest`."""


def size_of(source: Source, digest: Digest) -> int:
    """Return the size of a blob that a v2s1 manifest of ``source`` names; raises as `Source.manifest`."""
    if not isinstance(source, SizesBlobs):
        raise ContentError(f"layer {digest}: a v2s1 manifest, where none can be")
    return source.blob_size(digest)


class StoredBlob(Protocol):
    """A verified blob in a store; its bytes never change."""

    @property
    def descriptor(self) -> Descriptor:
        """What it is."""

    @property
    def path(self) -> Path:
        """The file that holds exactly its bytes; may be hard-linked, never written to."""


class Sink(Protocol):
    """Where images are written. A context manager: commits on a clean exit, else leaves all as it was."""

    @property
    def accepts(self) -> frozenset[MediaType]:
        """The manifest media types it can hold; `convert` decides by it, the sink never converts."""

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob is there already, by its name and size."""

    def put_blob(self, content: StoredBlob) -> None:
        """Add a blob; idempotent; may link, mount or stream."""

    def discard(self, digest: Digest) -> None:
        """Remove a blob found damaged at the destination, so that `put_blob` writes it anew; idempotent."""

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Add a manifest whose children are there; ``name`` makes it a root under that name ("" for no name)."""

    def __enter__(self) -> "Sink":
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit where ``kind`` is None, durable on return; else undo."""


@runtime_checkable
class Taking(Protocol):
    """A Sink that may come by a blob that nobody sends it."""

    def takes(self, wanted: Descriptor) -> bool:
        """Say whether the blob is there, or could be taken from elsewhere in the same medium; then it is there.

        Raises:
            TransportError: the medium says neither.
        """


class FileBlob(NamedTuple):
    """A `StoredBlob` that is a file."""

    descriptor: Descriptor
    path: Path
