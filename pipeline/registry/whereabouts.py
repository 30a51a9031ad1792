"""Which repositories of one registry are known to have which blobs, and who is bringing one there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from transship.pipeline.digest import Digest


class Whereabouts:
    """What this process has seen or brought; never complete, and out of date if others delete. Thread-safe."""

    def __init__(self) -> None:
        self._found: dict[Digest, dict[str, None]] = {}
        self._locks: dict[Digest, threading.Lock] = {}
        self._lock = threading.Lock()

    def has(self, repository: str, digest: Digest) -> bool:
        """Say whether ``repository`` is known to have the blob."""
        return repository in self._found.get(digest, ())

    def elsewhere(self, digest: Digest) -> str:
        """Return the repository that the blob was first known in, empty for none."""
        with self._lock:
            return next(iter(self._found.get(digest, ())), "")

    def add(self, repository: str, digest: Digest) -> None:
        """Remember that ``repository`` has the blob."""
        with self._lock:
            self._found.setdefault(digest, {})[repository] = None

    def forget(self, repository: str, digest: Digest) -> None:
        """Take back what `add` said; idempotent."""
        with self._lock:
            self._found.get(digest, {}).pop(repository, None)

    @contextmanager
    def alone(self, digest: Digest) -> Iterator[None]:
        """Let one thread at a time bring a blob to this registry: the next finds it there, or mounts it."""
        with self._lock:
            lock = self._locks.setdefault(digest, threading.Lock())
        with lock:
            yield
