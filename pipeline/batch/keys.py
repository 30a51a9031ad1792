"""The keys ``encrypt``, ``encrypt-layers`` and ``decrypt`` of a batch file: names of files, never a secret."""

from collections.abc import Callable, Mapping
from typing import Any

from transship.pipeline.batch.reading import Document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.errors import UsageError
from transship.pipeline.trust.encryption.spelling import parse_recipient, parse_secret

_FILE = "file="


def read_keys(
    document: Document, absolute: Callable[[str], str], places: Mapping[str, Place], merged: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of a `Wish` about encryption; ``absolute`` makes a path one.

    Raises:
        UsageError: a key is misspelt or holds a passphrase, or both directions are asked for.
    """
    encrypt, decrypt = merged.get("encrypt", []), merged.get("decrypt", [])
    layers = merged.get("encrypt-layers", [])
    if encrypt and decrypt:
        raise document.refusal(places["encrypt"], "an image is either encrypted or decrypted", "say decrypt: [] here")
    if layers and not encrypt:
        raise document.refusal(places["encrypt-layers"], "goes with encrypt", "say encrypt: [jwe:FILE]")
    made: dict[str, Any] = {"encrypt_layers": tuple(layers)} if layers else {}
    for key, said, read in (("encrypt", encrypt, recipient), ("decrypt", decrypt, secret)):
        settled = []
        for number, text in enumerate(said):
            try:
                settled.append(read(absolute, text))
            except UsageError as error:
                raise document.refusal((*places[key], number), error.message, error.advice) from None
        made |= {key: tuple(settled)} if settled else {}
    return made


def recipient(absolute: Callable[[str], str], text: str) -> str:
    """Return ``text``, an item of ``encrypt``, with its path as ``absolute`` makes it; raises `UsageError`."""
    protocol, value = parse_recipient(text)
    return text if protocol == "pgp" else f"{protocol}:{absolute(value)}"


def secret(absolute: Callable[[str], str], text: str) -> str:
    """Return ``text``, an item of ``decrypt``, with its paths as ``absolute`` makes them; raises `UsageError`."""
    file, passphrase = parse_secret(text)
    if passphrase is None:
        return absolute(file)
    if not passphrase.startswith(_FILE):
        raise UsageError("a passphrase never stands in a batch file", advice="say FILE:file=PASSFILE")
    return f"{absolute(file)}:{_FILE}{absolute(passphrase.removeprefix(_FILE))}"
