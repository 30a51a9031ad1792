"""Walk what was written, from the root down, and hash every byte of it again."""

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from transship.pipeline.digest import Digest, VerifyingReader
from transship.pipeline.errors import ContentError, NotFoundError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.views import Image, Index, Manifest
from transship.pipeline.transport import Source, size_of
from transship.pipeline.tree import MAX_MANIFESTS, MAX_NESTING, named_blobs

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_LARGE: Final = 1 << 20
"""Bytes from which on another thread is worth its while."""

_REMEMBERED: Final = 8192
Holds: TypeAlias = Callable[[Descriptor], bool]
"""Says whether a medium has a blob, at its size; raises `TransportError` where it cannot."""
Fault: TypeAlias = Literal["missing", "damaged", "unreadable", "another image"]


class Finding(NamedTuple):
    """Something wrong at the destination: which digest, what kind of fault, in one line why."""

    digest: Digest
    fault: Fault
    why: str


class Verified(NamedTuple):
    """What one walk read: manifests, blobs, bytes; and what is wrong."""

    root: Descriptor | None
    manifests: int
    blobs: int
    bytes: int
    findings: tuple[Finding, ...]


class Seen:
    """The files that this process has hashed already, by inode, size and mtime.

    Images of one layout share their base layers; each file is read once, not once an image.
    """

    def __init__(self) -> None:
        self._files: dict[bytes, None] = {}
        self._lock = threading.Lock()

    def key(self, digest: Digest, stream: object) -> bytes | None:
        """Return the identity of a stream that is a whole file, None for any other."""
        try:
            found = os.fstat(stream.fileno())  # type: ignore[attr-defined]
        except (AttributeError, OSError):
            return None
        file = b"%d %d %d %d " % (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        return file + str(digest).encode()

    def has(self, key: bytes | None) -> bool:
        """Say whether that file was added, and not forgotten for others."""
        if key is None or key not in self._files:
            return False
        self.add(key)
        return True

    def add(self, key: bytes | None) -> None:
        """Remember a file found whole; forget the one that was longest not asked for."""
        if key is not None:
            with self._lock:
                self._files.pop(key, None)
                self._files[key] = None
                if len(self._files) > _REMEMBERED:
                    del self._files[next(iter(self._files))]


class _Walk:
    def __init__(self, source: Source, seen: Seen, pool: "Executor | None", holds: Holds | None) -> None:
        self.source = source
        self.kept: tuple[Digest, ...] | None = None
        self.holds = holds
        self.seen = seen
        self.pool = pool
        self.waiting: list[tuple[Descriptor, Future[None]]] = []
        self.done: set[Digest] = set()
        self.manifests = self.blobs = self.bytes = 0
        self.findings: list[Finding] = []

    def manifest(self, wanted: Descriptor, depth: int) -> None:
        """Check one manifest and all below it."""
        if wanted.digest in self.done:
            return
        self.done.add(wanted.digest)
        if depth > MAX_NESTING or self.manifests >= MAX_MANIFESTS:
            why = "indexes nested too deep" if depth > MAX_NESTING else "too many manifests"
            self.findings.append(Finding(wanted.digest, "damaged", why))
            return
        try:
            view = self.source.manifest(wanted.digest)
            blobs = named_blobs(view, partial(size_of, self.source))
        except (ContentError, TransportError) as error:
            self.note(wanted.digest, error)
            return
        self.manifests += 1
        self.bytes += len(view.raw)
        if isinstance(view, Index):
            for entry in view.manifests:
                left_out = depth == 0 and self.kept is not None and entry.digest not in self.kept
                if entry.media_type in MANIFESTS and not left_out:
                    self.manifest(entry, depth + 1)
        for blob in blobs:
            self.blob(blob)

    def blob(self, wanted: Descriptor) -> None:
        """Read one blob to its end."""
        if wanted.digest in self.done or (wanted.is_elsewhere and not self.held(wanted)):
            return
        self.done.add(wanted.digest)
        if self.pool and (self.holds or wanted.size >= _LARGE):
            self.waiting.append((wanted, self.pool.submit(self.drain, wanted)))
        else:
            self.count(wanted, lambda: self.drain(wanted))

    def held(self, foreign: Descriptor) -> bool:
        """Say whether a layer that need not be here is."""
        if self.holds:
            return False
        try:
            with self.source.blob(foreign):
                return True
        except (ContentError, TransportError):
            return False

    def drain(self, wanted: Descriptor) -> None:
        """Hash one blob, or ask for it; raise what is wrong with it."""
        if self.holds:
            if not self.holds(wanted):
                raise NotFoundError(f"blob {wanted.digest} of {wanted.size} bytes is not there")
            return
        with self.source.blob(wanted) as stream:
            key = self.seen.key(wanted.digest, stream)
            if not self.seen.has(key):
                VerifyingReader(stream, wanted.digest, wanted.size, f"blob {wanted.digest}").drain()
                self.seen.add(key)

    def count(self, wanted: Descriptor, checked: Callable[[], None]) -> None:
        """Count a blob, or add a finding for what ``checked`` raises."""
        try:
            checked()
        except (ContentError, TransportError) as error:
            self.note(wanted.digest, error)
            return
        self.blobs += 1
        self.bytes += wanted.size

    def finish(self) -> None:
        """Wait for the pool; in the order of the walk."""
        for wanted, future in self.waiting:
            self.count(wanted, future.result)

    def note(self, digest: Digest, error: Exception) -> None:
        """Add a finding for what was raised while ``digest`` was read."""
        fault: Fault = "unreadable"
        if isinstance(error, NotFoundError):
            fault = "missing"
        elif isinstance(error, ContentError):
            fault = "damaged"
        self.findings.append(Finding(digest, fault, str(error)))


def verify(
    source: Source,
    expected: Digest | None = None,
    seen: Seen | None = None,
    pool: "Executor | None" = None,
    *,
    kept: tuple[Digest, ...] | None = None,
    holds: Holds | None = None,
    also: Sequence[Descriptor] = (),
) -> Verified:
    """Re-read the image that ``source`` names; raise nothing for what is found wrong, list it.

    ``expected`` is the digest its root must have; None takes what is there. Of blobs below
    several images ``seen`` lets each file be hashed once. Large blobs are read on ``pool`` if there is one.
    Of an index only the entries ``kept`` are looked for, if given: a sparse one names more.
    ``holds`` is asked for each blob instead of reading it, where the medium is a registry, which hashes
    what it takes: manifests are read and hashed all the same. ``also`` are manifests beside the image that are read
    with all that they name.
    """
    walk = _Walk(source, seen or Seen(), pool, holds)
    walk.kept = kept
    try:
        root = source.manifest()
    except (ContentError, TransportError) as error:
        fault: Fault = "missing" if isinstance(error, NotFoundError) else "damaged"
        nothing = expected or Digest.of(b"")
        return Verified(None, 0, 0, 0, (Finding(nothing, fault, str(error)),))
    descriptor = Descriptor(root.media_type, root.digest, len(root.raw))
    if expected is not None and root.digest != expected:
        walk.findings.append(Finding(expected, "another image", f"the name leads to {root.digest}"))
    else:
        walk.manifest(descriptor, 0)
        walk.kept = None
        for other in also:
            walk.manifest(other, 0)
        walk.finish()
    return Verified(descriptor, walk.manifests, walk.blobs, walk.bytes, tuple(walk.findings))


def same_image(found: Manifest, wanted: Manifest) -> bool:
    """Say whether two manifests are of one image: the same config, which names the content of all layers."""
    return isinstance(found, Image) and isinstance(wanted, Image) and found.config.digest == wanted.config.digest
