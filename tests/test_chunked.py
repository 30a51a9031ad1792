"""zstd:chunked: zstd to all, and a table of contents that is true, by our reading of it and by Podman's."""

import base64
import hashlib
import io
import json
import random
import subprocess
import tarfile
import zlib

import pytest
import pyzstd
from hypothesis import given, settings
from hypothesis import strategies as st

from transship.pipeline import overlap
from transship.pipeline.chunked.checksum import crc64
from transship.pipeline.compression import Compression, decompressed
from transship.pipeline.compression.transcoding import transcode
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError

POSITION = "io.github.containers.zstd-chunked.manifest-position"
CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum"
SPLIT = "io.github.containers.zstd-chunked.tarsplit-position"


def made_tar(files, form=tarfile.PAX_FORMAT):
    """Return a tar of ``files``: TarInfo by TarInfo with its content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for info, content in files:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def info(name, kind=tarfile.REGTYPE, **fields):
    found = tarfile.TarInfo(name)
    found.type = kind
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def sample():
    """Return a tar of every kind of file that a layer has."""
    chosen = random.Random("chunked")
    large = chosen.randbytes(70_000) * 40
    return made_tar(
        [
            (info("usr", tarfile.DIRTYPE, mode=0o755, uid=5, gid=6), b""),
            (info("usr/empty", mode=0o644), b""),
            (info("usr/small", mode=0o4755, mtime=1_700_000_000.25, uid=70_000), b"some text\n"),
            (info("usr/" + "long" * 60, mtime=1_600_000_000), chosen.randbytes(3000)),
            (info("usr/große", pax_headers={"SCHILY.xattr.user.note": "value"}), b"x" * 600),
            (info("usr/large"), large),
            (info("usr/block-sized"), bytes(1024)),
            (info("usr/link", tarfile.SYMTYPE, linkname="small"), b""),
            (info("usr/same", tarfile.LNKTYPE, linkname="usr/small"), b""),
            (info("dev", tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
            (info("fifo", tarfile.FIFOTYPE), b""),
            (info("usr/.wh.gone"), b""),
        ]
    )


def packed(tar, level=None, piece=1 << 20):
    out = io.BytesIO()

    class Source(io.BytesIO):
        def read(self, size=-1):
            return super().read(piece if size < 0 else min(size, piece))

    made = transcode(Source(tar), Compression.NONE, Compression.ZSTD_CHUNKED, out.write, level)
    assert made.digest == Digest.of(out.getvalue())
    return out.getvalue(), made.annotations


def table(raw, annotations):
    offset, size, unpacked, kind = (int(text) for text in annotations[POSITION].split(":"))
    there = raw[offset : offset + size]
    assert (kind, annotations[CHECKSUM]) == (1, f"sha256:{hashlib.sha256(there).hexdigest()}")
    found = pyzstd.decompress(there)
    assert len(found) == unpacked
    return json.loads(found)


def split(raw, annotations, contents):
    offset, size, unpacked = (int(text) for text in annotations[SPLIT].split(":"))
    there = raw[offset : offset + size]
    assert contents["tarSplitDigest"] == f"sha256:{hashlib.sha256(there).hexdigest()}"
    found = pyzstd.decompress(there)
    assert len(found) == unpacked
    return [json.loads(line) for line in found.splitlines()]


def files_of(raw, contents):
    """Return every file's content by name, fetched as a puller does: by the places in the table alone."""
    found = {}
    entries = contents["entries"]
    for number, entry in enumerate(entries):
        if entry["type"] == "reg" and "offset" in entry:
            parts = [entry, *(other for other in entries[number:] if other["type"] == "chunk")]
            parts = [part for part in parts if part["name"] == entry["name"]]
            ends = [part["offset"] for part in parts[1:]] + [entry["endOffset"]]
            content = b""
            for part, end in zip(parts, ends, strict=True):
                piece = pyzstd.decompress(raw[part["offset"] : end])
                assert part.get("chunkOffset", 0) == len(content)
                if len(parts) > 1:
                    assert part["chunkSize"] == len(piece)
                    assert part["chunkDigest"] == f"sha256:{hashlib.sha256(piece).hexdigest()}"
                content += piece
            assert entry["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
            assert entry["size"] == len(content)
            found[entry["name"]] = content
    return found


def test_each_file_is_where_the_table_says():
    tar = sample()
    raw, annotations = packed(tar)
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        wanted = {
            member.name: archive.extractfile(member).read() for member in archive if member.isreg() and member.size
        }
        kinds = {member.name: member for member in archive}
    contents = table(raw, annotations)
    assert contents["version"] == 1
    assert files_of(raw, contents) == wanted
    assert any(entry["type"] == "chunk" for entry in contents["entries"])
    listed = {entry["name"].rstrip("/"): entry for entry in contents["entries"] if entry["type"] != "chunk"}
    assert list(listed) == list(kinds)
    for name, member in kinds.items():
        entry = listed[name]
        assert (entry.get("mode", 0), entry.get("uid", 0), entry.get("gid", 0)) == (member.mode, member.uid, member.gid)
        assert entry.get("linkName", "") == member.linkname
    assert listed["usr/small"]["modtime"] == "2023-11-14T22:13:20.25Z"
    assert listed["usr/große"]["xattrs"] == {"user.note": base64.b64encode(b"value").decode()}
    assert (listed["dev"]["devMajor"], listed["dev"]["devMinor"]) == (1, 3)


def test_the_split_data_gives_the_tar_back_byte_for_byte():
    tar = sample()
    raw, annotations = packed(tar)
    contents = table(raw, annotations)
    files = files_of(raw, contents)
    made = b""
    for position, entry in enumerate(split(raw, annotations, contents)):
        assert entry["position"] == position
        if entry["type"] == 2:
            made += base64.b64decode(entry["payload"])
        elif entry.get("size"):
            content = files[entry["name"]]
            assert base64.b64decode(entry["payload"]) == crc64(content).to_bytes(8, "big")
            made += content
    assert made == tar


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_each_segment_of_the_split_data_is_one_header_with_all_that_belongs_to_it(form):
    """Readers since containers/storage 1.55 parse each segment on its own, and refuse a table that says otherwise."""
    names = ["a", "d" * 90 + "/" + "n" * 90, "b", "c/" + "x" * 80]
    tar = made_tar([(info(name, mtime=7 * n, uid=n), b"y" * (700 * n)) for n, name in enumerate(names)], form)
    raw, annotations = packed(tar)
    contents = table(raw, annotations)
    listed = iter(entry for entry in contents["entries"] if entry["type"] != "chunk")
    padding = 0
    for entry in split(raw, annotations, contents):
        if entry["type"] == 2:
            payload = base64.b64decode(entry["payload"])
            assert len(payload) >= padding
            assert not payload[:padding].strip(b"\0")
            header = payload[padding:]
            if not header.strip(b"\0"):
                padding = 0
                continue
            with tarfile.open(fileobj=io.BytesIO(header)) as archive:
                member = archive.next()
            said = next(listed)
            assert member.offset_data == len(header)
            assert (member.name, member.size, member.uid) == (said["name"], said.get("size", 0), said.get("uid", 0))
            padding = -member.size % 512
    assert next(listed, None) is None


def test_it_is_zstd_to_who_knows_no_better(tmp_path):
    raw, _ = packed(sample())
    assert b"".join(decompressed(io.BytesIO(raw), Compression.ZSTD)) == sample()
    assert subprocess.run(["zstd", "-dc"], input=raw, capture_output=True, check=True).stdout == sample()


def test_the_footer_says_what_the_annotations_say():
    raw, annotations = packed(sample())
    assert raw[-72:-64] == b"\x50\x2a\x4d\x18" + (64).to_bytes(4, "little")
    numbers = [int.from_bytes(raw[place : place + 8], "little") for place in range(len(raw) - 64, len(raw) - 8, 8)]
    assert numbers[:4] == [int(text) for text in annotations[POSITION].split(":")]
    assert numbers[4:] == [int(text) for text in annotations[SPLIT].split(":")]
    assert raw.endswith(b"GNUlInUx")


def test_the_same_tar_gives_the_same_bytes_on_any_cores_however_it_arrives(monkeypatch):
    tar = sample()
    outs = set()
    for cores, piece in ((1, 1 << 20), (2, 7_777), (8, 65_536)):
        monkeypatch.setattr(overlap, "CORES", cores)
        overlap.pool.cache_clear()
        outs.add(packed(tar, piece=piece)[0])
    overlap.pool.cache_clear()
    assert len(outs) == 1


@pytest.mark.parametrize("tar", [b"", bytes(512), bytes(1024), bytes(10240), bytes((2 << 20) + 1024)])
def test_a_layer_without_files_is_one_too(tar):
    raw, annotations = packed(tar)
    contents = table(raw, annotations)
    assert contents["entries"] == []
    assert b"".join(base64.b64decode(entry["payload"]) for entry in split(raw, annotations, contents)) == tar
    assert b"".join(decompressed(io.BytesIO(raw), Compression.ZSTD)) == tar


NUMBER = st.integers(0, 1 << 40)
NAME = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0/"), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(NAME.filter(lambda name: name not in (".", "..")), unique=True, max_size=8),
    form=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    content=st.binary(max_size=2000),
    number=NUMBER,
)
def test_any_names_and_numbers_come_out_as_they_went_in(names, form, content, number):
    tar = made_tar([(info(name, uid=number, mtime=number >> 8), content) for name in names], form)
    raw, annotations = packed(tar)
    contents = table(raw, annotations)
    assert [entry["name"] for entry in contents["entries"]] == names
    assert all(entry.get("uid", 0) == number for entry in contents["entries"])
    assert b"".join(decompressed(io.BytesIO(raw), Compression.ZSTD)) == tar


