"""policy.json as values: what must hold for which images. What it does not understand is an error, never ignored.

Source: containers-policy.json(5), and what container tools refuse to read.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from transship.pipeline.errors import ContentError, UsageError, shown
from transship.pipeline.manifest.document import Json, Object, load
from transship.pipeline.trust.identity import (
    Exact,
    Identity,
    RepoDigestOrExact,
    Repository,
    exact_reference,
    exact_repository,
    remapped,
)
from transship.pipeline.trust.requirements import (
    KEY_TYPES,
    AcceptAnything,
    Fulcio,
    Keys,
    Pki,
    Reject,
    Requirement,
    SignedBaseLayer,
    SignedBy,
    SigstoreSigned,
)
from transship.pipeline.trust.scopes import check_scope

MAX_POLICY: Final = 4 << 20
"""Bytes; keys stand in a policy, so some are long."""


class Policy(NamedTuple):
    """What holds for images: by transport and scope, and by ``default``; ``origin`` is the file."""

    origin: str
    default: tuple[Requirement, ...]
    transports: Mapping[str, Mapping[str, tuple[Requirement, ...]]] = {}


def parse_policy(raw: bytes, origin: str) -> Policy:
    """Return what a policy file says; ``origin`` names it.

    Raises:
        UsageError: it is malformed, in any part: a policy of which a part is ignored protects nobody.
    """
    try:
        said = load(raw, origin, MAX_POLICY)
    except ContentError as error:
        raise UsageError(f"policy {error.message}", advice=error.advice) from error
    at = _Place(origin, "")
    at.only(said, ("default", "transports"))
    if "default" not in said:
        raise at.wrong("key 'default' is missing", "say what holds where no scope does")
    default = _requirements(said["default"], at.below("default"))
    found: dict[str, Mapping[str, tuple[Requirement, ...]]] = {}
    for transport, value in at.below("transports").object(said.get("transports", {})).items():
        below = at.below("transports").below(transport)
        scopes = below.object(value)
        for scope in scopes:
            if scope:
                _check_scope(transport, scope, below)
        found[transport] = {scope: _requirements(scopes[scope], below.below(scope)) for scope in scopes}
    return Policy(origin, default, found)


class _Place(NamedTuple):
    """Where in which file; makes the errors."""

    origin: str
    path: str

    def below(self, key: str) -> "_Place":
        return self._replace(path=f"{self.path}.{shown(key)}" if self.path else shown(key))

    def wrong(self, what: str, advice: str = "") -> UsageError:
        where = f" {self.path}:" if self.path else ""
        return UsageError(f"policy {self.origin}:{where} {what}", advice=advice)

    def only(self, said: Object, keys: tuple[str, ...]) -> None:
        for key in said:
            if key not in keys:
                raise self.wrong(f"unknown key {shown(key)!r}", f"expected {', '.join(keys)}")

    def object(self, value: Json) -> Object:
        if not isinstance(value, dict):
            raise self.wrong("is no object")
        return value

    def text(self, said: Object, key: str) -> str:
        value = said.get(key)
        if not isinstance(value, str) or not value:
            raise self.wrong(f"{key} is {'missing' if key not in said else 'no string, or empty'}")
        return value


def _check_scope(transport: str, scope: str, at: _Place) -> None:
    try:
        check_scope(transport, scope)
    except UsageError as error:
        raise at.wrong(error.message, error.advice) from error


def _requirements(value: Json, at: _Place) -> tuple[Requirement, ...]:
    if not isinstance(value, list) or not value:
        raise at.wrong("is no list of requirements, or an empty one", "to accept all, say insecureAcceptAnything")
    return tuple(_requirement(entry, at.below(str(number))) for number, entry in enumerate(value))


def _requirement(value: Json, at: _Place) -> Requirement:
    said = at.object(value)
    kind = at.text(said, "type")
    if kind not in _REQUIREMENTS:
        raise at.wrong(f"unknown type {shown(kind)!r}", f"expected {', '.join(_REQUIREMENTS)}")
    return _REQUIREMENTS[kind](said, at)


def _accept(said: Object, at: _Place) -> Requirement:
    at.only(said, ("type",))
    return AcceptAnything()


def _reject(said: Object, at: _Place) -> Requirement:
    at.only(said, ("type",))
    return Reject()


def _base_layer(said: Object, at: _Place) -> Requirement:
    at.only(said, ("type", "baseLayerIdentity"))
    return SignedBaseLayer(_identity(said.get("baseLayerIdentity"), at.below("baseLayerIdentity")))


def _signed_by(said: Object, at: _Place) -> Requirement:
    at.only(said, ("type", "keyType", "keyPath", "keyPaths", "keyData", "signedIdentity"))
    kind = at.text(said, "keyType")
    if kind not in KEY_TYPES:
        raise at.wrong(f"unknown keyType {shown(kind)!r}", f"expected {', '.join(KEY_TYPES)}")
    keys = _keys(said, ("keyPath", "keyPaths", "keyData"), at)
    if keys is None:
        raise at.wrong("none of keyPath, keyPaths and keyData is there", "name the keys that may sign")
    return SignedBy(kind, keys, _signed_identity(said, at))


def _sigstore_signed(said: Object, at: _Place) -> Requirement:
    key_names = ("keyPath", "keyPaths", "keyData", "keyDatas")
    log_names = ("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
    at.only(said, ("type", *key_names, "fulcio", "pki", *log_names, "signedIdentity"))
    keys, rekor = _keys(said, key_names, at), _keys(said, log_names, at)
    fulcio = _fulcio(at.below("fulcio").object(said["fulcio"]), at.below("fulcio")) if "fulcio" in said else None
    pki = _pki(at.below("pki").object(said["pki"]), at.below("pki")) if "pki" in said else None
    if sum(one is not None for one in (keys, fulcio, pki)) != 1:
        raise at.wrong(f"not exactly one of {', '.join(key_names)}, fulcio and pki is there", "keep or add one")
    if fulcio is not None and rekor is None:
        raise at.wrong("fulcio without a rekorPublicKey...", "its certificates are valid for minutes: name a log's key")
    if pki is not None and rekor is not None:
        raise at.wrong("pki and a rekorPublicKey... exclude each other", "keep one of them")
    return SigstoreSigned(keys or Keys(), fulcio, pki, rekor or Keys(), _signed_identity(said, at))


def _fulcio(said: Object, at: _Place) -> Fulcio:
    at.only(said, ("caPath", "caData", "oidcIssuer", "subjectEmail"))
    ca = _keys(said, ("caPath", "caData"), at)
    if ca is None:
        raise at.wrong("neither caPath nor caData is there", "name the authority's certificates")
    return Fulcio(ca, at.text(said, "oidcIssuer"), at.text(said, "subjectEmail"))


def _pki(said: Object, at: _Place) -> Pki:
    names = ("subjectEmail", "subjectHostname")
    at.only(
        said, ("caRootsPath", "caRootsData", "caIntermediatesPath", "caIntermediatesData", "subjectEmail", names[1])
    )
    roots = _keys(said, ("caRootsPath", "caRootsData"), at)
    if roots is None:
        raise at.wrong("neither caRootsPath nor caRootsData is there", "name the authority's certificates")
    between = _keys(said, ("caIntermediatesPath", "caIntermediatesData"), at) or Keys()
    email, host = (at.text(said, name) if name in said else "" for name in names)
    if not (email or host):
        raise at.wrong("neither subjectEmail nor subjectHostname is there", "say whose certificate it must be")
    return Pki(roots, between, email, host)


def _keys(said: Object, names: tuple[str, ...], at: _Place) -> Keys | None:
    """Return what stands under the one of ``names`` that is there, None where none is; a list's name ends in ``s``."""
    there = [name for name in names if name in said]
    if not there:
        return None
    if len(there) > 1:
        raise at.wrong(f"{' and '.join(there)} exclude each other", "keep one of them")
    name = there[0]
    value = said[name] if name.endswith("s") else [said[name]]
    if not isinstance(value, list) or not value:
        raise at.wrong(f"{name} is no list, or an empty one")
    texts = tuple(text for text in value if isinstance(text, str) and text)
    if len(texts) != len(value):
        raise at.wrong(f"{name} is no string, or an empty one")
    if "Path" in name:
        return Keys(paths=texts)
    try:
        return Keys(datas=tuple(base64.b64decode(text, validate=True) for text in texts))
    except (binascii.Error, ValueError) as error:
        raise at.wrong(f"{name} is not base64: {error}") from error


