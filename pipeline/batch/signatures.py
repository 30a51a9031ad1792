"""What a batch file says of signatures. Names of keys and files, never a secret."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from transship.pipeline.batch.reading import Document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.docker_name import named
from transship.pipeline.errors import UsageError


class SigningWords(NamedTuple):
    """The keys of one image: which key of GnuPG's and of Sequoia's, the passphrase's file, the name to sign under.

    ``sigstore_key`` is the file of a private key, ``sigstore`` a sigstore signing parameter file. All are empty where
    nothing is signed; ``identity`` may have placeholders, and is of each destination where empty.
    """

    by: str = ""
    sq: str = ""
    passphrase_file: str = ""
    identity: str = ""
    remove: bool = False
    sigstore_key: str = ""
    sigstore: str = ""


FILES: Final = ("sigstore-key", "sigstore", "passphrase-file")
"""Keys that name a file."""
NOTHING: Final = SigningWords()
"""Nothing is signed, and signatures go along where they can."""


def read_signing(
    document: Document, folder: Path, places: Mapping[str, Place], merged: Mapping[str, Any]
) -> SigningWords:
    """Return what stands there; a relative path is taken from ``folder``.

    Raises:
        UsageError: no key is named, or a passphrase is for more than one.
    """
    remove = merged.get("remove-signatures", False)
    if "signing" not in merged:
        return SigningWords(remove=remove)
    said, at = merged["signing"], places["signing"]
    files = {name: os.path.normpath((folder / said[name]).absolute()) for name in FILES if name in said}
    by, sq = said.get("by", ""), said.get("sq", "")
    key, parameters, file = (files.get(name, "") for name in FILES)
    if not (by or sq or key or parameters):
        raise document.refusal(at, "names no key", "say by: and a fingerprint, or sigstore-key: and a file")
    if file and (count := sum(map(bool, (by, sq, key)))) != 1:
        many = f"{count or 'none'} of by, sq and sigstore-key"
        raise document.refusal((*at, "passphrase-file"), f"is for one key, and {many} are there", "keep one of them")
    if key or parameters:
        _check_sigstore(document, at, files)
    return SigningWords(by, sq, file, said.get("identity", ""), remove, key, parameters)


def _check_sigstore(document: Document, at: Place, files: Mapping[str, str]) -> None:
    """Refuse what cannot be read, and what would have to be asked for: nobody is there in a run."""
    from transship.pipeline.trust.material import read_file  # noqa: PLC0415 - few batches sign
    from transship.pipeline.trust.sigstore.parameters import read  # noqa: PLC0415

    key, parameters, file = (files.get(name, "") for name in FILES)
    if key and not file:
        raise document.refusal((*at, "sigstore-key"), "has no passphrase-file beside it", "a run asks nobody")
    for name, path in files.items():
        try:
            found = read(path) if path == parameters else read_file(path, name) and None
        except UsageError as error:
            raise document.refusal((*at, name), error.message, error.advice) from error
        if found and found.key and not found.passphrase_file:
            raise document.refusal((*at, name), "privateKeyPassphraseFile is missing", "a run asks nobody")


def filled(document: Document, at: Place, words: SigningWords, fill: Callable[[Place, str], str]) -> SigningWords:
    """Return the words of one image, with the placeholders of the name to sign under filled.

    Raises:
        UsageError: it is no name with a tag or a digest then.
    """
    if not words.identity:
        return words
    at = (*at, "signing", "identity")
    identity = fill(at, words.identity)
    try:
        found = named(identity)
    except UsageError as error:
        raise document.refusal(at, error.message, error.advice) from error
    if not (found.tag or found.digest):
        raise document.refusal(at, f"{identity} has neither tag nor digest", "add :{tag}")
    return words._replace(identity=identity)
