"""PEM, read strictly. Source: RFC 7468."""

import base64
import binascii
import re
from typing import Final, NamedTuple

from transship.pipeline.errors import ContentError, shown

MAX_PEM: Final = 1 << 20
"""Bytes of a file of keys or certificates: the bundles of whole systems have a quarter of it."""
_BLOCK: Final = rb"-----BEGIN ([A-Z0-9][A-Z0-9 ]{0,60})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*)-----END \1-----"
_WIDTH: Final = 64


class Block(NamedTuple):
    """One block: its label, such as ``PUBLIC KEY``, and its bytes."""

    label: str
    raw: bytes


def blocks(raw: bytes, what: str, *, text: bool = False) -> list[Block]:
    """Return every block of ``raw``, at least one; with ``text`` words may stand around them, as OpenSSL writes them.

    Raises:
        ContentError: over 1 MiB, no block, one that does not end or is no base64, or words where none may be.
    """
    if len(raw) > MAX_PEM:
        raise ContentError(f"{what}: over the limit of {MAX_PEM} bytes")
    found = [Block(match[1].decode(), _decoded(match[2], what)) for match in re.finditer(_BLOCK, raw)]
    rest = re.sub(_BLOCK, b"", raw)
    if not found or b"-----BEGIN" in rest:
        raise ContentError(f"{what}: not PEM, or a block of it is damaged")
    if rest.strip() and not text:
        raise ContentError(f"{what}: {shown(rest.strip()[:40].decode('latin-1'))!r} beside the PEM")
    return found


def block(raw: bytes, what: str, *, text: bool = False) -> Block:
    """Return the only block of ``raw``; raises as `blocks`, and where there are several."""
    found = blocks(raw, what, text=text)
    if len(found) > 1:
        raise ContentError(f"{what}: holds {len(found)} PEM blocks, expected one")
    return found[0]


def written(label: str, raw: bytes) -> bytes:
    """Return ``raw`` as a PEM block, as Go writes it."""
    text = base64.b64encode(raw).decode()
    lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def _decoded(body: bytes, what: str) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ContentError(f"{what}: its PEM is not base64") from error