def _signed_identity(said: Object, at: _Place) -> Identity:
    if "signedIdentity" not in said:
        return RepoDigestOrExact()
    return _identity(said["signedIdentity"], at.below("signedIdentity"))


def _identity(value: Json, at: _Place) -> Identity:
    said = at.object(value)
    kind = at.text(said, "type")
    if kind not in _IDENTITIES:
        raise at.wrong(f"unknown type {shown(kind)!r}", f"expected {', '.join(_IDENTITIES)}")
    keys, make = _IDENTITIES[kind]
    at.only(said, ("type", *keys))
    try:
        return make(*(at.text(said, key) for key in keys))
    except UsageError as error:
        if error.message.startswith("policy "):
            raise
        raise at.wrong(error.message, error.advice) from error


_REQUIREMENTS: Final[dict[str, Callable[[Object, _Place], Requirement]]] = {
    "insecureAcceptAnything": _accept,
    "reject": _reject,
    "signedBy": _signed_by,
    "signedBaseLayer": _base_layer,
    "sigstoreSigned": _sigstore_signed,
}
_IDENTITIES: Final[dict[str, tuple[tuple[str, ...], Callable[..., Identity]]]] = {
    "matchRepoDigestOrExact": ((), RepoDigestOrExact),
    "matchExact": ((), Exact),
    "matchRepository": ((), Repository),
    "exactReference": (("dockerReference",), exact_reference),
    "exactRepository": (("dockerRepository",), exact_repository),
    "remapIdentity": (("prefix", "signedPrefix"), remapped),
}
