"""OpenPGP through the system's GnuPG: keys in a home of their own, signatures verified and made.

Keys are imported and signatures made through python-gnupg. Verified is beside it: it lets gpg write its status lines
into the stream of its messages, where text of the attacker's may stand (CVE-2018-12020); here they have a file of
their own. An exit code alone means nothing either (GLSA-200603-08): there must be one good signature, and what counts
as signed is what gpg wrote.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.errors import ContentError, RefusedError, TransportError, UsageError, shown
from transship.pipeline.signature import SimpleSignature
from transship.pipeline.trust.extra import from_extra
from transship.pipeline.trust.openpgp import read_message
from transship.pipeline.trust.payload import MAX_PAYLOAD

if TYPE_CHECKING:
    import gnupg  # type: ignore[import-untyped]

_SECONDS: Final = 60
"""How long gpg may take to verify one signature."""
_MAX_STATUS: Final = 1 << 20
_PREFIX: Final = "[GNUPG:] "
_REFUSED: Final = {
    "BADSIG": "the signature does not fit what is signed",
    "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "its key has expired",
    "REVKEYSIG": "its key is revoked",
    "NO_PUBKEY": "it is by a key that is not among those accepted",
    "ERRSIG": "the signature cannot be checked",
    "TRUST_NEVER": "its key is marked as never to be trusted",
    "NODATA": "it is no OpenPGP message",
    "UNEXPECTED": "it is more than one signed message",
    "BEGIN_DECRYPTION": "it is encrypted",
    "ENC_TO": "it is encrypted",
    "FAILURE": "gpg failed",
}
"""Status lines of gpg that end all, whatever else it says; the first one of the table that is there is said."""
_BESIDE: Final = ("NEWSIG", "GOODSIG", "VALIDSIG")
_ONCE: Final = (*_BESIDE, "PLAINTEXT")
_NEVER_ONLINE: Final = ("--no-auto-key-retrieve", "--disable-dirmngr", "--no-auto-key-locate")


class Verified(NamedTuple):
    """What is signed, and by which key: ``fingerprint`` is that of the key itself, ``primary`` that of its owner."""

    payload: bytes
    fingerprint: str
    primary: str


class Keyring:
    """Keys that gpg knows: the user's own, or those given, in a home that `close` removes. Thread-safe."""

    def __init__(self, given: Sequence[bytes] | None = None, what: str = "GnuPG") -> None:
        """``given`` are files of public keys, None for the user's keyring; ``what`` names them in messages.

        Raises:
            UsageError: gpg or python-gnupg is not installed; a file has no key.
        """
        self._home = tempfile.mkdtemp(prefix="transship-keys-") if given is not None else ""
        self.fingerprints: tuple[str, ...] = ()
        """Of the keys given."""
        try:
            if given is not None:
                # Without it newer versions would start a daemon that keeps the keys.
                Path(self._home, "common.conf").touch()
                self.fingerprints = _imported(interface(self._home), given, what)
        except BaseException:
            self.close()
            raise

    def verify(self, signature: SimpleSignature, what: str = "signature") -> Verified:
        """Return what an OpenPGP message says and who signed it; whether that one may is not asked.

        Raises:
            RefusedError: it is not one good signature of a valid key that is known here.
            TransportError: gpg did not end.
        """
        try:
            text = read_message(signature.raw, what).text
        except ContentError as error:
            raise RefusedError(error.message) from error
        payload, status = self._run(signature.raw)
        found = _judged(payload, status, what)
        if payload != text:
            raise RefusedError(f"{what}: gpg takes another text for the signed one")
        return found

    def verify_beside(self, signature: bytes, signed: bytes, what: str = "signature") -> Verified:
        """Return who signed ``signed`` by a signature that is kept apart; whether he may is not asked.

        ``signature`` is one packet, as `openpgp.read_signatures` returns it; raises as `verify`.
        """
        _, status = self._run(signed, signature)
        return _judged(signed, status, what, _BESIDE)

    def _run(self, raw: bytes, beside: bytes = b"") -> tuple[bytes, list[list[str]]]:
        """Return what gpg takes for the text of a message, and its status lines; ``beside`` is a signature of it."""
        home = ("--homedir", self._home, "--no-options", "--trust-model", "always") if self._home else ()
        with (
            tempfile.TemporaryFile() as message,
            tempfile.TemporaryFile() as signature,
            tempfile.TemporaryFile() as status,
        ):
            for file, content in ((message, raw), (signature, beside)):
                file.write(content)
                file.seek(0)
            fixed = ("--batch", "--no-tty", "--no-verbose", "--status-fd", str(status.fileno()), *_NEVER_ONLINE)
            # By its number: a name could be made to lead elsewhere.
            named = ("--enable-special-filenames", "--verify", "--", f"-&{signature.fileno()}", "-")
            words = ("gpg", *home, *fixed, *(named if beside else ("--output", "-", "--verify")))
            process = _start(words, message.fileno(), (status.fileno(), signature.fileno()))
            late = threading.Timer(_SECONDS, process.kill)
            late.start()
            try:
                assert process.stdout is not None
                payload = process.stdout.read(MAX_PAYLOAD + 1)
                if len(payload) > MAX_PAYLOAD:
                    process.kill()
                process.stdout.close()
                process.wait()
            finally:
                late.cancel()
                process.kill()
                process.wait()
            if len(payload) > MAX_PAYLOAD:
                raise RefusedError(f"the signed text is over {MAX_PAYLOAD} bytes")
            if process.returncode < 0:
                raise TransportError(f"gpg ended by signal {-process.returncode}", advice="try again")
            status.seek(0)
            lines = status.read(_MAX_STATUS).decode("utf-8", "replace").split("\n")
        found = [line.removeprefix(_PREFIX).split(" ") for line in lines if line.startswith(_PREFIX)]
        # Its exit code says no more than that, and less than the lines do.
        return payload, found if process.returncode == 0 else [*found, ["FAILURE"]]

    def close(self) -> None:
        """Remove the keys given, and end what gpg may have started for them; idempotent."""
        if not self._home:
            return
        if any(name.startswith("S.") for name in os.listdir(self._home)):
            end_agent(self._home)
        shutil.rmtree(self._home, ignore_errors=True)
        self._home = ""


