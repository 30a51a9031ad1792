"""Many writers of one OCI layout: no name is lost, and the bytes do not depend on their order."""

import json
import multiprocessing
import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.conformance import keep, put
from support.figures import FULL
from support.images import make_base, make_image, write_layout
from transship.pipeline.cli import copy as _loaded_before_the_forks  # noqa: F401
from transship.pipeline.cli.main import main
from transship.pipeline.digest import Digest
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import ConflictError, ContentError, TransportError
from transship.pipeline.manifest.media_types import OCI_MANIFEST
from transship.pipeline.manifest.views import parse
from transship.pipeline.transports import index_file as index_module
from transship.pipeline.transports.entries import Entries
from transship.pipeline.transports.index_file import IndexFile, index_file
from transship.pipeline.transports.layout import Root
from transship.pipeline.transports.oci import OciSink, OciSource

_BASE = make_base("shared", 2, 2000)


def _root(seed: int | str, name: str = "") -> Root:
    return Root(OCI_MANIFEST, Digest.of(str(seed).encode()), 7, name)


def _write(path: Path, seed: int | str, name: str, store: Path) -> None:
    with OciSink(path) as sink:
        put(sink, make_image(seed, 1, docker=False, base_layers=_BASE), name, store)


def _names(path: Path) -> list[str]:
    entries = json.loads((path / "index.json").read_text())["manifests"]
    return [entry.get("annotations", {}).get("org.opencontainers.image.ref.name", "") for entry in entries]


def _one_process(path: Path, store: Path, process: int) -> None:
    for number in range(8):
        _write(path, f"{process}-{number}", f"tag-{process}-{number}", store / str(process))


def test_eight_processes_of_eight_images(tmp_path: Path) -> None:
    path = tmp_path / "layout"
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=_one_process, args=(path, tmp_path, process)) for process in range(8)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0] * 8
    assert _names(path) == sorted(f"tag-{process}-{number}" for process in range(8) for number in range(8))
    _one_process(tmp_path / "serial", tmp_path, 0)
    for number in range(7, 0, -1):
        _one_process(tmp_path / "serial", tmp_path, number)
    assert (tmp_path / "serial" / "index.json").read_bytes() == (path / "index.json").read_bytes()
    assert sorted(os.listdir(path)) == ["blobs", "index.json", "oci-layout"]


def _copy(folder: Path, number: int) -> None:
    sys.exit(main(["copy", "-q", f"oci:{folder}/from:v{number}", f"oci:{folder}/layout:t{number}"]))


def test_eight_commands_at_once_leave_eight_tags_again_and_again(tmp_path: Path) -> None:
    images = {f"v{n}": make_image(n, 1, docker=False, base_layers=_BASE) for n in range(8)}
    write_layout(tmp_path / "from", images)
    context = multiprocessing.get_context("fork")
    for _ in range(20 if FULL else 8):
        running = [context.Process(target=_copy, args=(tmp_path, number)) for number in range(8)]
        for process in running:
            process.start()
        for process in running:
            process.join(60)
        assert [process.exitcode for process in running] == [0] * 8
        assert _names(tmp_path / "layout") == [f"t{n}" for n in range(8)]
        for number in range(8):
            source = OciSource(tmp_path / "layout", f"t{number}")
            assert source.manifest().digest == images[f"v{number}"].digest
        shutil.rmtree(tmp_path / "layout")


def test_twenty_threads_keep_twenty_tags(tmp_path: Path) -> None:
    path, store = tmp_path / "layout", tmp_path / "store"
    keep(make_image(0, 1, docker=False, base_layers=_BASE), store)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: _write(path, n, f"t{n:02}", store / str(n)), range(20)))
    assert _names(path) == [f"t{n:02}" for n in range(20)]


def test_threads_that_wait_share_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "layout"
    with OciSink(path):
        pass
    writes: list[Path] = []
    begun, go_on = threading.Event(), threading.Event()
    write = write_durably

    def slow(target: Path, raw: bytes) -> None:
        writes.append(target)
        begun.set()
        go_on.wait(10)
        write(target, raw)

    monkeypatch.setattr(index_module, "write_durably", slow)
    shared = index_file(path)
    first = threading.Thread(target=shared.add, args=([_root(0, "first")],))
    first.start()
    begun.wait(10)
    others = [threading.Thread(target=shared.add, args=([_root(n, f"n{n}")],)) for n in range(10)]
    for thread in others:
        thread.start()
    while len(shared._waiting) < 10:
        pass
    go_on.set()
    for thread in [first, *others]:
        thread.join(10)
    assert len(writes) == 2
    assert len(_names(path)) == 11


def test_all_who_wait_hear_of_a_failure(tmp_path: Path) -> None:
    with OciSink(tmp_path / "layout"):
        pass
    (tmp_path / "layout" / "index.json").write_text("[]")
    with pytest.raises(ContentError, match=r"index\.json"):
        index_file(tmp_path / "layout").add([_root(1, "x")])
    assert (tmp_path / "layout" / "index.json").read_text() == "[]"


