"""Simple signing: an OpenPGP message around a payload, verified and made. Source: containers-signature(5)."""

from collections.abc import Sequence
from typing import NamedTuple

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, RefusedError
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.signature import SimpleSignature
from transship.pipeline.trust import gpg_signing
from transship.pipeline.trust.claim import check_claim
from transship.pipeline.trust.gpg import Keyring
from transship.pipeline.trust.identity import Identity
from transship.pipeline.trust.payload import SIMPLE, Payload, parse, write


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


def sign(payload: Payload, fingerprint: str, passphrase: str | None) -> SimpleSignature:
    """Return a signature by a secret key of the user's; as `gpg_signing.sign`, which it raises as."""
    return SimpleSignature(gpg_signing.sign(write(payload, SIMPLE), fingerprint, passphrase).raw)
