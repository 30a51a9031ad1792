"""A certificate authority of the tests' own, and a certificate for localhost that it issued."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """A folder with ``chain.pem`` and ``key.pem`` for a server, and ``certs/ca.crt``, as --cert-dir takes it."""

    folder: Path

    @property
    def pair(self) -> tuple[Path, Path]:
        return self.folder / "chain.pem", self.folder / "key.pem"

    @property
    def trusted(self) -> Path:
        return self.folder / "certs"


def issued(folder: Path, name: str = "localhost") -> Certificates:
    """Make an authority and a certificate for ``name`` in ``folder``."""
    authority = trustme.CA()
    certificate = authority.issue_cert(name)
    (folder / "certs").mkdir(parents=True)
    authority.cert_pem.write_to_path(folder / "certs/ca.crt")
    (folder / "chain.pem").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    return Certificates(folder)
