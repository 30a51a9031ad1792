"""CRC-64 of ISO 3309, the checksum of a file in tar-split data, without a table walked byte by byte.

The polynomial is x^64 + x^4 + x^3 + x + 1, so x^(64 n) is x^(4 n) + x^(3 n) + x^n + 1 for n a power of
two: all that lies above 64 n bits folds onto what is below by four shifts of one large number.
"""

from typing import Final

_BITS: Final = 64
_ONES: Final = (1 << _BITS) - 1
_PIECE: Final = 64 << 10
"""Bytes of a number that stays in the processor's cache."""
START: Final = 0
"""The checksum of nothing."""


def crc64(data: "bytes | memoryview", before: int = START) -> int:
    """Return the checksum of all that gave ``before``, and ``data`` after it."""
    if len(data) <= _PIECE:
        return _folded(data, before)
    view = memoryview(data)
    for start in range(0, len(view), _PIECE):
        before = _folded(view[start : start + _PIECE], before)
    return before


def _folded(data: "bytes | memoryview", before: int) -> int:
    # Reflected: the lowest bit is the highest power, and to multiply by x^n is to have n bits more.
    value = int.from_bytes(data, "little") ^ before ^ _ONES
    bits = len(data) * 8 + _BITS
    while bits > _BITS:
        step = 1
        while _BITS * step * 2 < bits:
            step *= 2
        kept = _BITS * step
        high_bits = bits - kept
        high = value & ((1 << high_bits) - 1)
        bits = max(kept, high_bits + 4 * step)
        value = (value >> high_bits) << (bits - kept)
        for power in (0, step, 3 * step, 4 * step):
            value ^= high << (bits - high_bits - power)
    return value ^ _ONES
