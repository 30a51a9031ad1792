"""Who signs by sigstore, as a plan can have it; and the signers of a process, each opened once."""

import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from transship.pipeline.trust.sigstore.parameters import Parameters, read
from transship.pipeline.trust.sigstore.signing import SigstoreSigner, nobody


class SigstoreKey(NamedTuple):
    """A private key in a file; without a passphrase file somebody is asked, who is there for one image alone."""

    key: str
    passphrase_file: str = ""


class SigstoreFile(NamedTuple):
    """A sigstore signing parameter file, which says all."""

    parameters: str
    passphrase_file: str = ""


Chosen: TypeAlias = SigstoreKey | SigstoreFile


class Session:
    """The signers of one process: a key is decrypted once, a certificate serves while it is good. Thread-safe."""

    def __init__(self, environ: Mapping[str, str], ask: Callable[[str], bytes] = nobody) -> None:
        """``environ`` may name proxies; ``ask`` gives the passphrase of a key for which there is no file, once."""
        self._environ = environ
        self._ask = lru_cache(None)(ask)
        self._signers: dict[Chosen, SigstoreSigner] = {}
        self._lock = threading.Lock()

    def signer(self, chosen: Chosen) -> SigstoreSigner:
        """Return what signs as ``chosen``; raises as `parameters.read`."""
        with self._lock:
            if chosen not in self._signers:
                if isinstance(chosen, SigstoreFile):
                    said = read(chosen.parameters)
                else:
                    said = Parameters(chosen.key, chosen.passphrase_file)
                self._signers[chosen] = SigstoreSigner(said, self._environ, self._ask)
            return self._signers[chosen]

    def anew(self) -> "Session":
        """Return another one for a process of its own, which knows the passphrases that were asked for here."""
        return Session(self._environ, self._ask)

    def close(self) -> None:
        """Close connections, and forget the keys; idempotent."""
        with self._lock:
            for signer in self._signers.values():
                signer.close()
            self._signers.clear()
