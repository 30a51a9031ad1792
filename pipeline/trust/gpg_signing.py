"""OpenPGP signatures made with secret keys of the user's GnuPG."""

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.trust import gpg

if TYPE_CHECKING:
    from gnupg import GPG  # type: ignore[import-untyped]

_FINGERPRINT: Final = r"(?:0x)?[0-9A-Fa-f]{40,64}!?"


class Made(NamedTuple):
    """What gpg wrote, and the fingerprint of the key, or subkey, that signed."""

    raw: bytes
    fingerprint: str


def sign(text: bytes, key: str, passphrase: str | None, *, beside: bool = False) -> Made:
    """Sign ``text`` with a secret key of the user's; without a ``passphrase`` his agent asks for one if need be.

    The passphrase goes to gpg by a file descriptor. The text is part of what is made; with ``beside`` there is the
    signature alone, armored.

    Raises:
        UsageError: there is no such key, or several have that name, or the passphrase is wrong.
    """
    known = gpg.interface()
    _refuse_several(known, key)
    try:
        made = known.sign(
            text,
            passphrase=passphrase or None,
            clearsign=False,
            detach=beside,
            binary=not beside,
            # Not as the default key: where this is missing gpg would take another. Whatever gpg.conf says of the rest.
            extra_args=["--local-user", key, *([] if beside else ["--no-armor"]), "--no-textmode"],
        )
    except ValueError:
        raise UsageError(
            f"signing with key {key}: its passphrase has a character that gpg takes in none",
            advice="a line that ends with \\r has one",
        ) from None
    if not made.data or made.status != "signature created":
        unlocked = "a wrong" if passphrase else "no"
        why = made.status_detail or made.status or f"no secret key, or {unlocked} passphrase"
        raise UsageError(f"signing with key {key}: {why}", advice="gpg --list-secret-keys shows those you have")
    return Made(made.data, made.fingerprint or "")


def _refuse_several(known: "GPG", name: str) -> None:
    """Raise `UsageError` where ``name`` is that of several secret keys: gpg would take the first one."""
    if re.fullmatch(_FINGERPRINT, name):
        return
    found = sorted(key["fingerprint"] for key in known.list_keys(secret=True, keys=[name]))
    if len(found) > 1:
        raise UsageError(
            f"signing with key {shown(name)}: several have that name: {', '.join(found[:5])}",
            advice="give the fingerprint of one",
        )