def test_unchanged_index_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "layout"
    with OciSink(path):
        pass
    shared = IndexFile(path)
    shared.add([_root(1, "one")])
    monkeypatch.setattr(index_module, "read_regular", lambda *_: pytest.fail("read again"))
    shared.add([_root(2, "two")])
    monkeypatch.undo()
    IndexFile(path).add([_root(3, "three")])
    shared.add([_root(4, "four")])
    assert _names(path) == ["four", "one", "three", "two"]


def test_lock_held_elsewhere_ends_in_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with OciSink(tmp_path):
        pass
    monkeypatch.setattr(index_module, "LOCK_SECONDS", 0.05)
    with IndexFile(tmp_path)._locked(), pytest.raises(ConflictError, match="another process"):
        IndexFile(tmp_path).add([_root(1, "x")])


def test_name_moves_and_the_old_image_stays_unnamed(tmp_path: Path) -> None:
    old, new = _root("old", "v1"), _root("new", "v1")
    raw = Entries.empty().add([old]).add([new]).raw("here")
    assert [(entry["digest"], entry.get("annotations")) for entry in json.loads(raw)["manifests"]] == [
        (str(old.digest), None),
        (str(new.digest), {"org.opencontainers.image.ref.name": "v1"}),
    ]


def test_one_image_under_two_names_keeps_both() -> None:
    entries = Entries.empty().add([_root(1, "a"), _root(1, "b"), _root(1, ""), _root(1, "a")])
    assert len(json.loads(entries.raw("here"))["manifests"]) == 2


def test_what_was_read_before_and_what_is_new_are_read_alike() -> None:
    roots = [_root(number, f"n{number}") for number in range(50)]
    some, all_ = Entries.empty().add(roots[::2]), Entries.empty().add(roots)
    raw = all_.raw("here")
    for known in (Entries.empty(), some, all_):
        assert known.read(raw, "here").raw("here") == raw
        assert known.read(raw, "here").named("n7") == all_.named("n7")
    assert all_.read(raw, "here").add([_root("x", "n7")]).named("n7") != all_.named("n7")


@pytest.mark.parametrize("name", ["},{", '"},{"', "a},{b", "\\"])
def test_names_that_look_like_the_end_of_an_entry_are_names(name: str) -> None:
    entries = Entries.empty().add([_root(1, name), _root(2, "other")])
    for known in (Entries.empty(), entries):
        again = known.read(entries.raw("here"), "here")
        assert again.raw("here") == entries.raw("here")
        assert again.named(name) == entries.named(name) is not None


def test_an_entry_that_is_none_is_refused_among_many_that_were_read_before() -> None:
    entries = Entries.empty().add([_root(1, "a"), _root(2, "b")])
    raw = entries.raw("here").replace(b'"size":', b'"size":-', 1)
    with pytest.raises(ContentError, match="not a size"):
        entries.read(raw, "here")


def test_foreign_fields_and_entries_stay(tmp_path: Path) -> None:
    write_layout(tmp_path, {"theirs": make_image(1, docker=False)})
    document = json.loads((tmp_path / "index.json").read_text())
    document["annotations"] = {"org.example.owner": "someone"}
    document["manifests"][0]["annotations"]["com.example.extra"] = "kept"
    document["org.example.field"] = [1]
    (tmp_path / "index.json").write_text(json.dumps(document))
    _write(tmp_path, 2, "ours", tmp_path.with_name(f"{tmp_path.name}-store"))
    after = json.loads((tmp_path / "index.json").read_text())
    assert after["annotations"] == document["annotations"]
    assert after["org.example.field"] == [1]
    assert document["manifests"][0] in after["manifests"]
    OciSource(tmp_path, "theirs")


def test_layout_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(ContentError, match=r"2\.0\.0"), OciSink(tmp_path):
        pass


def test_blob_that_is_a_link_is_refused(tmp_path: Path) -> None:
    image = make_image(1, docker=False)
    write_layout(tmp_path / "layout", {"v1": image})
    manifest = parse(image.manifest_raw)
    layer = next(digest for digest in image.blobs if digest != manifest.digest)
    blob = tmp_path / "layout" / "blobs" / "sha256" / layer.hex
    blob.rename(tmp_path / "outside")
    blob.symlink_to(tmp_path / "outside")
    source = OciSource(tmp_path / "layout", "v1")
    wanted = next(blob for blob in manifest.blobs if blob.digest == layer)  # type: ignore[union-attr]
    with pytest.raises(TransportError, match="symbolic link"):
        source.blob(wanted)
    with OciSink(tmp_path / "layout") as sink:
        assert not sink.has(wanted)


def test_fifo_as_blob_does_not_hang(tmp_path: Path) -> None:
    image = make_image(1, docker=False)
    write_layout(tmp_path, {"v1": image})
    blob = tmp_path / "blobs" / "sha256" / image.digest.hex
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(TransportError, match="no regular file"):
        OciSource(tmp_path, "v1").manifest()
