"""The store: nothing unverified is visible, what broke off is resumed, one reader a blob."""

import io
import multiprocessing
import os
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, InterruptError, NotFoundError, TransientError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import OCI_CONFIG, OCI_LAYER
from transship.pipeline.store import LostBlobError, Store
from transship.pipeline.transport import RangeRefusedError

BLOB = os.urandom(1000) * 3000
WANTED = Descriptor(OCI_LAYER, Digest.of(BLOB), len(BLOB))


class Medium:
    """Gives the blob, records offsets, and breaks off where told."""

    def __init__(self, content=BLOB, breaks=(), ranges=True):
        self.content, self.breaks, self.ranges = content, list(breaks), ranges
        self.offsets = []

    @contextmanager
    def open_at(self, start):
        self.offsets.append(start)
        if start and not self.ranges:
            raise RangeRefusedError("no ranges here")
        end = self.breaks.pop(0) if self.breaks else None
        yield _Breaking(self.content[start:end], end is not None)


class _Breaking(io.BytesIO):
    def __init__(self, data, broken):
        super().__init__(data)
        self._broken = broken

    def read(self, size=-1):
        data = super().read(min(size, 100_000))
        if not data and self._broken:
            raise TransientError("connection reset")
        return data


def partial_files(store):
    return sorted(path.name for path in (store.root / "ingest").iterdir())


def test_a_blob_is_visible_only_when_it_is_whole(tmp_path):
    store = Store(tmp_path)
    medium = Medium(breaks=[len(BLOB) // 2] * 9)
    medium.content = BLOB[: len(BLOB) // 2]
    with pytest.raises(TransientError):
        store.ingest(WANTED, medium.open_at)
    assert not store.has(WANTED)
    with pytest.raises(NotFoundError):
        store.get(WANTED)
    assert store.ingest(WANTED, Medium().open_at)
    assert store.get(WANTED).path.read_bytes() == BLOB
    assert partial_files(store) == []
    assert store.get(WANTED).path.stat().st_mode & 0o777 == 0o444


def test_a_connection_that_breaks_again_and_again_still_finishes(tmp_path):
    ends = list(range(400_000, len(BLOB), 400_000))
    medium = Medium(breaks=ends)
    assert Store(tmp_path).ingest(WANTED, medium.open_at)
    assert medium.offsets == [0, *ends]


def test_another_process_resumes_where_the_first_was_killed(tmp_path):
    with pytest.raises(TransientError):
        Store(tmp_path).ingest(WANTED, Medium(content=BLOB[:700_000], breaks=[700_000] * 9).open_at)
    medium = Medium()
    Store(tmp_path).ingest(WANTED, medium.open_at)
    assert medium.offsets == [700_000]


def test_a_medium_without_ranges_is_read_from_the_start(tmp_path):
    medium = Medium(breaks=[500_000], ranges=False)
    Store(tmp_path).ingest(WANTED, medium.open_at)
    assert medium.offsets == [0, 500_000, 0]


@pytest.mark.parametrize(
    "content",
    [BLOB[:-1] + bytes([BLOB[-1] ^ 1]), BLOB + b"x", b"x" * len(BLOB)],
    ids=["last byte", "too long", "other"],
)
def test_wrong_bytes_are_refetched_once_then_refused_and_nothing_is_kept(tmp_path, content):
    store, medium = Store(tmp_path), Medium(content=content)
    with pytest.raises(ContentError):
        store.ingest(WANTED, medium.open_at)
    assert medium.offsets == [0, 0]
    assert not store.has(WANTED)
    assert all(os.path.getsize(tmp_path / "ingest" / name) == 0 for name in partial_files(store))


def test_a_damaged_partial_blob_costs_one_clean_fetch(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "ingest" / f"sha256-{WANTED.digest.hex}").write_bytes(b"rubbish" * 1000)
    medium = Medium()
    store.ingest(WANTED, medium.open_at)
    assert medium.offsets == [7000, 0]
    assert store.has(WANTED)


def test_an_empty_blob_is_a_blob(tmp_path):
    store, empty = Store(tmp_path), Descriptor(OCI_LAYER, Digest.of(b""), 0)
    store.ingest(empty, Medium(content=b"").open_at)
    assert store.has(empty)


def test_of_many_threads_one_reads_and_the_others_wait(tmp_path):
    store, medium, results = Store(tmp_path), Medium(), []
    threads = [threading.Thread(target=lambda: results.append(store.ingest(WANTED, medium.open_at))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 11 + [True]
    assert medium.offsets == [0]


def _ingest(root, queue):
    queue.put(Store(root).ingest(WANTED, Medium().open_at))


def test_of_many_processes_one_reads_and_the_others_wait(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    workers = [context.Process(target=_ingest, args=(tmp_path, queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(queue.get() for _ in workers) == [False, False, False, True]


def test_a_cancelled_ingest_keeps_what_it_has(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(InterruptError):
        store.ingest(WANTED, Medium().open_at, lambda _count: store.cancelled.set())
    medium = Medium()
    Store(tmp_path).ingest(WANTED, medium.open_at)
    assert medium.offsets == [100_000]


def test_a_document_damaged_on_disk_is_found_and_removed(tmp_path):
    document = Store(tmp_path).put(b'{"a":1}', OCI_CONFIG)
    store = Store(tmp_path)
    assert store.read(document) == b'{"a":1}'
    path = store.path(document.digest)
    path.chmod(0o644)
    path.write_bytes(b'{"a":2}')
    fresh = Store(tmp_path)
    with pytest.raises(LostBlobError, match="damaged"):
        fresh.read(document)
    assert not fresh.has(document)


def test_what_a_killed_process_was_making_is_swept_away(tmp_path):
    store = Store(tmp_path)
    child = os.fork()
    if child == 0:
        store.derive(OCI_LAYER, lambda write: (write(b"half"), os._exit(0)))
    os.waitpid(child, 0)
    left = partial_files(store)
    assert len(left) == 1
    assert partial_files(Store(tmp_path)) == []


def _as_a_user(root, queue):
    if os.geteuid() == 0:
        os.setuid(65534)
    medium = Medium()
    queue.put((Store(root).ingest(WANTED, medium.open_at), medium.offsets))


@pytest.fixture
def user_folder():
    """Where a user who is not root may write: root may open what is read-only."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_blob_killed_between_its_last_byte_and_its_name_is_taken_as_it_is(user_folder):
    store = Store(user_folder)
    partial = Path(store.partial_path(WANTED.digest))
    partial.write_bytes(BLOB)
    partial.chmod(0o444)
    if os.geteuid() == 0:
        for path in (user_folder, *user_folder.rglob("*")):
            os.chown(path, 65534, 65534)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_as_a_user, args=(user_folder, queue))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert queue.get() == (False, [])
    assert store.path(WANTED.digest).read_bytes() == BLOB
    assert partial_files(store) == []
