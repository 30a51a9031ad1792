"""What archives are read from: one file, volumes, frames of zstd, and each of them damaged or lying."""

import io
import os
import struct
from contextlib import closing, suppress
from pathlib import Path

import pytest
import pyzstd
from hypothesis import given, settings
from hypothesis import strategies as st

from support.images import make_image, write_layout
from support.serving import Reply, pack, served
from transship.pipeline.errors import ContentError, Error, NotFoundError, TransportError
from transship.pipeline.transports import frames, spool
from transship.pipeline.transports.frames import encode_table
from transship.pipeline.transports.medium import FileMedium, Medium, Window, read_at
from transship.pipeline.transports.oci_archive import OciArchiveSource
from transship.pipeline.transports.spool import open_medium
from transship.pipeline.transports.tar_writer import header, header_size
from transship.pipeline.transports.volumes import Volumes

IMAGE = make_image(1, layer_size=30_000)


def split(raw: bytes, path: Path, size: int) -> list[Path]:
    """Write slices of ``raw`` as volumes of ``path``, with no code of the product."""
    made = []
    for number, start in enumerate(range(0, len(raw), size), 1):
        made.append(path.with_name(f"{path.name}.{number:03d}"))
        made[-1].write_bytes(raw[start : start + size])
    return made


def framed(raw: bytes, frame: int) -> bytes:
    """Return ``raw`` as pyzstd's own writer of seekable files packs it."""
    made = io.BytesIO()
    with pyzstd.SeekableZstdFile(
        made, "w", level_or_option={pyzstd.CParameter.checksumFlag: 1}, max_frame_content_size=frame
    ) as file:
        file.write(raw)
    return made.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    write_layout(tmp_path / "layout", {"team/app:v1": IMAGE})
    pack(tmp_path / "layout", tmp_path / "whole.tar")
    return (tmp_path / "whole.tar").read_bytes()


