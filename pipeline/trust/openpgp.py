"""The shape of OpenPGP messages: one signed text and nothing else, or signatures alone. No cryptography.

gpg passes over what follows the first message in a file. What another reader would take for the signed text must not
be there, so a signature is looked through before gpg sees it. Source: RFC 9580.
"""

import base64
import binascii
import zlib
from typing import Final, NamedTuple

from transship.pipeline.errors import ContentError
from transship.pipeline.trust.payload import MAX_PAYLOAD

_SIGNATURE, _ONE_PASS, _COMPRESSED, _LITERAL = 2, 4, 8, 11
_FORMS: Final = ((_ONE_PASS, _LITERAL, _SIGNATURE), (_SIGNATURE, _LITERAL))
_MAX_PACKETS: Final = 8
_MAX_INSIDE: Final = 4 * MAX_PAYLOAD
"""Bytes of a compressed message, unpacked."""
_ZIP, _ZLIB, _BZIP2 = 1, 2, 3
_ONE_PASS_LENGTH: Final = 13
_BEGIN, _END = b"-----BEGIN PGP SIGNATURE-----", b"-----END PGP SIGNATURE-----"
_CHECKSUM: Final = 5
"""Characters of the line that ends an armor, where one does. Nobody may refuse anything for it, says the source."""


class Message(NamedTuple):
    """The text that would be signed, and the ID of the key that would have signed it: unverified, both.

    The ID is empty where only the signature itself has one.
    """

    text: bytes
    key_id: str


def read_message(raw: bytes, what: str) -> Message:
    """Return what a message says that has one text and one signature; ``what`` names it in messages.

    Raises:
        ContentError: anything else, and anything after it.
    """
    found = _packets(raw, what)
    if len(found) == 1 and found[0][0] == _COMPRESSED:
        found = _packets(_unpacked(found[0][1], what), what)
    if tuple(tag for tag, _ in found) not in _FORMS:
        raise ContentError(f"{what}: is not one text with one signature")
    bodies = dict(found)
    one_pass = bodies.get(_ONE_PASS, b"")
    key_id = one_pass[4:12].hex().upper() if len(one_pass) == _ONE_PASS_LENGTH and one_pass[0] == 3 else ""
    literal = bodies[_LITERAL]
    # Format, length of a file name, the name, four bytes of time.
    begin = 6 + literal[1] if len(literal) > 1 else len(literal) + 1
    if begin > len(literal):
        raise ContentError(f"{what}: its text is cut off")
    return Message(literal[begin:], key_id)


def read_signatures(raw: bytes, what: str) -> tuple[bytes, ...]:
    """Return the signatures of a file that lies beside what they are of, armored or not; each as a packet.

    Raises:
        ContentError: it holds anything else; ``what`` names it in messages.
    """
    found = _packets(raw if raw[:1] >= b"\x80" else _unarmored(raw, what), what)
    if not found or any(tag != _SIGNATURE for tag, _ in found):
        raise ContentError(f"{what}: holds something else than OpenPGP signatures")
    # A packet of the newer form, whose length stands in four bytes, holds any body.
    return tuple(bytes([0xC0 | _SIGNATURE, 0xFF]) + len(body).to_bytes(4) + body for _, body in found)


def _unarmored(raw: bytes, what: str) -> bytes:
    lines = [line.rstrip() for line in raw.strip().split(b"\n")]
    if lines[0] == _BEGIN and lines[-1] == _END and b"" in lines:
        body = lines[lines.index(b"") + 1 : -1]
        if body and len(body[-1]) == _CHECKSUM and body[-1].startswith(b"="):
            body.pop()
        try:
            return base64.b64decode(b"".join(body), validate=True)
        except binascii.Error:
            pass
    raise ContentError(f"{what}: is no armored OpenPGP signature")


def _packets(raw: bytes, what: str) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(raw):
        if not raw[at] & 0x80 or len(found) >= _MAX_PACKETS:
            raise ContentError(f"{what}: is no OpenPGP message, or one followed by something else")
        new = bool(raw[at] & 0x40)
        tag = raw[at] & 0x3F if new else (raw[at] >> 2) & 0x0F
        body, at = _new_body(raw, at + 1) if new else _old_body(raw, at + 1, raw[at] & 3)
        if at > len(raw):
            raise ContentError(f"{what}: is cut off")
        found.append((tag, body))
    return found


def _old_body(raw: bytes, at: int, kind: int) -> tuple[bytes, int]:
    if kind == 3:
        return raw[at:], len(raw)
    width = 1 << kind
    begin = at + width
    end = begin + int.from_bytes(raw[at:begin])
    return raw[begin:end], max(begin, end)


def _new_body(raw: bytes, at: int) -> tuple[bytes, int]:
    parts: list[bytes] = []
    while True:
        first = raw[at] if at < len(raw) else 0
        if first < 192:
            size, begin = first, at + 1
        elif first < 224:
            size, begin = ((first - 192) << 8) + int.from_bytes(raw[at + 1 : at + 2]) + 192, at + 2
        elif first == 255:
            size, begin = int.from_bytes(raw[at + 1 : at + 5]), at + 5
        else:
            size, begin = 1 << (first & 0x1F), at + 1
        parts.append(raw[begin : begin + size])
        at = begin + size
        if not 224 <= first < 255 or at > len(raw):
            return b"".join(parts), at


def _unpacked(body: bytes, what: str) -> bytes:
    method, packed = (body[0], body[1:]) if body else (0, b"")
    try:
        if method in (_ZIP, _ZLIB):
            stream = zlib.decompressobj(-15 if method == _ZIP else 15)
            made = stream.decompress(packed, _MAX_INSIDE)
            whole = stream.eof and not stream.unused_data
        elif method == _BZIP2:
            import bz2  # noqa: PLC0415 - nobody's default

            other = bz2.BZ2Decompressor()
            made = other.decompress(packed, _MAX_INSIDE)
            whole = other.eof and not other.unused_data
        else:
            raise ContentError(f"{what}: packed in an unknown way")
    except (zlib.error, OSError) as error:
        raise ContentError(f"{what}: cannot be unpacked: {error}") from error
    if not whole:
        raise ContentError(f"{what}: is cut off, followed by something else, or unpacks to over {_MAX_INSIDE} bytes")
    return made
