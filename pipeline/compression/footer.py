"""Tells by a layer's last bytes whether it has a table of contents, whatever its annotations say.

Sources: stargz-snapshotter docs/estargz.md, "Footer"; containers/storage pkg/chunked/internal/minimal.
"""

from typing import Final

from transship.pipeline.compression.decoding import Reader

_ESTARGZ: Final = 51
_ESTARGZ_MARK: Final = b"STARGZ"
_GZIP: Final = b"\x1f\x8b"
_CHUNKED_MARK: Final = b"GNUlInUx"


class Tail:
    """Reads a source through, and remembers its end."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self._last = b""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, empty at the end."""
        data = self._source.read(size)
        if data:
            self._last = data[-_ESTARGZ:] if len(data) >= _ESTARGZ else (self._last + data)[-_ESTARGZ:]
        return data

    def table(self) -> str:
        """Return the name of the format of a table of contents, empty where what was read has none."""
        if self._last.endswith(_CHUNKED_MARK):
            return "zstd:chunked"
        return "eStargz" if self._last.startswith(_GZIP) and _ESTARGZ_MARK in self._last else ""