@given(st.binary(min_size=1, max_size=400), st.integers(1, 90), st.integers(1, 60), st.data())
@settings(max_examples=60, deadline=None)
def test_every_medium_gives_the_bytes_of_the_file(tmp_path_factory, raw, size, frame, data):
    path = tmp_path_factory.mktemp("medium") / "x"
    content = b"plain" + raw
    size = max(size, -(-len(content) // 999))
    media: list[Medium] = []
    (path.with_name("one")).write_bytes(content)
    media.append(open_medium(path.with_name("one")))
    split(content, path, size)
    media.append(open_medium(path))
    packed = framed(content, frame)
    path.with_name("z.zst").write_bytes(packed)
    media.append(open_medium(path.with_name("z.zst")))
    split(packed, path.with_name("s.zst"), max(40, size))
    media.append(open_medium(path.with_name("s.zst.001")))
    offset, count = data.draw(st.integers(0, len(content) + 3)), data.draw(st.integers(0, len(content) + 3))
    for medium in media:
        assert medium.size == len(content)
        assert read_at(medium, offset, count) == content[offset : offset + count]
        assert io.BufferedReader(Window(medium, 2, len(content) - 2), 16).read() == content[2:]
        places = medium.in_files(offset, max(0, min(count, len(content) - offset)))
        parts = [os.pread(place.stream.fileno(), place.length, place.offset) for place in places]
        assert b"".join(parts) == content[offset : offset + count] or not parts
        medium.close()
    assert [type(medium).__name__ for medium in media] == ["FileMedium", "Volumes", "Frames", "Frames"]


@given(st.binary(max_size=300), st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_a_table_made_here_is_read_by_others(raw, frame):
    parts = [raw[start : start + frame] for start in range(0, len(raw), frame)]
    packed = [pyzstd.compress(part) for part in parts]
    made = b"".join(packed) + encode_table([(len(one), len(part)) for one, part in zip(packed, parts, strict=True)])
    assert pyzstd.decompress(made) == raw if raw else True
    with pyzstd.SeekableZstdFile(io.BytesIO(made)) as file:
        file.seek(len(raw) // 2)
        assert file.read() == raw[len(raw) // 2 :]


def test_either_name_opens_all_volumes_and_an_image_is_read_from_them(tmp_path, archive):
    parts = split(archive, tmp_path / "x.tar", 7000)
    assert len(parts) > 4
    for name in ("x.tar", "x.tar.001"):
        source = OciArchiveSource(tmp_path / name, "team/app:v1")
        assert source.manifest().raw == IMAGE.manifest_raw
        source.close()


def test_a_file_of_that_name_is_read_as_it_is_whatever_else_is_there(tmp_path, archive):
    (tmp_path / "x.tar.001").write_bytes(archive)
    OciArchiveSource(tmp_path / "x.tar.001").close()
    (tmp_path / "x.tar").write_bytes(archive)
    split(bytes(100), tmp_path / "x.tar", 60)
    OciArchiveSource(tmp_path / "x.tar").close()


@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_missing_volume_is_named(tmp_path, archive, number):
    split(archive, tmp_path / "x.tar", 7000)[number - 1].unlink()
    for name in ("x.tar", "x.tar.001"):
        with pytest.raises(NotFoundError, match=rf"x\.tar\.00{number}: this volume is missing"):
            open_medium(tmp_path / name)


def test_a_volume_that_is_short_or_long_or_empty_is_named(tmp_path, archive):
    parts = split(archive, tmp_path / "x.tar", 7000)
    for path, raw in ((parts[1], b"x" * 6999), (parts[1], b"x" * 7001), (parts[-1], b"x" * 7001), (parts[-1], b"")):
        before = path.read_bytes()
        path.write_bytes(raw)
        with pytest.raises(ContentError, match=rf"{path.name}: a volume of {len(raw)} bytes"):
            open_medium(tmp_path / "x.tar")
        path.write_bytes(before)


def test_a_volume_that_is_a_link_or_changes_is_refused(tmp_path, archive):
    parts = split(archive, tmp_path / "x.tar", 7000)
    medium = open_medium(tmp_path / "x.tar")
    parts[2].write_bytes(parts[2].read_bytes()[::-1])
    os.utime(parts[2], (1, 1))
    with pytest.raises(TransportError, match=r"x\.tar\.003: changed"):
        read_at(medium, 14_000, 10)
    medium.close()
    with pytest.raises(TransportError, match="closed"):
        read_at(medium, 0, 10)
    parts[1].rename(tmp_path / "elsewhere")
    parts[1].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransportError, match=r"x\.tar\.002"):
        open_medium(tmp_path / "x.tar")


def test_of_more_volumes_than_may_be_open_few_are(tmp_path, monkeypatch):
    parts = split(bytes(range(250)) * 4, tmp_path / "x", 1)[:999]
    medium = Volumes(parts)
    assert medium.size == 999
    before = set(os.listdir("/proc/self/fd"))
    assert read_at(medium, 0, 999) == (bytes(range(250)) * 4)[:999]
    assert b"".join(os.pread(place.stream.fileno(), 1, 0) for place in medium.in_files(0, 999)) == read_at(
        medium, 0, 999
    )
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 8
    places = medium.in_files(10, 5)
    first = next(places)
    read_at(medium, 100, 50)
    medium.close()
    # Who reads just now is not cut off, and nothing stays open after.
    assert os.pread(first.stream.fileno(), 1, 0) == bytes([10])
    places.close()
    assert first.stream.closed
    assert set(os.listdir("/proc/self/fd")) <= before


FRAMES = framed(b"a" * 1000 + b"b" * 1000, 500)
END = struct.calcsize("<IBI")


def lying(kind: str) -> bytes:
    count, flags, magic = struct.unpack("<IBI", FRAMES[-END:])
    entry = 12 if flags & 0x80 else 8
    table = len(FRAMES) - END - count * entry

    def footer(count: int = count, flags: int = flags) -> bytes:
        return FRAMES[:-END] + struct.pack("<IBI", count, flags, magic)

    def entries(place: int, value: int) -> bytes:
        return FRAMES[: table + place] + struct.pack("<I", value) + FRAMES[table + place + 4 :]

    return {
        "more frames than there are": footer(count=count + 1),
        "fewer": footer(count=count - 1),
        "thousands of millions": footer(count=0xFFFFFFFF),
        "flags nobody knows": footer(flags=flags | 0x40),
        "a frame longer than the file": entries(0, 0xFFFFFFFF),
        "frames that end too early": entries(0, 3),
        "larger than it is": entries(4, 600),
        "smaller than it is": entries(4, 400),
        "a frame of no bytes": entries(4, 0),
        "a gap before the table": FRAMES[:table] + FRAMES[table - 8 :],
    }[kind]


@pytest.mark.parametrize("kind", ["more frames than there are", "fewer", "thousands of millions", "flags nobody knows",
    "a frame longer than the file", "frames that end too early", "larger than it is", "smaller than it is",
    "a frame of no bytes", "a gap before the table"])  # fmt: skip
def test_a_table_that_lies_is_refused(tmp_path, kind):
    (tmp_path / "x.zst").write_bytes(lying(kind))
    with pytest.raises(ContentError):
        whole(tmp_path / "x.zst")


def whole(path: Path) -> bytes:
    with closing(open_medium(path)) as medium:
        return read_at(medium, 0, medium.size)


def test_a_frame_that_is_a_bomb_gives_no_more_than_the_table_says(tmp_path):
    bomb = pyzstd.compress(bytes(300 << 20))
    (tmp_path / "x.zst").write_bytes(bomb + encode_table([(len(bomb), 1000)]))
    medium = open_medium(tmp_path / "x.zst")
    with pytest.raises(ContentError, match="does not hold the 1000 bytes"):
        read_at(medium, 0, 10)
    medium.close()
    small = pyzstd.compress(b"x")
    (tmp_path / "y.zst").write_bytes(small * 9 + encode_table([(len(small), 16 << 20)] * 9))
    with pytest.raises(ContentError, match="decompression bomb"):
        open_medium(tmp_path / "y.zst")


def test_frames_too_large_to_be_kept_are_unpacked_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "MAX_FRAME", 499)
    (tmp_path / "x.zst").write_bytes(FRAMES)
    medium = open_medium(tmp_path / "x.zst")
    assert isinstance(medium, FileMedium)
    assert read_at(medium, 990, 20) == b"a" * 10 + b"b" * 10
    medium.close()
    with pytest.raises(ContentError, match="cannot be served in place"):
        open_medium(tmp_path / "x.zst", in_place=True)


def test_frames_that_are_not_read_to_their_end_are_kept_up_to_so_many_bytes(tmp_path, monkeypatch):
    kept = frames._Kept(1200)
    monkeypatch.setattr(frames, "_kept", kept)
    media = []
    for number in range(4):
        path = tmp_path / f"{number}.zst"
        path.write_bytes(FRAMES)
        media.append(open_medium(path))
        for offset in (0, 600, 1100, 700):
            assert read_at(media[-1], offset, 100) == (b"a" if offset < 1000 else b"b") * 100
        assert len(kept._frames) == 2
        assert sum(map(len, kept._frames.values())) == kept._bytes == 1000
    assert read_at(media[-1], 0, 2000) == b"a" * 1000 + b"b" * 1000
    assert kept._bytes == 0
    for medium in media:
        medium.close()


@given(st.integers(0, len(FRAMES) - 1), st.integers(0, 7))
@settings(max_examples=120, deadline=None)
def test_a_flipped_bit_gives_the_bytes_or_one_of_our_errors(tmp_path_factory, place, bit):
    raw = bytearray(FRAMES)
    raw[place] ^= 1 << bit
    path = tmp_path_factory.mktemp("flip") / "x.zst"
    path.write_bytes(raw)
    with suppress(Error):
        # What is no zstd any more is some other file; bits that mean nothing change nothing.
        assert whole(path) in (b"a" * 1000 + b"b" * 1000, bytes(raw))


@pytest.mark.parametrize("form", ["volumes", "frames", "frames in volumes"])
def test_all_is_served_in_place(tmp_path, archive, form):
    packed = archive if form == "volumes" else framed(archive, 5000)
    path = tmp_path / "mirror.tar"
    if form == "frames":
        path.write_bytes(packed)
    else:
        split(packed, path, 7000)
    unpacked = spool._unpacked_lately._files.copy()
    with served(path) as port:
        assert Reply(port, "/v2/team/app/manifests/v1").body == IMAGE.manifest_raw
        layer = IMAGE.layers[0]
        target = f"/v2/team/app/blobs/{layer.digest}"
        assert Reply(port, target).body == layer.packed
        assert Reply(port, target, Range="bytes=4000-12000").body == layer.packed[4000:12001]
        assert Reply(port, "/v2/mirror/tags/list").status == 200
    assert spool._unpacked_lately._files == unpacked


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 141, 511, 512, 1100])
def test_the_size_of_a_header_is_known_without_it(size):
    for letter in ("x", "é"):
        name = (letter * size)[:size]
        assert header_size(name) == len(header(name, 8**12))
