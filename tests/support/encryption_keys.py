"""Keys for encrypted layers, made by OpenSSL and GnuPG: none of them is the product's work."""

import os
import subprocess
from pathlib import Path

PASSPHRASE = "correct-horse-7391"
PERSON = "ann@a.example"
LOCKED_PERSON = "bob@b.example"


class KeyFolder:
    """Files of keys in ``path``: NAME.pem is private, NAME.pub its public half, NAME.crt its certificate.

    ``locked`` keys have `PASSPHRASE`. ``gnupg`` is a keyring with the keys of two persons, whose secret halves
    are in ann.sec and bob.sec.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.gnupg = path / "gnupg"
        for name in ("rsa", "stranger"):
            self._ssl("genrsa", "-out", f"{name}.pem", "2048")
            self._ssl("rsa", "-in", f"{name}.pem", "-pubout", "-out", f"{name}.pub")
            self._ssl("req", "-x509", "-key", f"{name}.pem", "-out", f"{name}.crt", "-subj", f"/CN={name}")
        self._ssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ec.pem")
        self._ssl("pkey", "-in", "ec.pem", "-pubout", "-out", "ec.pub")
        self._ssl("req", "-x509", "-key", "ec.pem", "-out", "ec.crt", "-subj", "/CN=ec")
        lock = ("-aes256", "-passout", f"pass:{PASSPHRASE}")
        self._ssl("rsa", "-in", "rsa.pem", "-traditional", *lock, "-out", "locked.pem")
        self._ssl("pkcs8", "-topk8", "-in", "rsa.pem", "-v2", "aes256", *lock[1:], "-out", "locked8.pem")
        self._ssl("rsa", "-in", "rsa.pem", "-outform", "DER", "-out", "rsa.der")
        (path / "passphrase").write_text(f"{PASSPHRASE}\n")
        self.gnupg.mkdir(mode=0o700)
        # Else its agent first measures how long a passphrase can be made to take.
        (self.gnupg / "gpg-agent.conf").write_text("s2k-count 65536\n")
        for name, passphrase in ((PERSON, ""), (LOCKED_PERSON, PASSPHRASE)):
            self._gpg(
                "--passphrase", passphrase, "--quick-gen-key", f"Some One <{name}>", "rsa1024", "default", "never"
            )
            [primary] = self._fingerprints(name)
            self._gpg("--passphrase", passphrase, "--quick-add-key", primary, "rsa1024", "encr", "never")
            raw = self._gpg("--passphrase", passphrase, "--export-secret-keys", primary)
            (path / f"{name[:3]}.sec").write_bytes(raw)
        subprocess.run(["gpgconf", "--homedir", str(self.gnupg), "--kill", "all"], check=True, timeout=60)

    @property
    def environment(self) -> dict[str, str]:
        """What a tool needs that encrypts for the persons."""
        return {**os.environ, "GNUPGHOME": str(self.gnupg)}

    def __getitem__(self, name: str) -> str:
        return str(self.path / name)

    def _fingerprints(self, name: str) -> list[str]:
        lines = self._gpg("--with-colons", "--list-keys", name).decode().splitlines()
        return [line.split(":")[9] for line in lines if line.startswith("fpr:")]

    def _ssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.path, check=True, capture_output=True, timeout=60)

    def _gpg(self, *words: str) -> bytes:
        own = ["gpg", "--homedir", str(self.gnupg), "--batch", "--quiet", "--pinentry-mode", "loopback"]
        return subprocess.run([*own, *words], check=True, capture_output=True, timeout=120).stdout
