"""A signed bundle for tests: the bundle b.tar in volumes beside a batch, keys, and who verifies what is signed."""

import base64
import shutil
import subprocess
import tempfile
from pathlib import Path

from support.bundles import IMAGES, create, files_of, write_batch
from support.command import command
from support.keys import PASSPHRASE, Keys
from transship.pipeline.trust.sigstore import keys

SECRET = "a phrase for sigstore"
SIGSTORE = ("--sign-by-sigstore-private-key", "my.private", "--sign-passphrase-file", "secret")


def make_signable(folder: Path, openpgp: Keys) -> None:
    """Make the bundle, not signed, with the batch it is of; keys of sigstore's; phrases; GnuPG's public keys."""
    create(write_batch(folder, IMAGES), folder / "b.tar", "--split", "10K")
    for name in ("my", "other"):
        private, public = keys.generate(SECRET.encode())
        (folder / f"{name}.private").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)
    (folder / "signed").mkdir()
    raw = (folder / "b.tar.sums").read_bytes()
    by = keys.private_key((folder / "my.private").read_bytes(), SECRET.encode(), "my.private")
    (folder / "signed/b.tar.sums.sig").write_bytes(base64.b64encode(keys.sign(by, raw)))
    armored = openpgp.gpg("--local-user", openpgp["good"], "--armor", "--detach-sign", data=raw)
    (folder / "signed/b.tar.sums.asc").write_bytes(armored)
    (folder / "secret").write_text(f"{SECRET}\n")
    (folder / "phrase").write_text(f"{PASSPHRASE}\n")
    for name in openpgp.fingerprints:
        shutil.copy(openpgp.file(name), folder / f"{name}.gpg")


def done(place: Path, *words: str) -> str:
    """Run the command, which ends well; return what it printed."""
    ran = command(place, *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


def refused(place: Path, *words: str, code: int = 1) -> str:
    """Run the command, which says why it fails in one line; return that."""
    before = files_of(place / "b.tar")
    ran = command(place, *words)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert files_of(place / "b.tar") == before
    return ran.stderr


def sign(place: Path, *words: str) -> str:
    return done(place, "bundle", "sign", "b.tar", *words)


def put_signatures(place: Path) -> None:
    """Put signatures by ``good`` and ``my`` beside the bundle, made once."""
    for path in (place / "signed").iterdir():
        shutil.copy(path, place)


def gpg_accepts(place: Path, keyring: str = "good.gpg", name: str = "b.tar") -> bool:
    # Its sockets have short names only.
    with tempfile.TemporaryDirectory(prefix="gpg") as home:
        gpg = ["gpg", "--homedir", home, "--batch"]
        subprocess.run([*gpg, "--import", place / keyring], check=True, capture_output=True, timeout=60)
        words = [*gpg, "--verify", f"{name}.sums.asc", f"{name}.sums"]
        return subprocess.run(words, cwd=place, check=False, capture_output=True, timeout=60).returncode == 0


def openssl_accepts(place: Path, key: str = "my.pub") -> bool:
    (place / "decoded").write_bytes(base64.b64decode((place / "b.tar.sums.sig").read_bytes(), validate=True))
    words = ["openssl", "dgst", "-sha256", "-verify", key, "-signature", "decoded", "b.tar.sums"]
    return subprocess.run(words, cwd=place, check=False, capture_output=True, timeout=60).returncode == 0