def interface(home: str = "") -> "gnupg.GPG":
    """Return python-gnupg for a home, or for the user's own; raises `UsageError` where it or gpg is missing."""
    with from_extra("OpenPGP"):
        import gnupg  # noqa: PLC0415 - an extra
    try:
        return gnupg.GPG(gnupghome=home or None, options=["--no-options"] if home else None, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _missing() from error


def end_agent(home: str) -> None:
    """End the daemons of a home; of none that is not ours."""
    subprocess.run(  # noqa: S603
        ["gpgconf", "--homedir", home, "--kill", "all"],  # noqa: S607 - found by PATH, as gpg is
        check=False,
        capture_output=True,
        timeout=_SECONDS,
    )


def _imported(gpg: "gnupg.GPG", given: Sequence[bytes], what: str) -> tuple[str, ...]:
    found: list[str] = []
    for raw in given:
        made = gpg.import_keys(raw)
        known = [one for one in made.fingerprints if one]
        if not known:
            raise UsageError(f"{what}: no public key could be read", advice="export one with gpg --export")
        found += known
    return tuple(dict.fromkeys(found))


def _start(words: Sequence[str], source: int, handles: Sequence[int]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603
            words, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=handles
        )
    except OSError as error:
        raise _missing() from error


def _missing() -> UsageError:
    return UsageError("gpg cannot be run", advice="install GnuPG")


def _judged(payload: bytes, status: list[list[str]], what: str, once: Sequence[str] = _ONCE) -> Verified:
    said = [line[0] for line in status]
    why = next((reason for word, reason in _REFUSED.items() if word in said), "")
    if why:
        raise RefusedError(f"{what}: {why}{_by(status)}")
    for word in once:
        if said.count(word) != 1:
            raise RefusedError(f"{what}: gpg says {word} {said.count(word)} times, expected once")
    # VALIDSIG fingerprint, date, time, expiry, version, reserved, key and hash algorithm, class, primary fingerprint.
    fields = next(line for line in status if line[0] == "VALIDSIG")[1:]
    if len(fields) < 10 or fields[8] != "00":
        raise RefusedError(f"{what}: is no signature of a document")
    return Verified(payload, fields[0], fields[9])


def _by(status: list[list[str]]) -> str:
    for line in status:
        if line[0] in ("NO_PUBKEY", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "EXPSIG") and len(line) > 1:
            return f" (key {shown(line[1], 40)})"
    return ""
