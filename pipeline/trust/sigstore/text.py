"""Base64 as JSON of Go's tools has it. Line ends in it mean nothing, as there; all else is read strictly."""

import base64
import binascii

from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.fields import Fields


def from_base64(fields: Fields, key: str) -> bytes:
    """Return the bytes at ``key``.

    Raises:
        ContentError: absent, no text, or not standard base64 with its padding.
    """
    return decoded(fields.text(key), f"{fields.where}: {key}")


def decoded(text: str, what: str) -> bytes:
    """Return the bytes that ``text`` spells; raises as `from_base64`."""
    text = text.replace("\r", "").replace("\n", "")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError(f"{what}: is not base64") from error
    # Bits behind the last byte are zero: else one signature had many spellings.
    if base64.b64encode(raw).decode() != text:
        raise ContentError(f"{what}: is not base64 as it is written")
    return raw
