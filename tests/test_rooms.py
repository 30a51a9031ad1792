"""A docker archive written straight from the source: each layer where it will lie, by the size that it says."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from support.images import ImageBytes, Layer, make_image, make_layer, write_layout
from transship.pipeline.cli import copy as command
from transship.pipeline.cli.main import main
from transship.pipeline.errors import TransportError
from transship.pipeline.transport import WrongSizeError
from transship.pipeline.transports.rooms import Rooms

SIZE = 1 << 20


def image_of(*layers: Layer) -> ImageBytes:
    return make_image("image", layers=0, base_layers=layers)


def told(seed: int) -> Layer:
    return make_layer(seed, SIZE)


def copied(tmp_path: Path, image: ImageBytes, name: str) -> bytes | None:
    """Return the archive that a copy makes of ``image``, None where it failed; nothing else is left beside it."""
    folder = tmp_path / name
    folder.mkdir()
    write_layout(folder / "from", {"v1": image})
    status = main(["copy", "-q", f"oci:{folder}/from:v1", f"docker-archive:{folder}/a.tar:demo/a:v1"])
    left = sorted(path.name for path in folder.iterdir())
    assert left == (["from"] if status else ["a.tar", "from"])
    return None if status else (folder / "a.tar").read_bytes()


def rewritten(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of what becomes of archives begun: "straight" or "anew"."""
    heard: list[str] = []
    real = command.convert

    def convert(*arguments, fill=None, **others):
        heard.append("anew" if fill is None else "straight")
        return real(*arguments, fill=fill, **others)

    monkeypatch.setattr(command, "convert", convert)
    return heard


def through_the_store(tmp_path: Path, image: ImageBytes, monkeypatch: pytest.MonkeyPatch) -> bytes | None:
    with monkeypatch.context() as patch:
        patch.setattr(command, "tar_sizes", lambda *_: None)
        return copied(tmp_path, image, "store")


def test_an_archive_is_the_same_whether_its_layers_pass_the_store(tmp_path, monkeypatch):
    image = image_of(told(1), told(2), told(3), told(2), make_layer(4, 10))
    heard = rewritten(monkeypatch)
    straight = copied(tmp_path, image, "straight")
    assert heard == ["straight"]
    assert straight is not None
    assert straight == through_the_store(tmp_path, image, monkeypatch)
    listed = subprocess.run(["tar", "-tf", "-"], input=straight, capture_output=True, check=True).stdout.decode()
    assert listed.split() == sorted(listed.split())
    assert len(listed.split()) == 4 + 2


@pytest.mark.parametrize(
    "packed",
    [
        lambda tar: gzip.compress(tar[: 1 << 19]) + gzip.compress(tar[1 << 19 :]),
        lambda tar: gzip.compress(tar) + gzip.compress(b""),
        lambda tar: gzip.compress(b"") + gzip.compress(tar),
        lambda tar: gzip.compress(tar[:512]) + gzip.compress(tar[512:], 9),
    ],
    ids=["two members", "empty member last", "empty member first", "one block short"],
)
def test_a_layer_that_says_another_size_than_it_has_is_written_all_the_same(tmp_path, monkeypatch, packed):
    odd = told(5)
    image = image_of(told(6), Layer(odd.tar, packed(odd.tar)), told(7))
    made = copied(tmp_path, image, "straight")
    assert made is not None
    assert made == through_the_store(tmp_path, image, monkeypatch)


def test_a_size_that_was_wrong_makes_the_archive_be_written_anew(tmp_path, monkeypatch):
    odd = told(5)
    image = image_of(told(6), Layer(odd.tar, gzip.compress(odd.tar[:512]) + gzip.compress(odd.tar[512:])))
    heard = rewritten(monkeypatch)
    assert copied(tmp_path, image, "straight")
    assert heard == ["straight", "anew"]


@pytest.mark.parametrize("said", [0, 512, 1 << 20, 0xFFFFFE00, 0xFFFFFFFF])
def test_a_layer_that_lies_about_its_size_is_refused_and_nothing_is_left(tmp_path, said, capsys):
    lying = told(8).packed[:-4] + said.to_bytes(4, "little")
    assert copied(tmp_path, image_of(told(9), Layer(told(8).tar, lying)), "lying") is None
    assert "is not sound gzip" in capsys.readouterr().err


def test_a_layer_that_is_not_its_diff_id_leaves_nothing(tmp_path, capsys):
    # Of the right size, so that its room is filled.
    assert copied(tmp_path, image_of(told(1), Layer(told(2).tar, gzip.compress(bytes(len(told(2).tar))))), "a") is None
    assert "diff ID" in capsys.readouterr().err


def test_a_member_may_not_leave_its_room(tmp_path):
    rooms = Rooms(tmp_path / "a.tar", {"a": 10, "b": 10})
    for data in (b"x" * 11, b"x" * 9):
        with pytest.raises(WrongSizeError):
            rooms.fill("a", lambda write, data=data: write(data))
    assert not rooms.holds("a", 10, 512)
    assert rooms.fill("a", lambda write: (write(b"x" * 4), write(b"x" * 6))) == 10
    assert rooms.holds("a", 10, 512)
    raw = rooms.scratch.read_bytes()
    rooms.drop()
    assert raw.rstrip(b"\0") == bytes(512) + b"x" * 10
    assert os.listdir(tmp_path) == []
    # A thread that comes late finds nothing to write to.
    with pytest.raises(TransportError):
        rooms.fill("b", lambda write: write(b"x" * 10))
