"""Where keys come from: the libraries are loaded here, once a key is named."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transship.pipeline.trust.extra import from_extra

if TYPE_CHECKING:
    from transship.pipeline.trust.encryption.keys import Keys


def loaded(encrypt: Sequence[str], decrypt: Sequence[str]) -> "Keys | None":
    """Return the keys that are named, None where none is.

    Raises:
        UsageError: one cannot be read or used, or a library that this needs is not installed.
    """
    if not encrypt and not decrypt:
        return None
    with from_extra("encryption of layers"):
        from transship.pipeline.trust.encryption.keys import load_keys  # noqa: PLC0415 - an extra
    return load_keys(encrypt, decrypt)
