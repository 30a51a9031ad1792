"""Keys wrapped as OpenPGP messages, by GnuPG: public keys out of the caller's keyring, secret ones out of a file.

Nothing is written to the caller's keyring and no agent of the caller's is asked: GnuPG works in a folder of its own,
which is gone afterwards, and its agent with it. A passphrase goes through a pipe.
Sources: containers/ocicrypt keywrap/pgp,
gpg.go; gpg(1); GnuPG doc/DETAILS.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from transship.pipeline.errors import ContentError, UsageError, shown
from transship.pipeline.trust.encryption.annotations import MAX_OPTIONS

_TIMEOUT: Final = 60.0
_LONGEST: Final = 64
_SHORT: Final = "/tmp"  # noqa: S108 - a folder of our own is made there
_ARMOUR: Final = b"-----BEGIN PGP PRIVATE KEY BLOCK-----"
_SECRET_PACKETS: Final = frozenset({0x94, 0x95, 0x96, 0x97, 0xC5})
"""What a packet of a secret key begins with, in its old and its new form (RFC 4880, section 4.2)."""
_USER: Final = re.compile(r"\s*(?P<name>[^<(]*?)\s*(?:\([^)]*\))?\s*<(?P<address>[^<>]+)>\s*")
_QUIET: Final = ("--batch", "--no-tty", "--quiet", "--no-auto-check-trustdb", "--no-autostart")
# Not quiet: then it would not say that a passphrase is wrong.
_OWN: Final = ("--batch", "--no-tty", "--no-auto-check-trustdb", "--pinentry-mode", "loopback")
# What every reader knows: no AEAD, no compression.
_PLAIN: Final = ("--rfc4880", "--cipher-algo", "AES256", "--compress-algo", "none", "--trust-model", "always")
_FAILED: Final = re.compile(r"ERROR pkdecrypt_failed ([0-9]{1,10})\b")
_CODE: Final = 0xFFFF
_PASSPHRASE: Final = {11: "its passphrase is wrong", 177: "it needs a passphrase"}
"""By libgpg-error's code, which stands in the lower bits (gpg-error.h)."""
_ESCAPED: Final = re.compile(r"\\x([0-9a-f]{2})")


class PublicKey(NamedTuple):
    """A recipient's key, exported."""

    fingerprint: str
    raw: bytes


class Unwrapped(NamedTuple):
    """What a secret key made of a packet: the plain bytes, or why there are none."""

    plain: bytes | None
    why: str = ""


def find(name: str) -> list[PublicKey]:
    """Return the caller's public keys of a user whose name or address is exactly ``name``.

    Raises:
        UsageError: there is none, or there is no GnuPG.
    """
    what = f"pgp:{shown(name)}"
    listed = _run([*_QUIET, "--with-colons", "--list-keys", "--", name], what=what)
    found = _matching(listed.stdout.decode("utf-8", "replace"), name)
    if not found:
        raise UsageError(
            f"{what}: no key of that name or address in GnuPG's keyring", advice="import it with gpg --import"
        )
    return [_exported(fingerprint, what) for fingerprint in found]


def is_secret_key(raw: bytes) -> bool:
    """Say whether a file holds OpenPGP secret keys, armoured or not."""
    return _ARMOUR in raw or raw[:1] in {bytes([tag]) for tag in _SECRET_PACKETS}


def wrap(keys: Sequence[PublicKey], plain: bytes) -> bytes:
    """Return ``plain`` encrypted for each key.

    Raises:
        UsageError: GnuPG refuses, as of a key that has expired.
    """
    with _home() as home:
        words = [*_OWN, "--homedir", str(home), *_PLAIN]
        for number, key in enumerate(keys):
            file = home / f"recipient-{number}"
            file.write_bytes(key.raw)
            words += ["--recipient-file", str(file)]
        done = _run([*words, "--output", "-", "--encrypt"], plain, what="pgp")
    if done.returncode or not done.stdout:
        names = ", ".join(key.fingerprint for key in keys)
        raise UsageError(f"pgp: GnuPG does not encrypt for {names}: {_last(done.stderr)}", advice="see gpg --list-keys")
    return done.stdout


