"""What a batch file says of signatures. Names of keys and files, never a secret."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from transship.pipeline.batch.reading import Document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.errors import UsageError
from transship.pipeline.reference import named


class SigningWords(NamedTuple):
    """The keys of one image: which key of GnuPG's and of Sequoia's, the passphrase's file, the name to sign under.

    All are empty where nothing is signed; ``identity`` may have placeholders, and is of each destination where empty.
    """

    by: str = ""
    sq: str = ""
    passphrase_file: str = ""
    identity: str = ""
    remove: bool = False


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
    by, sq = said.get("by", ""), said.get("sq", "")
    if not (by or sq):
        raise document.refusal(at, "names no key", "say by: and a fingerprint")
    file = said.get("passphrase-file", "")
    if file and by and sq:
        raise document.refusal((*at, "passphrase-file"), "is for one key, and two are named", "keep one of by and sq")
    return SigningWords(by, sq, str((folder / file).absolute()) if file else "", said.get("identity", ""), remove)


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
