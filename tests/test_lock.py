"""What is written into a lock, what is wrong with one, and what is refused of `transship lock`: one line each."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.command import command, tree
from support.images import ImageBytes, make_image, make_multi, write_layout
from support.locks import DIGEST, lock
from support.serving import write_directory, write_docker_archive
from transship.pipeline.cli.batches import locked
from transship.pipeline.cli.main import command_parser, main_parser
from transship.pipeline.errors import TransportError
from transship.pipeline.manifest.document import dump_lines
from transship.pipeline.manifest.platform import host

ANOTHER = "sha256:" + "b" * 64
IMAGE, OTHER = make_image("locked", layers=1, docker=False), make_image("not locked", layers=1, docker=False)


def written(folder: Path, spoil: Callable[[Any], object], images: str = "") -> Path:
    batch = folder / "batch.yaml"
    batch.write_text(f"version: 1\nimages:\n  - {{from: 'oci:in:v1', to: [dir:out]}}\n{images}")
    lock(batch, folder / "b.lock.json")
    document = json.loads((folder / "b.lock.json").read_text())
    spoil(document)
    (folder / "b.lock.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return folder / "b.lock.json"


def first(document: Any) -> Any:
    return document["images"][0]


BAD: dict[str, tuple[Callable[[Any], object], str]] = {
    "another version": (lambda lock: lock.update(lock=2), "key lock: is 2, expected 1; make the lock again"),
    "a key of a batch": (lambda lock: lock.update(version=1), "key version: unknown key"),
    "no image": (lambda lock: lock.update(images=[]), "key images: "),
    "nothing resolved": (lambda lock: first(lock).pop("resolved"), "key images[0]: 'resolved' is missing"),
    "a selector": (lambda lock: first(lock).update(tags=["v1"]), "key images[0].tags: unknown key"),
    "a digest": (lambda lock: first(lock)["resolved"].update(digest="sha256:abc"), "resolved.digest: expected sha256"),
    "a blob's digest": (lambda lock: first(lock)["resolved"].update(blobs={"x": 1}), "resolved.blobs: expected sha256"),
    "a size": (lambda lock: first(lock)["resolved"].update(size=-1), "key images[0].resolved.size: "),
    "a size that is no integer": (lambda lock: first(lock)["resolved"].update(size=1.0), "the number 1.0"),
    "a source": (lambda lock: first(lock).update({"from": "nope:x"}), "key images[0].from: "),
    "nowhere": (lambda lock: first(lock).pop("to"), "key images[0]: no destination"),
    "another digest than that of its source": (
        lambda lock: first(lock).update({"from": f"docker://r.example/a@{ANOTHER}"}),
        f"key images[0].resolved.digest: is {DIGEST}, and from names {ANOTHER}",
    ),
    "referrers unresolved": (lambda lock: first(lock).update(referrers=True), "has no hanging, and referrers are wan"),
    "referrers unwanted": (
        lambda lock: first(lock)["resolved"].update(hanging={"referrers": [], "left": []}),
        "has hanging without referrers",
    ),
    "no reason": (
        lambda lock: [first(lock).update(referrers=True), first(lock)["resolved"].update(
            hanging={"referrers": [], "left": [{}]})],
        "key images[0].resolved: referrers left[0]: why",
    ),
    "twice to one place": (lambda lock: lock["images"].append(first(lock)), "is written already"),
    "a secret": (lambda lock: lock.update(registries={"r.example": {"password": "x"}}), "never stand in a batch file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_lock_that_is_wrong_is_one_line_with_file_line_and_key(tmp_path: Path, name: str) -> None:
    spoil, says = BAD[name]
    path = written(tmp_path, spoil)
    before = tree(tmp_path)
    done = command(tmp_path, "run", path.name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert says in done.stderr
    number = done.stderr.removeprefix("transship: b.lock.json:").partition(":")[0]
    assert 0 < int(number) <= len(path.read_text().splitlines())
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"lock": 1, ', "not JSON"),
        (b'{"lock": 1, "lock": 1}', "key 'lock' stands twice"),
        (b'{"lock": 1, "name": "x", "images": ["\\ud800"]}', "half a surrogate pair"),
        (b'{"lock": 1, "images": [NaN]}', "NaN"),
        (b'{"lock": 1}' + b"\xff", "not UTF-8"),
        (b'{"lock": 1, "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested"),
    ],
)
def test_a_lock_that_is_no_sound_json_is_one_line(tmp_path: Path, raw: bytes, says: str) -> None:
    (tmp_path / "b.lock.json").write_bytes(raw)
    for words in (("run", "b.lock.json"), ("lock", "b.lock.json", "-o", "c.json")):
        done = command(tmp_path, *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "b.lock.json" in done.stderr
        assert says in done.stderr or "this is a lock" in done.stderr


def test_a_source_on_disk_that_is_another_image_now_is_refused_in_one_line_and_stops_no_other(tmp_path: Path) -> None:
    def put(image: ImageBytes) -> None:
        write_layout(tmp_path / "in", {"v1": image})
        shutil.rmtree(tmp_path / "dir", ignore_errors=True)
        write_directory(tmp_path / "dir", image)
        write_docker_archive(tmp_path / "a.tar", image, ["a:v1"])

    put(IMAGE)
    write_layout(tmp_path / "same", {"v1": IMAGE})
    sources = ("oci:in:v1", "dir:dir", "docker-archive:a.tar", "oci:same:v1")
    entries = [{"from": source, "to": [f"oci:out:{n}"]} for n, source in enumerate(sources)]
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": entries}))
    assert command(tmp_path, "lock", "batch.json", "-o", "b.lock.json").returncode == 0
    assert command(tmp_path, "run", "b.lock.json", "--name", "before").returncode == 0
    put(OTHER)
    done = command(tmp_path, "run", "b.lock.json", "--progress=none")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.partition(" -> ")[0] for line in lines] == [
        f"{source.partition(':')[0]}:{tmp_path}/{source.partition(':')[2]}" for source in sources[:3]
    ]
    assert all(": is sha256:" in line and ", and the lock says sha256:" in line for line in lines)
    for line in lines[:2]:
        assert f"is {OTHER.digest}, and the lock says {IMAGE.digest}; bring that back, or make the lock again" in line
    checked = command(tmp_path, "lock", "batch.json", "--check", "b.lock.json")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert [line.partition(": ")[0] for line in checked.stdout.splitlines()] == list(sources[:3])
    assert f"oci:in:v1: moved, {IMAGE.digest} -> {OTHER.digest}" in checked.stdout


def test_host_is_written_as_the_platform_that_it_was(tmp_path: Path) -> None:
    machine = str(host())
    write_layout(tmp_path / "in", {"v1": make_multi("of hosts", layers=1)})
    (tmp_path / "batch.yaml").write_text(
        "version: 1\nimages:\n  - {from: 'oci:in:v1', to: ['docker-archive:a.tar:a:v1']}\n"
        "  - {from: 'oci:in:v1', platforms: host, to: ['oci:out:v1']}\n"
    )
    assert command(tmp_path, "lock", "batch.yaml", "-o", "b.lock.json").returncode == 0
    for image in json.loads((tmp_path / "b.lock.json").read_text())["images"]:
        assert image["platforms"] == machine
        (part,) = image["resolved"]["manifests"].values()
        assert part["platform"].startswith(machine)


def test_what_cannot_be_resolved_is_named_each_and_no_lock_is_written(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": IMAGE})
    names = ("oci:in:v1", "oci:in:none", "oci:nowhere:v1", "docker-archive:none.tar")
    entries = [{"from": name, "to": [f"oci:out:{n}"]} for n, name in enumerate(names)]
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": entries}))
    (tmp_path / "b.lock.json").write_text("what was there\n")
    before = tree(tmp_path)
    done = command(tmp_path, "lock", "batch.json", "-o", "b.lock.json")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        f"{name.partition(':')[0]}:{tmp_path}/{name.partition(':')[2]}" for name in names[1:]
    ]
    assert lines[-1] == "b.lock.json: not written"
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("lock", "batch.json"), "expected either --output or --check"),
        (("lock", "batch.json", "-o", "x", "--check", "b.lock.json"), "expected either --output or --check"),
        (("lock", "batch.json", "-o", "no/such/folder/x"), "no such folder"),
        (("lock", "batch.json", "-o", "in"), "is a folder"),
        (("lock", "batch.json", "-o", "./batch.json"), "is the batch file itself"),
        (("lock", "batch.json", "--check", "none.json"), "none.json: no such file"),
        (("lock", "batch.json", "--check", "batch.json"), "batch.json: not a lock"),
        (("lock", "b.lock.json", "-o", "x"), "b.lock.json: is a lock already"),
        (("lock", "none.yaml", "-o", "x"), "none.yaml: cannot be read"),
        (("run", "b.lock.json", "--refresh"), "--refresh: b.lock.json is a lock"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_options_are_one_line_and_nothing_is_written(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    write_layout(tmp_path / "in", {"v1": IMAGE})
    entry = {"from": "oci:in:v1", "to": ["oci:out:v1"]}
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": [entry]}))
    assert command(tmp_path, "lock", "batch.json", "-o", "b.lock.json").returncode == 0
    before = tree(tmp_path)
    done = command(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert says in done.stderr
    assert tree(tmp_path) == before


def test_a_batch_without_destinations_can_be_locked_and_not_run(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": make_multi("aimless", layers=1)})
    (tmp_path / "batch.yaml").write_text("version: 1\nimages:\n  - {from: 'oci:in:v1'}\n")
    assert command(tmp_path, "lock", "batch.yaml", "-o", "b.lock.json").returncode == 0
    (image,) = json.loads((tmp_path / "b.lock.json").read_text())["images"]
    assert len(image["resolved"]["manifests"]) == 4
    for name in ("batch.yaml", "b.lock.json"):
        done = command(tmp_path, "run", name)
        assert (done.returncode, "no destination" in done.stderr) == (2, True)


def test_a_run_of_a_lock_is_named_as_that_of_its_batch(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": IMAGE})
    for name, said in (("batch.yaml", ""), ("named.yaml", "name: nightly\n")):
        (tmp_path / name).write_text(f"version: 1\n{said}images:\n  - {{from: 'oci:in:v1', to: ['oci:out:v1']}}\n")
        assert command(tmp_path, "lock", name, "-o", f"{name}.lock").returncode == 0
        assert command(tmp_path, "run", f"{name}.lock").returncode == 0
    assert sorted(os.listdir(tmp_path / "runs")) == ["batch", "nightly"]


def test_who_wants_a_lock_gets_the_one_that_is_there_or_the_same_made_now(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": make_multi("wanted", layers=1)})
    (tmp_path / "batch.yaml").write_text("version: 1\nimages:\n  - {from: 'oci:in:v1', referrers: true}\n")
    options = command_parser("lock").parse_args(["batch.yaml"], main_parser().parse_args([]))
    made, batch = locked(options, tmp_path / "batch.yaml")
    (tmp_path / "b.lock.json").write_bytes(dump_lines(made))
    assert locked(options, tmp_path / "b.lock.json") == (made, batch)
    assert command(tmp_path, "lock", "batch.yaml", "-o", "written.json").returncode == 0
    assert (tmp_path / "written.json").read_bytes() == dump_lines(made)
    shutil.rmtree(tmp_path / "in")
    with pytest.raises(TransportError, match=f"oci:{tmp_path}/in:v1: "):
        locked(options, tmp_path / "batch.yaml")
