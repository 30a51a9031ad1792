"""Repacking of a layer: one pass from one packing to another, stages side by side, constant memory.

What comes out depends on the tar and the level alone, not on how the tar arrives nor on the number
of cores (docs/decisions/0008-reproducible-packing.md). A layer's diff ID is the digest of its
uncompressed tar (OCI image-spec config.md, "Layer DiffID").
"""

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import chain, islice
from typing import Final, NamedTuple

from transship.pipeline.compression.codecs import Compression
from transship.pipeline.compression.decoding import DEFAULT_BUDGET, Budget, Reader, decompressed
from transship.pipeline.compression.encoding import encoder
from transship.pipeline.compression.footer import Tail
from transship.pipeline.digest import Digest, Hasher
from transship.pipeline.overlap import ahead

_AHEAD: Final = 4


class Transcoded(NamedTuple):
    """What came out of `transcode`: digests of the packed bytes and of the tar, sizes in bytes.

    ``annotations`` are what the new layer's descriptor must say of it. ``table`` names the format of the
    table of contents that the old layer had (eStargz, zstd:chunked), empty if none.
    """

    digest: Digest
    size: int
    diff_id: Digest
    tar_size: int
    annotations: Mapping[str, str]
    table: str


def transcode(
    source: Reader,
    have: Compression,
    want: Compression,
    write: Callable[[bytes], object],
    level: int | None = None,
    *,
    budget: Budget = DEFAULT_BUDGET,
) -> Transcoded:
    """Repack ``source`` from ``have`` to ``want``, feeding ``write``; one pass, both digests.

    ``source`` is read, unpacked and hashed in a thread of its own where it is large; ``write`` is called in
    this one. ``level`` is 1..9 for gzip (1 to 3 pack alike, as do 4 to 9) and 1..20 for zstd and zstd:chunked;
    None is 6 and 3.

    Raises:
        ContentError: the stream is damaged, cut short, followed by something else, or expands
            beyond ``budget``; or zstd:chunked cannot describe it.
    """
    tar = hashlib.sha256()
    # An unpacked layer is its tar: one hash tells both digests.
    packed = tar if want is Compression.NONE else hashlib.sha256()
    tar_size = size = 0
    packing = encoder(want, level)
    tail = Tail(source)
    pieces = decompressed(tail, have, budget)
    begun = list(islice(pieces, 2))
    unpacked = _hashed(chain(begun, pieces), tar)
    rest = ahead(unpacked, _AHEAD) if len(begun) == 2 else unpacked
    try:
        for piece in rest:
            tar_size += len(piece)
            for data in packing.feed(piece):
                if packed is not tar:
                    packed.update(data)
                size += len(data)
                write(data)
        for data in packing.end():
            packed.update(data)
            size += len(data)
            write(data)
    finally:
        rest.close()
    digests = Digest("sha256", packed.hexdigest()), Digest("sha256", tar.hexdigest())
    return Transcoded(digests[0], size, digests[1], tar_size, packing.annotations, tail.table())


def _hashed(pieces: Iterator[bytes], hasher: Hasher) -> Generator[bytes, None, None]:
    for piece in pieces:
        hasher.update(piece)
        yield piece
