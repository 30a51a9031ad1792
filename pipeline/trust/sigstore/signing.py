"""Making sigstore signatures: with a key, or with Fulcio's certificates; recorded in a log where one is named."""

import base64
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from transship.pipeline import __version__
from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.signature import SigstoreSignature
from transship.pipeline.trust.material import passphrase, read_file
from transship.pipeline.trust.payload import SIGSTORE, Payload, write
from transship.pipeline.trust.sigstore import keys
from transship.pipeline.trust.sigstore.log_entry import Recorded
from transship.pipeline.trust.sigstore.parameters import Parameters
from transship.pipeline.trust.sigstore.services import Issued, Services
from transship.pipeline.trust.sigstore.verification import BUNDLE, CERTIFICATE, CHAIN, MEDIA_TYPE, SIGNATURE

if TYPE_CHECKING:
    from transship.pipeline.trust.sigstore.keys import PrivateKey

_LEAST: Final = 60.0
"""Seconds that a certificate must still be good for when something is signed under it."""


def nobody(key: str) -> bytes:
    """Refuse to ask for the passphrase of ``key``; raises `UsageError`."""
    raise UsageError(f"{shown(key)}: its passphrase is not given", advice="name a file that holds it")


class SigstoreSigner:
    """Signs images as `Parameters` say. The key is read once, when the first is signed. Thread-safe; to be closed."""

    def __init__(self, said: Parameters, environ: Mapping[str, str], ask: Callable[[str], bytes] = nobody) -> None:
        """``environ`` may name proxies; ``ask`` gives the passphrase of a key for which ``said`` names no file."""
        self._said = said
        self._ask = ask
        self._services = Services(environ)
        self._key: PrivateKey | None = None
        self._issued: Issued | None = None
        self._good_until = 0.0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return f"SigstoreSigner({self._said!r})"

    @property
    def says(self) -> str:
        """What a report says of it. Gets ready to sign, so that what is wrong is found before anything is copied.

        Raises as `sign`.
        """
        self._ready()
        if self._said.key:
            return f"sigstoreSigned key {self.fingerprint}"
        from transship.pipeline.trust.sigstore.services import subject  # noqa: PLC0415

        return f"sigstoreSigned certificate of {subject(self._said.token)} by {self._said.fulcio}"

    @property
    def fingerprint(self) -> str:
        """That of its public key, as `keys.fingerprint`; raises as `sign`."""
        return keys.fingerprint(self._ready()[0].public_key())

    def sign(self, manifest: Digest, name: str) -> SigstoreSignature:
        """Return a signature that says that the image ``name``, a full name with a tag or a digest, is ``manifest``.

        Raises:
            UsageError: the key or its passphrase cannot be read; the file is no key.
            ContentError: the key is malformed; Rekor or Fulcio answers what is not to be used.
            DeniedError: the passphrase is wrong, or the token is not taken.
            TransportError: Rekor or Fulcio fails.
        """
        key, issued = self._ready()
        payload = write(Payload(manifest, name, f"transship {__version__}", int(time.time())), SIGSTORE)
        signature = base64.b64encode(keys.sign(key, payload)).decode()
        annotations = {SIGNATURE: signature}
        if issued:
            annotations[CERTIFICATE] = issued.certificate
            annotations[CHAIN] = issued.chain
        if self._said.rekor:
            signer = issued.certificate.encode() if issued else keys.public_pem(key.public_key())
            annotations[BUNDLE] = self._services.record(self._said.rekor, Recorded(signer, signature, payload))
        return SigstoreSignature(MEDIA_TYPE, payload, annotations)

    def sign_bytes(self, message: bytes) -> bytes:
        """Return the signature of ``message`` itself, as `keys.sign`; raises as `sign`."""
        return keys.sign(self._ready()[0], message)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Say whether ``signature`` is one of ``message`` by this key; raises as `sign`."""
        return keys.signed_by(self._ready()[0].public_key(), signature, message)

    def close(self) -> None:
        """Close connections; idempotent."""
        self._services.close()

    def _ready(self) -> "tuple[PrivateKey, Issued | None]":
        said = self._said
        with self._lock:
            if said.fulcio:
                if self._issued is None or time.time() > self._good_until - _LEAST:
                    self._issued = self._services.certify(said.fulcio, said.token)
                    self._good_until = _end(self._issued)
                return self._issued.key, self._issued
            if self._key is None:
                raw, file = read_file(said.key, "sigstore key"), said.passphrase_file
                found = passphrase(file, "passphrase of a sigstore key") if file else self._ask(said.key)
                self._key = keys.private_key(raw, found, said.key)
            return self._key, None


def _end(issued: Issued) -> float:
    from transship.pipeline.trust.sigstore.certificates import leaf  # noqa: PLC0415

    return leaf(issued.certificate).not_valid_after_utc.timestamp()
