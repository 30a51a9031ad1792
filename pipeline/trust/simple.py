"""Simple signing: an OpenPGP message around a payload, verified and made. Source: containers-signature(5)."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, RefusedError, UsageError, shown
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.signature import SimpleSignature
from transship.pipeline.trust import gpg
from transship.pipeline.trust.claim import check_claim
from transship.pipeline.trust.gpg import Keyring
from transship.pipeline.trust.identity import Identity
from transship.pipeline.trust.payload import SIMPLE, Payload, parse, write

if TYPE_CHECKING:
    from gnupg import GPG  # type: ignore[import-untyped]

_FINGERPRINT: Final = r"(?:0x)?[0-9A-Fa-f]{40,64}!?"


class Signatory(NamedTuple):
    """Who may sign: keys, and the fingerprints of those among them that count."""

    keyring: Keyring
    accepted: Sequence[str]


def verified(
    signature: SimpleSignature,
    by: Signatory,
    manifest: Manifest,
    image: DockerReference | None,
    identity: Identity,
) -> str:
    """Return the fingerprint of those accepted that signed ``manifest`` under a name that ``identity`` allows.

    Raises:
        RefusedError: nobody of them did.
    """
    found = by.keyring.verify(signature)
    signer = next((one for one in (found.fingerprint, found.primary) if one in by.accepted), "")
    if not signer:
        raise RefusedError(f"signature by key {found.fingerprint}, which is not among those accepted")
    try:
        payload = parse(found.payload, SIMPLE, "signed text")
    except ContentError as error:
        raise RefusedError(error.message) from error
    check_claim(payload, manifest, image, identity)
    return signer


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


def sign(payload: Payload, fingerprint: str, passphrase: str | None) -> SimpleSignature:
    """Return a signature by a secret key of the user's; without a ``passphrase`` his agent asks for one if need be.

    The passphrase goes to gpg by a file descriptor.

    Raises:
        UsageError: there is no such key, or several have that name, or the passphrase is wrong.
    """
    known = gpg.interface()
    _refuse_several(known, fingerprint)
    made = known.sign(
        write(payload, SIMPLE),
        passphrase=passphrase or None,
        clearsign=False,
        binary=True,
        # Not as the default key: gpg would take another one where this is missing. Whatever gpg.conf says of the rest.
        extra_args=["--local-user", fingerprint, "--no-armor", "--no-textmode"],
    )
    if not made.data or made.status != "signature created":
        why = made.status_detail or made.status or "no secret key, or no passphrase"
        raise UsageError(f"signing with key {fingerprint}: {why}", advice="gpg --list-secret-keys shows those you have")
    return SimpleSignature(made.data)
