"""The ways to pack a layer's tar, their levels, and which version of which library does it."""

import enum
from typing import Final


class Compression(enum.Enum):
    """How a layer's tar is packed. zstd:chunked is zstd to all who do not know better."""

    NONE = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"
    ZSTD_CHUNKED = "zstd:chunked"


ZSTD_KINDS: Final = frozenset({Compression.ZSTD, Compression.ZSTD_CHUNKED})
LEVELS: Final = {Compression.GZIP: range(1, 10), Compression.ZSTD: range(1, 21), Compression.ZSTD_CHUNKED: range(1, 21)}
"""The levels of each that has some."""
DEFAULT_LEVELS: Final = {Compression.GZIP: 6, Compression.ZSTD: 3, Compression.ZSTD_CHUNKED: 3}


def wrong_level(kind: Compression, level: int) -> str:
    """Return what is wrong with ``level`` for ``kind``, empty if nothing; what has no levels takes any."""
    allowed = LEVELS.get(kind)
    if allowed is None or level in allowed:
        return ""
    return f"{kind.value} has levels {allowed[0]} to {allowed[-1]}, not {level}"


def codec(kind: Compression, level: int | None) -> str:
    """Return what packs a layer as ``kind``: library, version, level. The same answer means the same bytes."""
    if kind is Compression.NONE:
        return "none"
    if kind is Compression.GZIP:
        from importlib.metadata import version  # noqa: PLC0415

        library = f"ISA-L (python-isal {version('isal')})"
    else:
        import pyzstd  # noqa: PLC0415

        library = f"libzstd {pyzstd.zstd_version}"
    return f"{kind.value} level {level or DEFAULT_LEVELS[kind]}, {library}"
