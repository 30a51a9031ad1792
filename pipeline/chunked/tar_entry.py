"""What a tar says of one file, as a table of contents has it.

Read as Go's archive/tar reads it, for who pulls the layer compares both, and refuses one that differs.
Sources: POSIX pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar, "Basic Tar Format".
"""

import base64
import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.document import Object

BLOCK: Final = 512
ZEROS: Final = bytes(BLOCK)
PAX: Final = b"x"
LONG_NAME: Final = b"L"
LONG_LINK: Final = b"K"
EXTENSIONS: Final = frozenset({PAX, LONG_NAME, LONG_LINK})
MAX_EXTENSION: Final = 1 << 20
"""Bytes of an extended header; Go's limit."""
_TYPES: Final = {
    b"0": "reg",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "char",
    b"4": "block",
    b"5": "dir",
    b"6": "fifo",
}
_NAMELESS: Final = b"\0"
_XATTR: Final = "SCHILY.xattr."
_SPARSE: Final = "GNU.sparse."
_OCTAL: Final = re.compile(rb"[0-7]+")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_TIME: Final = re.compile(r"([+-]?[0-9]+)(?:\.([0-9]*))?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1)
_NEVER: Final = -62135596800
"""Seconds of Go's zero time, which is left out."""
_ADVICE: Final = "say layers: zstd, which holds every tar"


class Extensions(NamedTuple):
    """What the extended headers before a header said; the last of each kind counts."""

    pax: dict[str, bytes]
    long_name: bytes | None = None
    long_link: bytes | None = None


class Entry(NamedTuple):
    """One file: its object in the table of contents, yet without places; ``size`` of its content in bytes."""

    name: str
    size: int
    document: Object


def refused(why: str) -> ContentError:
    """Return the error for a tar that a table of contents cannot describe."""
    return ContentError(f"layer cannot be zstd:chunked: {why}", advice=_ADVICE)


def flag_and_size(block: bytes) -> tuple[bytes, int]:
    """Return the type flag of a header and the bytes that it says follow.

    Raises:
        ContentError: it is no tar header.
    """
    digits = block[148:156].strip(b" \0").partition(b"\0")[0]
    said = int(digits, 8) if _OCTAL.fullmatch(digits) else -1
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if said != unsigned and said != unsigned - 256 * sum(byte >= 0x80 for byte in block[:148] + block[156:]):
        raise refused("what should be a tar header is none")
    size = _number(block[124:136])
    if size < 0:
        raise refused("a file has a negative size")
    return block[156:157], size


def parse_pax(data: bytes) -> dict[str, bytes]:
    """Return the records of a pax extended header.

    Raises:
        ContentError: it is malformed.
    """
    records: dict[str, bytes] = {}
    while data:
        length, _, _ = data.partition(b" ")
        count = int(length) if length.isdigit() and len(length) < 8 else 0
        record = data[len(length) + 1 : count - 1]
        key, joint, value = record.partition(b"=")
        if not 5 <= count <= len(data) or data[count - 1 : count] != b"\n" or not joint or not key:
            raise refused("a pax header is malformed")
        records[_text(key)] = value
        data = data[count:]
    return records


def read_entry(block: bytes, extended: Extensions) -> Entry:
    """Return the entry of a header block.

    Raises:
        ContentError: the table of contents cannot hold it (a sparse file, a name that is not UTF-8), or
            it is malformed.
    """
    pax = extended.pax
    if any(key.startswith(_SPARSE) for key in pax) or block[156:157] == b"S":
        raise refused("it holds a sparse file")
    prefix, accessed, changed = _by_format(block)
    # What an extension replaces may be cut within a character.
    own = prefix + b"/" + _string(block[:100]) if prefix else _string(block[:100])
    name = _text(extended.long_name or pax.get("path") or own)
    link = _text(extended.long_link or pax.get("linkpath") or _string(block[157:257]))
    flag = block[156:157]
    if flag == _NAMELESS:
        flag = b"5" if name.endswith("/") else b"0"
    if flag not in _TYPES:
        raise refused(f"{shown(name)} is of type {flag!r}")
    size = _whole(pax, "size", block[124:136])
    if size < 0 or (size and flag != b"0"):
        raise refused(f"{shown(name)} has {size} bytes and is no file")
    device = block[257:263] == b"ustar\0" or block[257:265] == b"ustar  \0"
    numbers = (
        ("mode", _number(block[100:108])),
        ("size", size),
        ("uid", _whole(pax, "uid", block[108:116])),
        ("gid", _whole(pax, "gid", block[116:124])),
        ("devMajor", _number(block[329:337]) if device else 0),
        ("devMinor", _number(block[337:345]) if device else 0),
    )
    times = (
        ("modtime", _time(pax, "mtime", _number(block[136:148]))),
        ("accesstime", _time(pax, "atime", accessed)),
        ("changetime", _time(pax, "ctime", changed)),
    )
    made: Object = {"type": _TYPES[flag], "name": name}
    if link:
        made["linkName"] = link
    made.update((key, number) for key, number in numbers if number)
    made.update((key, time) for key, time in times if time)
    xattrs: Object = {
        key.removeprefix(_XATTR): base64.b64encode(value).decode()
        for key, value in pax.items()
        if key.startswith(_XATTR)
    }
    if xattrs:
        made["xattrs"] = xattrs
    return Entry(name, size, made)


def _by_format(block: bytes) -> tuple[bytes, int | None, int | None]:
    """Return the prefix of the name, and when the file was accessed and changed (seconds), where the header says so."""
    if block[257:265] == b"ustar  \0":
        try:
            times = [_number(field) if field[0] else None for field in (block[345:357], block[357:369])]
            return b"", times[0], times[1]
        except ContentError:
            # Old Go wrote a prefix where GNU tar has times.
            prefix = _string(block[345:500])
            return (prefix if prefix.isascii() else b""), None, None
    if block[257:263] != b"ustar\0":
        return b"", None, None
    if block[508:512] == b"tar\0":
        return _string(block[345:476]), _number(block[476:488]), _number(block[488:500])
    return _string(block[345:500]), None, None


def _string(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _text(raw: bytes) -> str:
    try:
        return raw.partition(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise refused(f"the name {shown(raw.decode('utf-8', 'replace'))!r} is not UTF-8") from error


def _said(pax: dict[str, bytes], key: str, otherwise: str) -> str:
    return _text(pax[key]) if pax.get(key) else otherwise


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        # Two's complement, but for the first bit, which says that it is not octal.
        value = int.from_bytes(field, "big", signed=True) & ((1 << (8 * len(field) - 1)) - 1)
        value -= (1 << (8 * len(field) - 1)) if field[0] & 0x40 else 0
        if not -(1 << 63) <= value < 1 << 63:
            raise refused("a header has a number beyond 64 bits")
        return value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if digits and not _OCTAL.fullmatch(digits):
        raise refused("a header has a number that is not octal")
    return int(digits, 8) if digits else 0


def _whole(pax: dict[str, bytes], key: str, field: bytes) -> int:
    text = _said(pax, key, "")
    if not text:
        return _number(field)
    if not _DECIMAL.fullmatch(text):
        raise refused(f"a pax header has no number for {key}")
    return int(text)


def _time(pax: dict[str, bytes], key: str, seconds: int | None) -> str:
    text, nanoseconds = _said(pax, key, ""), 0
    if text:
        found = _TIME.fullmatch(text)
        if not found:
            raise refused(f"a pax header has no time for {key}")
        seconds, nanoseconds = int(found[1]), int((found[2] or "").ljust(9, "0")[:9])
        if found[1].startswith("-") and nanoseconds:
            seconds, nanoseconds = seconds - 1, 10**9 - nanoseconds
    if seconds is None or (seconds, nanoseconds) == (_NEVER, 0):
        return ""
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise refused(f"a file has a time beyond the year 9999: {shown(text or str(seconds))}") from error
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{moment.isoformat()}{fraction}Z"
