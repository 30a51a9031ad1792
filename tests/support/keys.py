"""OpenPGP keys for tests: made once, in GnuPG homes of their own, whose agents end with them."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PASSPHRASE = "open sesame, said the test"
_PAST = "20200101T000000"


class Keys(NamedTuple):
    """A home with secret keys: ``good``, ``other``, ``locked`` (by `PASSPHRASE`), ``expired``, ``revoked``.

    ``grown`` is for who adds a subkey.

    ``public`` has a file NAME.gpg for each, and all.gpg.
    """

    home: Path
    public: Path
    fingerprints: dict[str, str]

    def __getitem__(self, name: "str | int") -> str:  # type: ignore[override]
        return self.fingerprints[str(name)]

    def gpg(self, *words: str, data: bytes = b"") -> bytes:
        return _gpg(self.home, *words, data=data)

    def sign(self, text: bytes, name: str = "good", *more: str) -> bytes:
        """Return an OpenPGP message around ``text``."""
        past = ("--faked-system-time", _PAST) if name == "expired" else ()
        return self.gpg(*past, "--local-user", self.fingerprints[name], *more, "--sign", data=text)

    def end_agent(self) -> None:
        """Have it forget the passphrases that it was given."""
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "gpg-agent"], check=True, timeout=60)

    def file(self, name: str) -> Path:
        return self.public / f"{name}.gpg"


@contextlib.contextmanager
def keys() -> Iterator[Keys]:
    # Sockets have short names only.
    with tempfile.TemporaryDirectory(prefix="gpg") as folder:
        home, public = Path(folder, "home"), Path(folder, "public")
        home.mkdir(mode=0o700)
        public.mkdir()
        try:
            yield _made(home, public)
        finally:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, timeout=60)


def _made(home: Path, public: Path) -> Keys:
    fingerprints = {}
    for name in ("good", "other", "locked", "expired", "revoked", "grown"):
        secret = PASSPHRASE if name == "locked" else ""
        past = ("--faked-system-time", _PAST) if name == "expired" else ()
        until = "1y" if name == "expired" else "never"
        loopback = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
        user = f"{name} <{name}@example.com>"
        # What is generated is the one key that has the mail address.
        _gpg(home, *past, *loopback, "--quick-gen-key", user, "ed25519", "sign", until, data=f"{secret}\n".encode())
        listed = _gpg(home, "--with-colons", "--list-keys", f"{name}@example.com").decode()
        fingerprints[name] = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    made = Keys(home, public, fingerprints)
    for name, fingerprint in fingerprints.items():
        if name == "revoked":
            certificate = home / f"openpgp-revocs.d/{fingerprint}.rev"
            # gpg puts a colon there, so that nobody does this by mistake; elsewhere the key stays usable.
            revoked = certificate.read_text().replace(":-----BEGIN", "-----BEGIN").encode()
            with tempfile.TemporaryDirectory(prefix="gpg") as other:
                os.chmod(other, 0o700)
                _gpg(Path(other), "--import", data=made.gpg("--export", fingerprint))
                _gpg(Path(other), "--import", data=revoked)
                made.file(name).write_bytes(_gpg(Path(other), "--export", fingerprint))
        else:
            made.file(name).write_bytes(made.gpg("--export", fingerprint))
    made.file("all").write_bytes(b"".join(made.file(name).read_bytes() for name in fingerprints))
    return made


def _gpg(home: Path, *words: str, data: bytes = b"") -> bytes:
    done = subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--no-tty", *words],
        input=data,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
