"""Signing with a key of Sequoia's, through its command; verified these are as GnuPG's are. Source: sq-sign(1)."""

import subprocess
from typing import Final

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.signature import SimpleSignature
from transship.pipeline.trust.payload import SIMPLE, Payload, write

_SECONDS: Final = 60


def sign(payload: Payload, fingerprint: str, passphrase: str | None, passphrase_file: str) -> SimpleSignature:
    """Return a signature by a key in the user's Sequoia home.

    The passphrase is read by the command itself, from its file.

    Raises:
        UsageError: the command is missing, knows no such key, or the passphrase is wrong.
    """
    unlocked = ("--password-file", passphrase_file) if passphrase is not None else ()
    words = ("sq", "--batch", "sign", "--message", "--binary", "--signer", fingerprint, *unlocked, "--output", "-", "-")
    try:
        made = subprocess.run(  # noqa: S603
            words, input=write(payload, SIMPLE), capture_output=True, check=False, timeout=_SECONDS
        )
    except FileNotFoundError as error:
        raise UsageError(
            "--sign-by-sq-fingerprint: sq is not installed", advice="install sq, or sign with --sign-by"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"sq does not end within {_SECONDS} s", advice="check the key") from error
    if made.returncode or not made.stdout:
        lines = [line.strip() for line in made.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
        raise UsageError(
            f"sq cannot sign with {shown(fingerprint)}: {shown(' '.join(lines))}", advice="sq key list shows keys"
        )
    return SimpleSignature(made.stdout)
