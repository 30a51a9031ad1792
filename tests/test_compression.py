"""Codecs: what goes in comes out, damage and bombs are refused."""

import gzip
import io

import pytest
import pyzstd
from hypothesis import given, settings
from hypothesis import strategies as st

from transship.pipeline.compression import MAX_RATIO, Compression, decompressed, transcode
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError

PACK = {
    Compression.NONE: lambda raw: raw,
    Compression.GZIP: lambda raw: gzip.compress(raw, mtime=0),
    Compression.ZSTD: lambda raw: pyzstd.compress(raw, {pyzstd.CParameter.checksumFlag: 1}),
}
UNPACK = {Compression.NONE: lambda raw: raw, Compression.GZIP: gzip.decompress, Compression.ZSTD: pyzstd.decompress}


@pytest.mark.parametrize("have", Compression)
@pytest.mark.parametrize("want", Compression)
@settings(max_examples=20, deadline=None)
@given(raw=st.binary(max_size=5000), times=st.integers(1, 400))
def test_transcoding_keeps_the_tar_and_tells_both_digests(have, want, raw, times):
    tar = raw * times
    out = io.BytesIO()
    made = transcode(io.BytesIO(PACK[have](tar)), have, want, out.write)
    assert UNPACK[want](out.getvalue()) == tar
    assert (made.digest, made.size) == (Digest.of(out.getvalue()), len(out.getvalue()))
    assert (made.diff_id, made.tar_size) == (Digest.of(tar), len(tar))


@pytest.mark.parametrize("want", [Compression.GZIP, Compression.ZSTD])
def test_the_same_tar_packs_to_the_same_bytes_however_it_arrives(want):
    tar = bytes(range(256)) * 40_000

    class Dribble(io.BytesIO):
        def read(self, size=-1):
            return super().read(777 if size < 0 or size > 777 else size)

    outs = []
    for source in (io.BytesIO(tar), io.BytesIO(tar)):
        out = io.BytesIO()
        transcode(source, Compression.NONE, want, out.write)
        outs.append(out.getvalue())
    assert outs[0] == outs[1]
    back = b"".join(decompressed(Dribble(outs[0]), want))
    assert back == tar


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
    assert given_out <= (65 << 20) + len(bomb) * MAX_RATIO
