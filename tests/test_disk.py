"""Durable writes, and what they do where the disk cannot link, is full, or refuses."""

import errno
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from support.conformance import put, tree
from support.images import make_image
from transship.pipeline import disk, durable
from transship.pipeline.errors import DeniedError, NotFoundError, TransportError
from transship.pipeline.reference import PathReference
from transship.pipeline.transports import exchange as exchange_module
from transship.pipeline.transports import open_sink
from transship.pipeline.transports.exchange import exchange


def failing(number: int) -> Callable[..., int]:
    def fail(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("lasting", [True, False])
def test_write_replaces_and_sets_the_mode(tmp_path: Path, lasting: bool) -> None:
    path = tmp_path / "file"
    for raw, mode in ((b"old", 0o644), (b"new" * 1000, 0o444), (b"", 0o600)):
        durable.write_durably(path, raw, mode=mode, durable=lasting)
        assert path.read_bytes() == raw
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "rename", "fchmod"])
def test_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, step, failing(errno.ENOSPC))
    with pytest.raises(TransportError, match=r"file: No space left on device; free some space"):
        durable.write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_copy_where_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 3_000_000)
    source.chmod(0o444)
    monkeypatch.setattr(os, "link", failing(number))
    durable.link_or_copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_ino != source.stat().st_ino
    assert stat.S_IMODE(target.stat().st_mode) == 0o444
    monkeypatch.setattr(os, "copy_file_range", failing(errno.EXDEV))
    target.unlink()
    durable.link_or_copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_link_is_a_link_and_idempotent(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x")
    durable.link_or_copy(source, target)
    durable.link_or_copy(source, target)
    assert target.stat().st_ino == source.stat().st_ino
    assert sorted(tmp_path.iterdir()) == [source, target]


def test_damaged_and_linked_targets_are_replaced(tmp_path: Path) -> None:
    source, target, elsewhere = tmp_path / "source", tmp_path / "target", tmp_path / "elsewhere"
    source.write_bytes(b"whole")
    elsewhere.write_bytes(b"other")
    for prepare in (lambda: target.write_bytes(b"cut"), lambda: target.symlink_to(elsewhere)):
        target.unlink(missing_ok=True)
        prepare()
        durable.link_or_copy(source, target)
        assert not target.is_symlink()
        assert target.read_bytes() == b"whole"
    assert elsewhere.read_bytes() == b"other"


@pytest.mark.parametrize(
    ("number", "family"), [(errno.EACCES, DeniedError), (errno.ENOENT, NotFoundError), (errno.EIO, TransportError)]
)
def test_family_of_an_error(number: int, family: type[Exception]) -> None:
    found = disk.disk_error(Path("/a\nb"), OSError(number, "x"))
    assert type(found) is family
    assert "\n" not in str(found)


@pytest.mark.parametrize("kernel", [True, False])
def test_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: bool) -> None:
    if not kernel:
        monkeypatch.setattr(exchange_module, "_renameat2", lambda: None)
    made, path = tmp_path / "made", tmp_path / "path"
    made.mkdir()
    (made / "new").touch()
    exchange(made, path)
    assert [(each.name) for each in path.iterdir()] == ["new"]
    made.mkdir()
    (made / "newer").touch()
    exchange(made, path)
    assert [(each.name) for each in path.iterdir()] == ["newer"]
    assert [(each.name) for each in made.iterdir()] == ["new"]


def test_leftovers_of_the_killed_are_swept_and_those_of_the_living_not(tmp_path: Path) -> None:
    path = tmp_path / "out"
    dead, living = (durable.scratch_beside(path) for _ in range(2))
    other = durable.scratch_beside(tmp_path / "another")
    for scratch in (dead, living, other):
        scratch.mkdir()
        (scratch / "blob").touch()
    handle = os.open(living, os.O_RDONLY)
    durable.claim(handle)
    durable.sweep(path)
    os.close(handle)
    assert sorted(tmp_path.iterdir()) == sorted([living, other])


def test_a_folder_is_swept_of_leftovers_of_any_name_and_of_nothing_else(tmp_path: Path) -> None:
    left, living, foreign = (
        durable.scratch_beside(tmp_path / "a"),
        durable.scratch_beside(tmp_path / "b"),
        tmp_path / ".c.partial",
    )
    for path in (left, living, foreign):
        path.touch()
    with living.open() as stream:
        durable.claim(stream.fileno())
        durable.sweep_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([living, foreign])


@pytest.mark.parametrize("transport", ["dir", "oci-archive"])
def test_killed_writer_leaves_the_old_and_the_next_one_cleans_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    path, image = tmp_path / "out", make_image(1, docker=False)

    def write() -> None:
        with open_sink(PathReference(transport, str(path))) as sink:
            put(sink, image, "v1", tmp_path / "store")

    write()
    before = tree(path)
    child = os.fork()
    if not child:
        # rename(2) and renameat2(2) are the last steps: die just before.
        monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        write()
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert tree(path) == before
    assert len(list(tmp_path.glob(".out.*.partial"))) == 1
    write()
    assert tree(path) == before
    assert list(tmp_path.glob(".out.*.partial")) == []
