"""Signatures made: who signs, under which name, and what comes of it. Holds names of keys and files, never a secret."""

import time
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline import __version__
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference, named
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.manifest.document import Json, Object, dump, load
from transship.pipeline.reference import Reference
from transship.pipeline.signature import Signature
from transship.pipeline.trust import material, simple, sq
from transship.pipeline.trust.carrying import Signing, Wish
from transship.pipeline.trust.openpgp import read_message
from transship.pipeline.trust.payload import SIMPLE, Payload, write
from transship.pipeline.trust.policy import image_name
from transship.pipeline.trust.sigstore.session import Chosen, Session, SigstoreFile, SigstoreKey
from transship.pipeline.trust.sigstore.signing import SigstoreSigner


class GpgSigner(NamedTuple):
    """A secret key of the user's GnuPG; without a passphrase file his agent asks for one if need be."""

    fingerprint: str
    passphrase_file: str = ""

    @property
    def says(self) -> str:
        """What a report says of it."""
        return f"signedBy {self.fingerprint}"


class SqSigner(NamedTuple):
    """A secret key of the user's Sequoia."""

    fingerprint: str
    passphrase_file: str = ""

    @property
    def says(self) -> str:
        """What a report says of it."""
        return f"signedBy {self.fingerprint}"


Signer: TypeAlias = GpgSigner | SqSigner | SigstoreKey | SigstoreFile
_KINDS: Final[dict[type[Signer], str]] = {
    GpgSigner: "gpg",
    SqSigner: "sq",
    SigstoreKey: "sigstore-key",
    SigstoreFile: "sigstore",
}
"""What a plan calls each; all have what names the key, and the file of its passphrase."""


def signers(
    by: str = "", sq: str = "", sigstore: str = "", sigstore_key: str = "", passphrase_file: str = ""
) -> tuple[Signer, ...]:
    """Return who signs by the words of a user, empty where he says nothing of one; in the order of these words.

    ``by`` and ``sq`` name keys of GnuPG's and Sequoia's, ``sigstore`` is a sigstore signing parameter file,
    ``sigstore_key`` the file of a private key; ``passphrase_file`` is for whichever key needs one.
    """
    made: list[Signer] = []
    if by:
        made.append(GpgSigner(by, passphrase_file))
    if sq:
        made.append(SqSigner(sq, passphrase_file))
    if sigstore:
        made.append(SigstoreFile(sigstore))
    if sigstore_key:
        made.append(SigstoreKey(sigstore_key, passphrase_file))
    return tuple(made)


def to_text(wish: Wish) -> str:
    """Return a wish as a plan has it: JSON, empty for none."""
    if wish == Wish():
        return ""
    listed: list[Json] = [
        {"kind": _KINDS[type(one)], "key": one[0], "passphrase-file": one[1]} for one in wish.signing.signers
    ]
    made: Object = {"by": listed, "identity": wish.signing.identity, "remove": wish.remove}
    return dump(made).decode()


def from_text(text: str) -> Wish:
    """Return the wish that `to_text` has written."""
    if not text:
        return Wish()
    said = load(text.encode(), "plan")
    listed = said["by"]
    found: list[Signer] = []
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            make = next(kind for kind, name in _KINDS.items() if name == one["kind"])
            found.append(make(str(one["key"]), str(one["passphrase-file"])))
    return Wish(Signing(tuple(found), str(said["identity"])), said["remove"] is True)


def says(signer: Signer, session: Session | None) -> str:
    """Return what a report says of a signer; ``session`` as in `sign`, raises as that."""
    if isinstance(signer, SigstoreKey | SigstoreFile):
        return _opened(signer, session).says
    return signer.says


def _opened(signer: Chosen, session: Session | None) -> SigstoreSigner:
    assert session is not None, "who may sign by sigstore brings a session"
    return session.signer(signer)


def signing_name(identity: str, destination: Reference) -> DockerReference:
    """Return the name to sign under: ``identity``, or where that is empty the destination's own.

    Raises:
        UsageError: it is no name with a tag or a digest; the destination has none.
    """
    found = named(identity) if identity else image_name(destination)
    if found is None:
        raise UsageError(
            f"{destination}: has no name that could be signed", advice="say one with --sign-identity, or identity:"
        )
    if not (found.tag or found.digest):
        raise UsageError(f"--sign-identity {identity}: has neither tag nor digest", advice="expected name:tag")
    return found


def sign(
    signer: Signer, manifest: Digest, name: DockerReference, spelt: str = "", session: Session | None = None
) -> Signature:
    """Return a signature of ``manifest`` under ``name``, made now; ``spelt`` is the name as the user has it.

    ``session`` has opened signers of sigstore.

    Raises:
        UsageError: there is no such key, or its passphrase is missing or wrong.
        Error: as `SigstoreSigner.sign`.
        ContentError: what was made is no signature of this.
    """
    if isinstance(signer, SigstoreKey | SigstoreFile):
        return _opened(signer, session).sign(manifest, spelt or str(name).removeprefix("docker://"))
    passphrase = (
        material.first_line(signer.passphrase_file, "--sign-passphrase-file") if signer.passphrase_file else None
    )
    payload = Payload(
        manifest, spelt or str(name).removeprefix("docker://"), f"transship {__version__}", int(time.time())
    )
    if isinstance(signer, SqSigner):
        made = sq.sign(payload, signer.fingerprint, passphrase, signer.passphrase_file)
    else:
        made = simple.sign(payload, signer.fingerprint, passphrase)
    # Options of the user's own may make it something that nobody could verify.
    if read_message(made.raw, f"what {signer.fingerprint} signed").text != write(payload, SIMPLE):
        raise ContentError(f"what {signer.fingerprint} signed is another text than was to be signed")
    return made
