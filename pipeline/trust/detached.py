"""Signatures beside what they are of: by OpenPGP, armored; by a key of sigstore's, base64. Made, and verified offline.

Each is what ``gpg --armor --detach-sign`` and ``cosign sign-blob --key --output-signature`` write, whose other halves
verify it; the latter's is, decoded, what ``openssl dgst -sha256 -verify`` takes.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from transship.pipeline.errors import ContentError, Error, RefusedError, UsageError
from transship.pipeline.trust import gpg_signing, material
from transship.pipeline.trust.gpg import Keyring
from transship.pipeline.trust.openpgp import read_signatures
from transship.pipeline.trust.sigstore import keys
from transship.pipeline.trust.sigstore.signing import SigstoreSigner

if TYPE_CHECKING:
    from transship.pipeline.trust.sigstore.keys import PublicKey

OPENPGP: Final = ".asc"
SIGSTORE: Final = ".sig"
"""What the name of a signature ends with, by its kind."""
_TRIAL: Final = b"a trial of this key\n"


class Signer(Protocol):
    """Signs what is to have a signature beside it."""

    kind: str
    """`OPENPGP` or `SIGSTORE`."""

    def open(self) -> str:
        """Get ready, so that what is wrong is found before long work; return who signs, for messages. Idempotent.

        Raises:
            UsageError: there is no such key, or it or its passphrase cannot be read.
            DeniedError: the passphrase is wrong.
            ContentError: the key is malformed.
        """

    def sign(self, raw: bytes) -> bytes:
        """Return the file of a signature of ``raw``; raises as `open`."""

    def has_signed(self, raw: bytes, signature: bytes) -> bool:
        """Say whether ``signature`` is such a file of ``raw``, by this key; raises as `open`."""


class OpenpgpSigner:
    """A secret key of the user's GnuPG; without a passphrase file his agent asks for one if need be."""

    kind = OPENPGP

    def __init__(self, key: str, passphrase_file: str = "") -> None:
        self._key = key
        self._file = passphrase_file
        self._passphrase: str | None = None
        self._fingerprint = ""

    def open(self) -> str:
        """Sign something, as `Signer.open` says: that is how gpg tells whether it can."""
        if not self._fingerprint:
            if self._file:
                # Once: it may be a pipe.
                self._passphrase = material.first_line(self._file, "--sign-passphrase-file")
            self._fingerprint = gpg_signing.sign(_TRIAL, self._key, self._passphrase, beside=True).fingerprint
        return f"OpenPGP key {self._fingerprint}"

    def sign(self, raw: bytes) -> bytes:
        """Return an armored signature, as `Signer.sign` says."""
        self.open()
        made = gpg_signing.sign(raw, self._key, self._passphrase, beside=True).raw
        # Options of the user's own may make it something that nobody could verify.
        if len(read_signatures(made, f"what {self._key} signed")) != 1:
            raise ContentError(f"what {self._key} signed has several signatures")
        return made

    def has_signed(self, raw: bytes, signature: bytes) -> bool:
        """Ask gpg, as `Signer.has_signed` says."""
        self.open()
        try:
            found = read_signatures(signature, "signature")
            verified = [Keyring().verify_beside(one, raw) for one in found]
        except Error:
            return False
        return [one.fingerprint for one in verified] == [self._fingerprint]


class SigstoreKeySigner:
    """A private key in a file, as cosign and skopeo write them."""

    kind = SIGSTORE

    def __init__(self, signer: SigstoreSigner) -> None:
        self._signer = signer

    def open(self) -> str:
        """Decrypt the key, as `Signer.open` says."""
        return f"sigstore key {self._signer.fingerprint}"

    def sign(self, raw: bytes) -> bytes:
        """Return base64 without an end of line, as `Signer.sign` says."""
        return base64.b64encode(self._signer.sign_bytes(raw))

    def has_signed(self, raw: bytes, signature: bytes) -> bool:
        """Verify it, as `Signer.has_signed` says."""
        return self._signer.has_signed(raw, _decoded(signature))


class Accepted:
    """The keys one of which must have signed something. To be closed."""

    def __init__(self, keyrings: Sequence[str], public_keys: Sequence[str]) -> None:
        """Read files of OpenPGP public keys, all of which count, and of one sigstore public key each.

        Raises:
            UsageError: one cannot be read or holds no key; gpg or a package is not installed.
        """
        self.kinds = tuple(kind for kind, given in ((OPENPGP, keyrings), (SIGSTORE, public_keys)) if given)
        """Which kinds of signatures may do."""
        self._keyring: Keyring | None = None
        try:
            self._keys: Sequence[PublicKey] = [keys.public_key(material.read_key(path), path) for path in public_keys]
        except ContentError as error:
            raise UsageError(error.message, advice=error.advice or "name a file with one public key") from error
        if keyrings:
            self._keyring = Keyring([material.read_key(path) for path in keyrings], "--signed-by")

    def signer(self, kind: str, signature: bytes, raw: bytes, what: str) -> str:
        """Return who signed ``raw``, for messages; ``signature`` is what the file ``what`` of that ``kind`` holds.

        Raises:
            RefusedError: none of the keys, or not this, or the signature or its key is not valid any more.
            TransportError: gpg did not end.
        """
        return self._openpgp(signature, raw, what) if kind == OPENPGP else self._sigstore(signature, raw, what)

    def close(self) -> None:
        """Forget the keys; idempotent."""
        if self._keyring is not None:
            self._keyring.close()

    def _openpgp(self, signature: bytes, raw: bytes, what: str) -> str:
        assert self._keyring is not None, "asked of the kinds that are given"
        try:
            found = read_signatures(signature, what)
        except ContentError as error:
            raise RefusedError(error.message) from error
        refused: list[RefusedError] = []
        for one in found:
            try:
                verified = self._keyring.verify_beside(one, raw, what)
                for fingerprint in (verified.fingerprint, verified.primary):
                    if fingerprint in self._keyring.fingerprints:
                        return f"OpenPGP key {fingerprint}"
                raise RefusedError(f"{what}: by key {verified.fingerprint}, which is not among those accepted")
            except RefusedError as error:
                refused.append(error)
        raise refused[0]

    def _sigstore(self, signature: bytes, raw: bytes, what: str) -> str:
        decoded = _decoded(signature)
        for key in self._keys:
            if keys.signed_by(key, decoded, raw):
                return f"sigstore key {keys.fingerprint(key)}"
        raise RefusedError(f"{what}: the signature is by another key, or of something else")


def _decoded(signature: bytes) -> bytes:
    """Return the bytes of a signature of sigstore's: decoded, or as they are where they are no base64, as cosign."""
    try:
        return base64.b64decode(b"".join(signature.split()), validate=True)
    except binascii.Error:
        return signature
