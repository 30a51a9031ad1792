"""The bytes of a layer: AES-256-CTR, and HMAC-SHA256 over what is encrypted, by the same key.

Source: containers/ocicrypt blockcipher/blockcipher_aes_ctr.go.
"""

import hashlib
import hmac
import os
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from transship.pipeline.compression import Reader
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.trust.encryption.annotations import KEY_SIZE, NONCE_SIZE, Secret

_PIECE = 1 << 20


class Sealing:
    """Encrypts what is written to it, with a new key, and passes it on; constant memory."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.secret = Secret(os.urandom(KEY_SIZE), os.urandom(NONCE_SIZE))
        self._write = write
        self._cipher = _cipher(self.secret).encryptor()
        self._mac = hmac.new(self.secret.key, digestmod=hashlib.sha256)
        self._hasher = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Take the next bytes of the layer."""
        sealed = self._cipher.update(data)
        self._mac.update(sealed)
        self._hasher.update(sealed)
        self._write(sealed)

    @property
    def mac(self) -> bytes:
        """The HMAC of all that was passed on."""
        return self._mac.digest()

    @property
    def digest(self) -> Digest:
        """The digest of all that was passed on."""
        return Digest("sha256", self._hasher.hexdigest())


class Unsealing:
    """Decrypts what is read through it; the read that returns nothing has found the HMAC as it should be.

    What was read before must stay hidden until then.
    """

    def __init__(self, source: Reader, secret: Secret, mac: bytes) -> None:
        self._source = source
        self._cipher = _cipher(secret).decryptor()
        self._mac = hmac.new(secret.key, digestmod=hashlib.sha256)
        self._expected = mac
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes of the layer, empty at the end.

        Raises:
            ContentError: at the end, where the HMAC is another one; and what the source raises.
        """
        data = b"" if self._ended else self._source.read(size)
        if data:
            self._mac.update(data)
            return self._cipher.update(data)
        self._ended = True
        if not hmac.compare_digest(self._mac.digest(), self._expected):
            raise ContentError(
                "layer does not match the HMAC that it came with", advice="it was changed after it was encrypted"
            )
        return b""

    def drain(self) -> None:
        """Read to the end: what looks damaged once decrypted was rather changed before, and that is to be said."""
        while self.read(_PIECE):
            pass


def _cipher(secret: Secret) -> Cipher[modes.CTR]:
    return Cipher(algorithms.AES(secret.key), modes.CTR(secret.nonce))
