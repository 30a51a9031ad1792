"""The content store of a run: blobs by digest, verified before they are visible.

`Store.ingest` keeps a Source's untrusted bytes: it hashes while it writes, keeps what it has of a blob that broke off,
and goes on from there, also in another process after a ``kill -9``. A blob under its final name is whole and durable.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from transship.pipeline.digest import ALGORITHMS, Digest
from transship.pipeline.disk import at_disk, disk_error, sync_directory, sync_or_drop
from transship.pipeline.doubts import Doubts
from transship.pipeline.durable import claim, open_locked, scratch_beside, sweep, write_durably
from transship.pipeline.errors import ContentError, InterruptError, NotFoundError
from transship.pipeline.ingest import Ingest, OnBytes, OpenAt
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import SCHEMA1, MediaType
from transship.pipeline.transport import FileBlob

_LOCK_POLL: Final = 0.02
_MODE: Final = 0o444
_RECENT_COUNT: Final = 256
_RECENT_SIZE: Final = 64 << 10


class LostBlobError(NotFoundError):
    """The store no longer has, whole, what it had: the tasks that brought it are to be done again."""

    retriable = True


class Store:
    """Blobs in ``root/blobs/<algorithm>/<hex>``, partial ones in ``root/ingest``. Safe across threads and processes."""

    def __init__(self, root: Path, durable: bool = True) -> None:
        """``durable`` false is for a store that nobody opens again, whose blobs are copied and not linked."""
        self.root = root
        self.durable = durable
        self._blobs = str(root / "blobs")
        self._incoming = root / "ingest"
        self._partial = str(self._incoming)
        self.cancelled = threading.Event()
        """Once set, every ingest in this process ends at its next piece, keeping what it has."""
        self.doubts = Doubts()
        self._recent: dict[Digest, bytes] = {}
        with at_disk(root):
            for directory in (root / "blobs" / "sha256", self._incoming):
                directory.mkdir(parents=True, exist_ok=True)
        sweep(self._incoming / "derived")

    def path(self, digest: Digest) -> Path:
        """Return where the blob of ``digest`` is or would be."""
        return Path(self._final(digest))

    def partial_path(self, digest: Digest) -> str:
        """Return where the blob of ``digest`` is while it comes in."""
        return f"{self._partial}/{digest.algorithm}-{digest.hex}"

    def _final(self, digest: Digest) -> str:
        return f"{self._blobs}/{digest.algorithm}/{digest.hex}"

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob is here at its full size; one that is doubted is hashed, and removed if damaged."""
        path = self._final(wanted.digest)
        with suppress(OSError):
            if os.stat(path).st_size == wanted.size:
                # A signed v2s1 manifest is not named by all its bytes.
                return not self.doubts or wanted.media_type in SCHEMA1 or self.doubts.dispelled(wanted.digest, path)
        return False

    def size(self, digest: Digest) -> int:
        """Return the size in bytes of a blob here; raises `LostBlobError` where there is none."""
        try:
            return os.stat(self._final(digest)).st_size
        except OSError as error:
            raise LostBlobError(
                f"blob {digest} is not in the store {self.root}", advice="run again to fetch it"
            ) from error

    def holds(self, digest: Digest) -> bool:
        """Say whether a blob made here is here, whatever its size; doubted as in `has`."""
        return os.path.exists(path := self._final(digest)) and self.doubts.dispelled(digest, path)

    def get(self, wanted: Descriptor) -> FileBlob:
        """Return the blob.

        Raises:
            LostBlobError: it is not here at its full size.
        """
        if not self.has(wanted):
            raise LostBlobError(f"blob {wanted.digest} is not in the store {self.root}", advice="run again to fetch it")
        return FileBlob(wanted, self.path(wanted.digest))

    def read(self, wanted: Descriptor) -> bytes:
        """Return the verified bytes of a small document (manifest, config).

        Raises:
            LostBlobError: it is not here, or does not hash to its digest; it is removed then.
            ContentError: it is over 4 MiB.
        """
        if wanted.size > MAX_DOCUMENT:
            raise ContentError(f"{wanted.media_type} {wanted.digest}: {wanted.size} bytes, limit {MAX_DOCUMENT}")
        raw = self._recent.get(wanted.digest)
        if raw is None:
            raw = self.get(wanted).path.read_bytes()
            if wanted.media_type not in SCHEMA1 and Digest.of(raw, wanted.digest.algorithm) != wanted.digest:
                self.discard(wanted.digest)
                raise LostBlobError(
                    f"blob {wanted.digest} in the store is damaged", advice="run again to fetch it anew"
                )
            self._remember(wanted.digest, raw)
        return raw

    def put(
        self, raw: bytes, media_type: MediaType, digest: Digest | None = None, *, durable: bool = True
    ) -> Descriptor:
        """Add a small document; idempotent; durable once `sync` returns, unless that is not asked for.

        ``digest`` is set where the name is not the SHA-256 of ``raw`` (signed v2s1).
        """
        descriptor = Descriptor(media_type, digest or Digest.of(raw), len(raw))
        if not self.has(descriptor):
            write_durably(self.path(descriptor.digest), raw, mode=_MODE, durable=self.durable and durable)
        self._remember(descriptor.digest, raw)
        return descriptor

    def ingest(self, wanted: Descriptor, open_at: OpenAt, on_bytes: OnBytes = lambda _: None) -> bool:
        """Bring the blob in, reading it by ``open_at(offset)``; return whether bytes were read.

        Resumes what an earlier call left. Of concurrent calls for one blob one reads, the others
        wait. ``on_bytes`` hears of each piece read, in bytes.

        Raises:
            ContentError: size or digest differ, twice; nothing is kept.
            TransportError: the source failed; what came is kept for the next call.
        """
        while not self.has(wanted):
            handle = self._claimed(wanted)
            if handle is not None:
                try:
                    return self._ingest_into(handle, wanted, open_at, on_bytes)
                finally:
                    os.close(handle)
            self.check_cancelled()
            time.sleep(_LOCK_POLL)
        return False

    def _ingest_into(self, handle: int, wanted: Descriptor, open_at: OpenAt, on_bytes: OnBytes) -> bool:
        def heard(count: int) -> None:
            on_bytes(count)
            self.check_cancelled()

        path = self.partial_path(wanted.digest)
        read = Ingest(wanted, handle, path, open_at, heard, write_back=self.durable).run()
        self._publish(wanted, handle)
        return read

    def derive(self, media_type: MediaType, make: Callable[[Callable[[bytes], object]], Digest]) -> Descriptor:
        """Add a blob made here: ``make(write)`` writes it and returns its digest; idempotent."""
        scratch = scratch_beside(self._incoming / "derived")
        try:
            with at_disk(scratch), scratch.open("xb") as stream:
                claim(stream.fileno())
                digest = make(self.unless_cancelled(stream.write))
                size = stream.tell()
                stream.flush()
                if self.durable:
                    os.fsync(stream.fileno())
                os.fchmod(stream.fileno(), _MODE)
            with at_disk(scratch):
                scratch.rename(self.path(digest))
        finally:
            scratch.unlink(missing_ok=True)
        return Descriptor(media_type, digest, size)

    def unless_cancelled(self, write: Callable[[bytes], object]) -> Callable[[bytes], None]:
        """Return ``write`` with `check_cancelled` before each call."""

        def checked(data: bytes) -> None:
            self.check_cancelled()
            write(data)

        return checked

    def discard(self, digest: Digest) -> None:
        """Remove a blob found damaged; idempotent."""
        self._recent.pop(digest, None)
        with at_disk(self.root):
            self.path(digest).unlink(missing_ok=True)

    def check_cancelled(self) -> None:
        """Raise `InterruptError` once `cancelled` is set."""
        if self.cancelled.is_set():
            raise InterruptError("interrupted", advice="run again to go on")

    def sync(self) -> None:
        """Make the names of all blobs brought in so far durable."""
        # Others may leave files there, such as those of a file manager.
        for algorithm in ALGORITHMS & set(os.listdir(self._blobs)) if self.durable else ():
            sync_directory(f"{self._blobs}/{algorithm}")

    def _remember(self, digest: Digest, raw: bytes) -> None:
        """Keep a small document at hand: each stage of an image reads its manifest again."""
        if len(raw) <= _RECENT_SIZE:
            while len(self._recent) >= _RECENT_COUNT:
                with suppress(StopIteration, KeyError, RuntimeError):
                    del self._recent[next(iter(self._recent))]
            self._recent[digest] = raw

    def _claimed(self, wanted: Descriptor) -> int | None:
        """Return the partial file, open and locked, or None where another ingest has it or has ended."""
        path = self.partial_path(wanted.digest)
        try:
            handle = open_locked(path)
        except OSError as error:
            raise disk_error(path, error) from error
        if handle is not None and self.has(wanted):
            os.close(handle)
            return None
        return handle

    def _publish(self, wanted: Descriptor, handle: int) -> None:
        """Rename a partial file, verified by its ingest, to its final name; its data is durable first."""
        final = self._final(wanted.digest)
        try:
            if self.durable:
                sync_or_drop(handle, self.partial_path(wanted.digest))
            os.fchmod(handle, _MODE)
            if wanted.digest.algorithm != "sha256":
                os.makedirs(os.path.dirname(final), exist_ok=True)
            os.rename(self.partial_path(wanted.digest), final)
        except OSError as error:
            raise disk_error(final, error) from error