def unwrap(key: bytes, passphrase: bytes | None, packet: bytes) -> Unwrapped:
    """Return what ``packet`` holds for a secret key; no more than a layer's key can take is read of it."""
    with _home() as home:
        own = [*_OWN, "--homedir", str(home)]
        status = home / "status"
        imported = _run([*own, "--import"], key, what="pgp")
        if imported.returncode and not any((home / "private-keys-v1.d").glob("*.key")):
            return Unwrapped(None, f"GnuPG cannot read it: {_last(imported.stderr)}")
        limits = ["--max-output", str(MAX_OPTIONS), "--status-file", str(status)]
        done = _run([*own, *limits, "--output", "-", "--decrypt"], packet, passphrase or b"", what="pgp")
        said = status.read_text(errors="replace") if status.exists() else ""
    if done.returncode == 0 and "DECRYPTION_OKAY" in said:
        return Unwrapped(done.stdout)
    codes = [int(code) & _CODE for code in _FAILED.findall(said)]
    return Unwrapped(None, next((_PASSPHRASE[code] for code in codes if code in _PASSPHRASE), ""))


def _matching(listing: str, name: str) -> list[str]:
    """Return the fingerprints of the keys in GnuPG's listing that have a user of exactly that name or address."""
    found: dict[str, None] = {}
    fingerprint, wanted = "", False
    for line in listing.splitlines():
        fields = line.split(":")
        if fields[0] == "pub":
            wanted = True
        elif fields[0] == "fpr" and wanted and len(fields) > 9:
            # The first after a primary key is its own; the others are of subkeys.
            fingerprint, wanted = fields[9], False
        elif fields[0] == "uid" and len(fields) > 9 and fields[1] not in ("r", "e"):
            user = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), fields[9])
            match = _USER.fullmatch(user)
            if name in ((match["name"], match["address"]) if match else (user.strip(),)):
                found[fingerprint] = None
    return list(found)


def _exported(fingerprint: str, what: str) -> PublicKey:
    done = _run([*_QUIET, "--export-options", "export-minimal", "--export", fingerprint], what=what)
    if done.returncode or not done.stdout:
        raise ContentError(f"{what}: GnuPG does not export {fingerprint}: {_last(done.stderr)}")
    return PublicKey(fingerprint, done.stdout)


@contextmanager
def _home() -> Iterator[Path]:
    """Make a folder for GnuPG alone; its agent is ended and the folder removed."""
    # Its agent's socket is in there, and has a short name or none.
    near = tempfile.gettempdir()
    place = near if len(near) <= _LONGEST else _SHORT
    with tempfile.TemporaryDirectory(prefix="transship-", dir=place, ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        finally:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(  # noqa: S603 - fixed words
                    ["gpgconf", "--homedir", folder, "--kill", "all"],  # noqa: S607 - as gpg itself is found
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    timeout=_TIMEOUT,
                    check=False,
                )


def _run(
    words: Sequence[str], given: bytes = b"", passphrase: bytes | None = None, *, what: str
) -> subprocess.CompletedProcess[bytes]:
    """Run GnuPG; a passphrase, empty where there is none, goes through a pipe of its own."""
    read = write = -1
    command = ["gpg", *words]
    try:
        if passphrase is not None:
            read, write = os.pipe()
            os.write(write, passphrase + b"\n")
            os.close(write)
            write = -1
            command[1:1] = ["--passphrase-fd", str(read)]
        return subprocess.run(  # noqa: S603 - no shell
            command,
            input=given,
            capture_output=True,
            pass_fds=() if read < 0 else (read,),
            timeout=_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(f"{what}: there is no gpg in PATH", advice="install GnuPG") from error
    except subprocess.TimeoutExpired:
        raise ContentError(f"{what}: GnuPG gave no answer in {_TIMEOUT:.0f} s") from None
    finally:
        for handle in (read, write):
            if handle >= 0:
                os.close(handle)


def _last(stderr: bytes) -> str:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return shown(lines[-1].removeprefix("gpg: ")) if lines else "it does not say why"
