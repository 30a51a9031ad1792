"""Whether a sigstore signature fulfils a requirement of a policy. Offline: nothing is asked of anybody.

Source: containers-policy.json(5), ``sigstoreSigned``.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, RefusedError, UsageError, shown
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.signature import SigstoreSignature
from transship.pipeline.trust.claim import check_claim
from transship.pipeline.trust.material import read
from transship.pipeline.trust.payload import SIGSTORE, parse
from transship.pipeline.trust.requirements import Fulcio, Keys, Pki, SigstoreSigned
from transship.pipeline.trust.sigstore import certificates, keys
from transship.pipeline.trust.sigstore.certificates import Anchors
from transship.pipeline.trust.sigstore.log_entry import Recorded, recorded_at
from transship.pipeline.trust.sigstore.text import decoded

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from transship.pipeline.trust.sigstore.keys import PublicKey

MEDIA_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
"""Of payloads that are signatures; others, such as attestations, are carried and count for nothing."""
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
CERTIFICATE: Final = "dev.sigstore.cosign/certificate"
CHAIN: Final = "dev.sigstore.cosign/chain"
BUNDLE: Final = "dev.sigstore.cosign/bundle"
_WHAT: Final = "sigstoreSigned"


class Trusted(NamedTuple):
    """What a requirement trusts, read from its files: keys, or roots of certificates; and the logs."""

    requirement: SigstoreSigned
    keys: "Sequence[PublicKey]"
    anchors: Anchors | None
    logs: "Sequence[PublicKey]"


def trusted(requirement: SigstoreSigned) -> Trusted:
    """Return what ``requirement`` trusts.

    Raises:
        UsageError: a file is missing or malformed, or holds what is not accepted; cryptography is not installed.
    """
    try:
        anchors = None
        if requirement.fulcio:
            anchors = Anchors(certificates.trusted(read(requirement.fulcio.ca, _WHAT), _where(requirement.fulcio.ca)))
        elif requirement.pki:
            anchors = _pki_anchors(requirement.pki)
        logs = _public_keys(requirement.rekor)
        for key in logs:
            _refuse_other_than_ecdsa(key, _where(requirement.rekor))
        return Trusted(requirement, _public_keys(requirement.keys), anchors, logs)
    except ContentError as error:
        raise UsageError(error.message, advice=error.advice or "correct what the policy names") from error


def accepted(what: Trusted, signature: SigstoreSignature, manifest: Manifest, image: DockerReference | None) -> str:
    """Return who signed, such as ``key <sha256>`` or ``certificate of me@site.example``.

    ``image`` is the name that the image was asked for by, None where it has none.

    Raises:
        RefusedError: ``signature`` does not fulfil the requirement.
    """
    if signature.media_type != MEDIA_TYPE:
        raise RefusedError("an attachment that is no signature")
    written = _annotation(signature, SIGNATURE)
    requirement = what.requirement
    if requirement.fulcio:
        signers, who = [_by_fulcio(what, requirement.fulcio, signature, written)], _fulcio_name(requirement.fulcio)
    elif requirement.pki:
        signers, who = [_by_pki(what, requirement.pki, signature)], _pki_name(requirement.pki)
    else:
        signers, who = list(what.keys), ""
        if what.logs:
            signers = [_logged(what, signers, _annotation(signature, BUNDLE), written, signature.payload)]
    try:
        raw = decoded(written, "signature")
        signer = next((key for key in signers if keys.signed_by(key, raw, signature.payload)), None)
        if signer is None:
            raise RefusedError("signature: not by a key that is trusted, or not of this payload")
        payload = parse(signature.payload, SIGSTORE, "signed payload")
    except ContentError as error:
        raise RefusedError(error.message) from error
    check_claim(payload, manifest, image, requirement.identity)
    return who or f"key {keys.fingerprint(signer)}"


def _by_fulcio(what: Trusted, fulcio: Fulcio, signature: SigstoreSignature, written: str) -> "PublicKey":
    assert what.anchors is not None
    text = _annotation(signature, CERTIFICATE)
    bundle = _annotation(signature, BUNDLE)
    certificate = certificates.leaf(text)
    recorded = Recorded(text.encode(), written, signature.payload)
    _check_certificate(what.anchors, certificate, signature, recorded_at(what.logs, bundle, recorded))
    certificates.check_issuer(certificate, fulcio.oidc_issuer)
    certificates.check_email(certificate, fulcio.subject_email)
    return _key_of(certificate)


def _by_pki(what: Trusted, pki: Pki, signature: SigstoreSignature) -> "PublicKey":
    assert what.anchors is not None
    certificate = certificates.leaf(_annotation(signature, CERTIFICATE))
    _check_certificate(what.anchors, certificate, signature, time.time(), pki.subject_hostname)
    if pki.subject_email:
        certificates.check_email(certificate, pki.subject_email)
    return _key_of(certificate)


def _check_certificate(
    anchors: Anchors, certificate: "Certificate", signature: SigstoreSignature, at: float, hostname: str = ""
) -> None:
    given = certificates.between(signature.annotations.get(CHAIN, ""))
    certificates.check_chain(certificate, anchors._replace(between=[*anchors.between, *given]), at, hostname)


def _logged(what: Trusted, candidates: "Sequence[PublicKey]", bundle: str, written: str, payload: bytes) -> "PublicKey":
    """Return the one of ``candidates`` whose signature a log recorded."""
    reason = ""
    for key in candidates:
        try:
            recorded_at(what.logs, bundle, Recorded(keys.public_pem(key), written, payload))
        except RefusedError as error:
            reason = reason or error.message
        else:
            return key
    raise RefusedError(reason)


def _key_of(certificate: "Certificate") -> "PublicKey":
    try:
        return keys.accepted_key(certificate.public_key(), "certificate")
    except Exception as error:
        raise RefusedError("certificate: a kind of key that is not accepted") from error


def _annotation(signature: SigstoreSignature, name: str) -> str:
    found = signature.annotations.get(name, "")
    if not found:
        raise RefusedError(f"signature: has no {name.rpartition('/')[2]}")
    return found


def _fulcio_name(fulcio: Fulcio) -> str:
    return f"certificate of {fulcio.subject_email} by {fulcio.oidc_issuer}"


def _pki_name(pki: Pki) -> str:
    return f"certificate of {' and '.join(name for name in (pki.subject_email, pki.subject_hostname) if name)}"


def _pki_anchors(pki: Pki) -> Anchors:
    more = pki.intermediates
    return Anchors(
        certificates.trusted(read(pki.roots, _WHAT), _where(pki.roots)),
        certificates.trusted(read(more, _WHAT), _where(more)),
    )


def _public_keys(named: Keys) -> "list[PublicKey]":
    return [keys.public_key(raw, _where(named)) for raw in read(named, _WHAT)]


def _where(named: Keys) -> str:
    return shown(", ".join(named.paths)) or "a key in the policy"


def _refuse_other_than_ecdsa(key: "PublicKey", what: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey  # noqa: PLC0415

    if not isinstance(key, EllipticCurvePublicKey):
        raise ContentError(f"{what}: the key of a Rekor log is one of ECDSA")