def damaged(tar, at, value):
    """Return the tar with the first header's field at ``at`` made ``value``, its checksum right."""
    header = bytearray(tar[:512])
    header[at : at + len(value)] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + tar[512:]


ONE = made_tar([(info("a"), b"text")])


@pytest.mark.parametrize(
    ("tar", "why"),
    [
        (ONE[:514], "ends within a"),
        (ONE[:700], "cut short"),
        (ONE[:300], "cut short"),
        (b"no tar" * 300, "tar header"),
        (bytes(511) + b"x" + bytes(512), "tar header"),
        (damaged(ONE, 156, b"S"), "sparse"),
        (damaged(ONE, 156, b"7"), "type b'7'"),
        (damaged(ONE, 156, b"5"), "is no file"),
        (damaged(ONE, 0, b"\xff\xfe"), "not UTF-8"),
        (damaged(ONE, 108, b"zzzz"), "not octal"),
        (damaged(ONE, 124, b"\xff" * 12), "negative"),
        (ONE + b"rubbish" * 100, "after its end"),
        (ONE + b"\0", "within a block"),
        (made_tar([(info("a"), b"1"), (info("./a"), b"2")]), "./a is in it twice"),
        (made_tar([(info("a", pax_headers={"GNU.sparse.major": "1"}), b"1")]), "sparse"),
    ],
)
def test_what_no_table_can_describe_is_refused_with_a_way_out(tar, why):
    with pytest.raises(ContentError, match=why) as caught:
        packed(tar)
    assert "say layers: zstd" in str(caught.value)


def naive_crc(data):
    crc = (1 << 64) - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0xD800000000000000 if crc & 1 else 0)
    return crc ^ ((1 << 64) - 1)


def test_the_checksum_is_that_of_the_standard():
    assert crc64(b"123456789") == 0xB90956C775A41001
    assert crc64(b"") == 0


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=1500), cut=st.integers(0, 1500))
def test_the_checksum_is_that_of_its_definition_in_any_parts(data, cut):
    assert crc64(data[cut:], crc64(data[:cut])) == naive_crc(data)


def test_the_checksum_of_large_data_is_that_of_its_parts():
    data = zlib.compress(b"x" * 100) * 10_000
    whole = crc64(data)
    parts = 0
    for start in range(0, len(data), 1000):
        parts = crc64(data[start : start + 1000], parts)
    assert whole == parts
