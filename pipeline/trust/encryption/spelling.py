"""How keys are spelt on the command line and in batch files. Pure; loads no library."""

from typing import Final

from transship.pipeline.errors import UsageError, shown

PROTOCOLS: Final = ("jwe", "pgp", "pkcs7")
_UNBUILT: Final = {
    "pkcs11": "keys in hardware modules (PKCS #11) are not built",
    "provider": "key providers are not built",
}
_EXPECTED: Final = "expected jwe:FILE, pkcs7:FILE or pgp:NAME"


def parse_recipient(text: str) -> tuple[str, str]:
    """Return protocol and value of ``protocol:value``.

    Raises:
        UsageError: it is spelt otherwise, or the protocol is none of those known.
    """
    protocol, colon, value = text.partition(":")
    refuse_unbuilt(text)
    if not colon or not value:
        raise UsageError(f"encryption key {shown(text)!r}: no protocol", advice=_EXPECTED)
    if protocol not in PROTOCOLS:
        raise UsageError(f"encryption key {shown(text)!r}: unknown protocol", advice=_EXPECTED)
    return protocol, value


def parse_secret(text: str) -> tuple[str, str | None]:
    """Return the file of a decryption key, and what is said of its passphrase, None where nothing is.

    Raises:
        UsageError: it names no file, or a kind of key that is not built; a passphrase is not quoted.
    """
    refuse_unbuilt(text)
    file, colon, passphrase = text.partition(":")
    if not file:
        raise UsageError("decryption key: names no file", advice="expected FILE or FILE:PASSPHRASE")
    return file, passphrase if colon else None


def refuse_unbuilt(text: str) -> None:
    """Raise `UsageError` for keys that are in no file."""
    protocol = text.partition(":")[0]
    if protocol in _UNBUILT and ":" in text:
        raise UsageError(f"{protocol}: {_UNBUILT[protocol]}", advice="use jwe, pgp or pkcs7, with keys in files")


def recipient_name(text: str) -> str:
    """Return how a report calls a recipient: its protocol, and its file without folders."""
    protocol, _, value = text.partition(":")
    return f"{protocol}:{value if protocol == 'pgp' else value.rpartition('/')[2]}"
