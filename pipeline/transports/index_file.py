"""The index.json of an OCI layout, changed by many threads and processes at once.

Processes take turns by a lock on the ``oci-layout`` file, which is never replaced; threads of one
process hand their entries to whoever writes next. A write costs as much as the index is long, so
the next one waits for a multiple of what the last one took: the share of all time that goes into
writing it has a bound, however many images a layout comes to hold.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk, sync_directory
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import ConflictError, NotFoundError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.transports.entries import Entries
from transship.pipeline.transports.files import read_regular
from transship.pipeline.transports.layout import (
    INDEX,
    MARKER,
    MAX_INDEX,
    MAX_MARKER,
    Root,
    check_marker,
    choose,
    parse_index,
)
from transship.pipeline.transports.layout_referrers import LayoutReferrers, ReadManifest

LOCK_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.002
_MAX_POLL_SECONDS: Final = 0.05
_REMEMBERED: Final = 64
_REST_OF_WORK: Final = 50
_REST_OF_TIME: Final = 2
"""How many times what a write took, of the processor and in all, the next one waits for entries to come together."""
_MOST_REST_SECONDS: Final = 5.0

_State: TypeAlias = tuple[int, int, int, int]


class _Ticket:
    def __init__(self, roots: Sequence[Root], folders: Collection[Path]) -> None:
        self.roots = roots
        self.folders = folders
        self.done = False
        self.error: BaseException | None = None


class IndexFile:
    """The index.json of one layout, shared by the sinks of this process (`index_file`)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[_Ticket] = []
        self._queue = threading.Lock()
        self._turn = threading.Lock()
        self._known: tuple[Entries, _State | None] = (Entries.empty(), None)
        self._rests_until = 0.0
        self._referrers: tuple[LayoutReferrers | None, _State | None] = (None, None)

    def add(self, roots: Sequence[Root], folders: Collection[Path] = ()) -> None:
        """Make the entries of ``folders`` durable, then add ``roots``; both are durable on return.

        Those of other threads that wait are done with them: each folder is synced once, index.json written once.
        The first call of a process writes at once; one that follows soon waits for company, up to 5 s.

        Raises:
            ConflictError: another process holds the layout for over `LOCK_SECONDS`.
            ContentError: the index.json there is malformed, or the layout of another version; it is left as it is.
            TransportError: the disk refused; index.json is as it was.
        """
        ticket = _Ticket(roots, folders)
        with self._queue:
            self._waiting.append(ticket)
        with self._turn:
            if not ticket.done:
                time.sleep(max(0.0, self._rests_until - time.monotonic()))
                self._lead()
        if ticket.error is not None:
            raise ticket.error

    def _lead(self) -> None:
        with self._queue:
            tickets, self._waiting = self._waiting, []
        begun, worked = time.monotonic(), time.thread_time()
        failure: BaseException | None = None
        try:
            for folder in {folder for ticket in tickets for folder in ticket.folders}:
                with at_disk(folder):
                    sync_directory(folder)
            self._write([root for ticket in tickets for root in ticket.roots])
        except BaseException as error:
            failure = error
        for ticket in tickets:
            ticket.error, ticket.done = failure, True
        ended = time.monotonic()
        rest = _REST_OF_WORK * (time.thread_time() - worked) + _REST_OF_TIME * (ended - begun)
        self._rests_until = ended + min(rest, _MOST_REST_SECONDS)

    def _write(self, roots: list[Root]) -> None:
        with self._locked():
            old_raw, old = self._read()
            new = old.add(roots)
            raw = new.raw(str(self._path))
            if raw != old_raw:
                write_durably(self._path / INDEX, raw)
            self._known = new, self._state()

    def remove(
        self, name: str, position: int | None, unneeded: Callable[[Descriptor, Sequence[Descriptor]], list[Path]]
    ) -> Digest:
        """Remove the entry that ``name`` or ``position`` means, then the files that are ``unneeded`` without it.

        ``unneeded`` is asked with the entry and those that stay, before anything changes. Returns its digest.

        Raises:
            NotFoundError: there is no such entry, or no layout.
            Error: as `add` does, and as ``unneeded`` does.
        """
        where = str(self._path)
        with self._turn, self._locked():
            raw, entries = self._read()
            view = parse_index(raw or read_regular(self._path / INDEX, MAX_INDEX), where)
            gone = choose(view, name, position, where)
            kept = [entry for entry in view.manifests if (entry.name, entry.digest) != (gone.name, gone.digest)]
            files = unneeded(gone, kept)
            new = entries.without(gone.name, str(gone.digest))
            write_durably(self._path / INDEX, new.raw(where))
            self._known = new, self._state()
            for file in files:
                with at_disk(file):
                    file.unlink(missing_ok=True)
        return gone.digest

    def choose(self, name: str, position: int | None) -> Descriptor:
        """Return the entry that ``name`` or ``position`` means, as `layout.choose` does.

        A file that has not changed since this process read or wrote it is not read again: a batch
        reads as many images out of one layout as it has.
        """
        entry = self._current()[0].named(name)
        if position is None and entry is not None:
            return Descriptor.read(Fields(entry, f"{self._path} {INDEX}"))
        view = parse_index(read_regular(self._path / INDEX, MAX_INDEX), str(self._path))
        return choose(view, name, position, str(self._path))

    def lists(self, name: str, digest: Digest) -> bool:
        """Say whether there is an entry of that digest, under ``name`` unless that is empty; raises as `choose`."""
        return self._current()[0].has(name, str(digest))

    def referrers(self, read: ReadManifest) -> LayoutReferrers:
        """Return what hangs on the layout's manifests, which ``read`` returns; found anew where the file has changed.

        Raises as `choose` does.
        """
        entries, state = self._current()
        found, of = self._referrers
        if found is None or of != state:
            view = parse_index(entries.raw(str(self._path)), str(self._path))
            self._referrers = found, _ = LayoutReferrers(view.manifests, read), state
        return found

    def _current(self) -> tuple[Entries, _State]:
        """Return the entries there, read again only where the file has changed, and the state that they are of."""
        state = self._state()
        entries, known = self._known
        if known != state:
            entries = entries.read(read_regular(self._path / INDEX, MAX_INDEX), str(self._path))
            if self._state() == state:
                self._known = entries, state
        return entries, state

    def _read(self) -> tuple[bytes, Entries]:
        """Return the bytes there, and their entries."""
        entries, known = self._known
        try:
            state = self._state()
        except NotFoundError:
            return b"", Entries.empty()
        if known == state:
            return entries.raw(str(self._path)), entries
        raw = read_regular(self._path / INDEX, MAX_INDEX)
        return raw, entries.read(raw, str(self._path))

    def _state(self) -> _State:
        with at_disk(self._path / INDEX):
            found = os.lstat(self._path / INDEX)
        return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size

    @contextmanager
    def _locked(self) -> Iterator[None]:
        marker = self._path / MARKER
        with at_disk(marker):
            # Opened for writing: over NFS flock is a record lock, which needs that.
            handle = os.open(marker, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._wait(handle)
            with at_disk(marker):
                raw = os.pread(handle, MAX_MARKER + 1, 0)
            # What a later version means by the rest nobody here knows.
            check_marker(raw, str(self._path))
            yield
        finally:
            os.close(handle)

    def _wait(self, handle: int) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        pause = _POLL_SECONDS
        while True:
            with at_disk(self._path / MARKER), suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"{self._path}: another process has held its lock for {LOCK_SECONDS:.0f} s",
                    advice="wait for it to end, or end it",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _MAX_POLL_SECONDS)


_files: dict[Path, IndexFile] = {}
_named: dict[Path, IndexFile] = {}
_files_lock: Final = threading.Lock()


def index_file(path: Path) -> IndexFile:
    """Return this process's `IndexFile` of the layout at ``path``.

    Of two for one layout, after the least recent was forgotten, both are right: they take turns by its lock.
    """
    # Most callers name it as the last one did; following its links costs a system call for each part of it.
    found = _named.get(path)
    if found is None:
        with _files_lock:
            found = _kept(_files, path.resolve(), lambda: IndexFile(path.resolve()))
            _kept(_named, path, lambda: found)
    return found


def _kept(files: dict[Path, IndexFile], path: Path, make: Callable[[], IndexFile]) -> IndexFile:
    found = files.pop(path, None) or make()
    files[path] = found
    if len(files) > _REMEMBERED:
        del files[next(iter(files))]
    return found
