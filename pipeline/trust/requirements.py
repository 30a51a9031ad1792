"""What a policy may ask of an image, as values. Source: containers-policy.json(5)."""

from typing import Final, NamedTuple, TypeAlias

from transship.pipeline.trust.identity import Identity

GPG_KEYS: Final = "GPGKeys"
KEY_TYPES: Final = (GPG_KEYS, "signedByGPGKeys", "X509Certificates", "signedByX509CAs")
"""The kinds of keys that a policy may name; only the first can be verified with, by anybody."""


class Keys(NamedTuple):
    """Keys or certificates: in files, or as they stand in the policy; one of both is empty."""

    paths: tuple[str, ...] = ()
    datas: tuple[bytes, ...] = ()


class AcceptAnything(NamedTuple):
    """Every image."""

    type: str = "insecureAcceptAnything"


class Reject(NamedTuple):
    """No image."""

    type: str = "reject"


class SignedBy(NamedTuple):
    """An OpenPGP signature by one of ``keys``, under a name that ``identity`` allows."""

    key_type: str
    keys: Keys
    identity: Identity
    type: str = "signedBy"


class SignedBaseLayer(NamedTuple):
    """Nothing that anybody implements: no image fulfils it."""

    identity: Identity
    type: str = "signedBaseLayer"


class Fulcio(NamedTuple):
    """A certificate issued by ``ca`` to ``subject_email``, who had proven to be that to ``oidc_issuer``."""

    ca: Keys
    oidc_issuer: str
    subject_email: str


class Pki(NamedTuple):
    """A certificate that leads to ``roots``, if need be by ``intermediates``, for the names that are not empty."""

    roots: Keys
    intermediates: Keys = Keys()
    subject_email: str = ""
    subject_hostname: str = ""


class SigstoreSigned(NamedTuple):
    """A sigstore signature by one of ``keys``, or under ``fulcio`` or ``pki``: exactly one of the three is there.

    ``rekor``: public keys of transparency logs, one of which must have countersigned; empty where none must.
    """

    keys: Keys
    fulcio: Fulcio | None
    pki: Pki | None
    rekor: Keys
    identity: Identity
    type: str = "sigstoreSigned"


Requirement: TypeAlias = AcceptAnything | Reject | SignedBy | SignedBaseLayer | SigstoreSigned
VERIFIES: Final = (SignedBy, SigstoreSigned)
"""The requirements that verify signatures."""
