"""Codecs: what goes in comes out, damage and bombs are refused."""

import gzip
import io
import random
import subprocess
import threading
import zlib

import pytest
import pyzstd
from hypothesis import given, settings
from hypothesis import strategies as st

from transship.pipeline import overlap
from transship.pipeline.compression import DEFAULT_BUDGET, Budget, Compression, decompressed
from transship.pipeline.compression.transcoding import transcode
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError

PACK = {
    Compression.NONE: lambda raw: raw,
    Compression.GZIP: lambda raw: gzip.compress(raw, mtime=0),
    Compression.ZSTD: lambda raw: pyzstd.compress(raw, {pyzstd.CParameter.checksumFlag: 1}),
}
UNPACK = {Compression.NONE: lambda raw: raw, Compression.GZIP: gzip.decompress, Compression.ZSTD: pyzstd.decompress}


@pytest.mark.parametrize("have", PACK)
@pytest.mark.parametrize("want", PACK)
@settings(max_examples=20, deadline=None)
@given(raw=st.binary(max_size=5000), times=st.integers(1, 400))
def test_transcoding_keeps_the_tar_and_tells_both_digests(have, want, raw, times):
    tar = raw * times
    out = io.BytesIO()
    made = transcode(io.BytesIO(PACK[have](tar)), have, want, out.write)
    assert UNPACK[want](out.getvalue()) == tar
    assert (made.digest, made.size) == (Digest.of(out.getvalue()), len(out.getvalue()))
    assert (made.diff_id, made.tar_size) == (Digest.of(tar), len(tar))


def tar_of(megabytes, seed=7):
    """Return bytes that pack to about a half, different in every block."""
    chosen = random.Random(seed)
    words = [chosen.randbytes(chosen.randrange(3, 40)) for _ in range(2000)]
    out = bytearray()
    while len(out) < megabytes << 20:
        out += chosen.choice(words)
    return bytes(out)


class Dribble(io.BytesIO):
    """Gives a few bytes at a time, as a network does."""

    def __init__(self, raw, piece):
        super().__init__(raw)
        self._piece = piece

    def read(self, size=-1):
        return super().read(self._piece if size < 0 else min(size, self._piece))


def packed(tar, want, level=None, source=io.BytesIO):
    out = io.BytesIO()
    transcode(source(tar), Compression.NONE, want, out.write, level)
    return out.getvalue()


@pytest.mark.parametrize("want", [Compression.GZIP, Compression.ZSTD])
def test_the_same_tar_packs_to_the_same_bytes_however_it_arrives(want):
    tar = tar_of(5) + b"end"
    outs = {
        packed(tar, want, source=lambda raw, piece=piece: Dribble(raw, piece)) for piece in (9_777, 65_536, 1 << 24)
    }
    assert len(outs) == 1
    assert b"".join(decompressed(Dribble(outs.pop(), 777), want)) == tar


@pytest.mark.parametrize("want", [Compression.GZIP, Compression.ZSTD])
@pytest.mark.parametrize("level", [1, 6, 9])
def test_the_same_tar_packs_to_the_same_bytes_on_any_number_of_cores(want, level, monkeypatch):
    tar = tar_of(9)
    outs = set()
    for cores in (1, 2, 8):
        monkeypatch.setattr(overlap, "CORES", cores)
        overlap.pool.cache_clear()
        outs.add(packed(tar, want, level))
    overlap.pool.cache_clear()
    assert len(outs) == 1
    assert UNPACK[want](outs.pop()) == tar


@pytest.mark.parametrize("want", [Compression.GZIP, Compression.ZSTD])
def test_packed_bytes_are_those_of_every_release(want):
    """An image converted again, years later or elsewhere, keeps its digest; what changes this is a breaking change."""
    expected = {
        Compression.GZIP: "95286584cffd8cdeb795cc8016c774acf6d157be497914e5e12cd2922798f4d2",
        Compression.ZSTD: "bbaca68df4150bf5ddf552888dc6b395071bdd16c0bce16f2e34a8e02a15607a",
    }
    assert Digest.of(packed(tar_of(3), want)).hex == expected[want]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_gzip_of_any_size_is_one_member_that_gzip_reads(size):
    tar = tar_of(4)[:size]
    made = packed(tar, Compression.GZIP)
    member = zlib.decompressobj(wbits=31)
    assert member.decompress(made) == tar
    assert (member.eof, member.unused_data) == (True, b"")
    assert subprocess.run(["gzip", "-dc"], input=made, capture_output=True, check=True).stdout == tar


@pytest.mark.parametrize("size", [0, 1, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9 << 20])
def test_zstd_of_any_size_is_one_frame_that_zstd_reads(size):
    tar = tar_of(9)[:size]
    made = packed(tar, Compression.ZSTD)
    frame = pyzstd.ZstdDecompressor()
    assert frame.decompress(made) == tar
    assert (frame.eof, frame.unused_data) == (True, b"")
    assert subprocess.run(["zstd", "-dc"], input=made, capture_output=True, check=True).stdout == tar


def test_a_source_that_breaks_off_ends_the_packing_with_its_own_error():
    class Breaking(io.BytesIO):
        def read(self, size=-1):
            data = super().read(size)
            if not data:
                raise ContentError("broken off")
            return data

    with pytest.raises(ContentError, match="broken off"):
        transcode(Breaking(tar_of(6)), Compression.NONE, Compression.ZSTD, lambda data: None)
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_a_full_disk_ends_the_packing_and_its_threads():
    def refuse(data):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        transcode(io.BytesIO(tar_of(8)), Compression.NONE, Compression.NONE, refuse)
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_gzip_members_one_after_the_other_are_one_tar():
    packed = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two" * 100_000)
    assert b"".join(decompressed(io.BytesIO(packed), Compression.GZIP)) == b"one" + b"two" * 100_000


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
@pytest.mark.parametrize("damage", ["cut", "flip", "garbage", "empty"])
def test_a_damaged_stream_is_refused(kind, damage):
    packed = bytearray(PACK[kind](b"some text, " * 10_000))
    if damage == "cut":
        packed = packed[:-5]
    elif damage == "flip":
        packed[len(packed) // 2] ^= 0xFF
    elif damage == "garbage":
        packed += b"trailing rubbish"
    else:
        packed = bytearray()
    with pytest.raises(ContentError):
        list(decompressed(io.BytesIO(bytes(packed)), kind))


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
def test_a_bomb_ends_at_the_ratio(kind):
    bomb = PACK[kind](bytes(300 << 20))
    pieces = []
    with pytest.raises(ContentError, match="bomb"):
        pieces.extend(map(len, decompressed(io.BytesIO(bomb), kind)))
    given_out = sum(pieces)
    assert given_out <= (65 << 20) + len(bomb) * DEFAULT_BUDGET.ratio


@pytest.mark.parametrize("budget", [Budget(size=1 << 20), Budget(ratio=2)])
def test_the_budget_is_the_callers_to_set(budget):
    packed = gzip.compress(bytes(80 << 20))
    with pytest.raises(ContentError, match="--max-layer-ratio"):
        list(decompressed(io.BytesIO(packed), Compression.GZIP, budget))
    assert sum(map(len, decompressed(io.BytesIO(packed), Compression.GZIP))) == 80 << 20
