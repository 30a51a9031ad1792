"""Servers of sigstore that a signer talks to: Rekor records signatures, Fulcio issues certificates.

Sources: Rekor's API, ``/api/v1/log/entries``; Fulcio's API, ``/api/v1/signingCert``.
"""

import base64
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.errors import ContentError, TransportError, UsageError
from transship.pipeline.manifest.document import Json, dump, load
from transship.pipeline.registry import http, tls
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.lanes import Lanes
from transship.pipeline.registry.origin import Url
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.trust.sigstore import keys, pem
from transship.pipeline.trust.sigstore.log_entry import Recorded, bundle_of, proposed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_HERE: Final = ("localhost", "127.0.0.1", "::1")
_MAX_ANSWER: Final = 1 << 20
_UUID: Final = r"[0-9a-fA-F]{64}(?:[0-9a-fA-F]{16})?"
_HEADERS: Final = {"Accept": "application/json", "Content-Type": "application/json", "Accept-Encoding": "identity"}


class Issued(NamedTuple):
    """A certificate of minutes for a new key, and the chain above it, in PEM."""

    key: "EllipticCurvePrivateKey"
    certificate: str
    chain: str


class Services:
    """Connections to the servers of one signer; certificates of TLS are always checked. Thread-safe; to be closed."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """``environ`` may name proxies."""
        self._lanes = Lanes("", HostSettings(), tls.Certificates(), environ)

    def record(self, rekor: str, wanted: Recorded) -> str:
        """Have the log at the URL ``rekor`` record a signature, or find that it has; return the bundle.

        Raises:
            TransportError: it cannot be reached, or refuses.
            ContentError: it answers what is no entry.
        """
        url = _below(rekor, "/api/v1/log/entries")
        answer = self._post(url, proposed(wanted))
        if answer.status == 409:
            uuid = answer.headers.get("Location", "").rpartition("/")[2]
            if not re.fullmatch(_UUID, uuid):
                raise answer.error()
            there = Url(url.origin, f"{url.target}/{uuid}")
            answer = http.send(self._lanes, http.Call("GET", there, _HEADERS, _MAX_ANSWER))
        if answer.status not in (200, 201):
            raise answer.error()
        return bundle_of(answer.body, str(answer), wanted)

    def certify(self, fulcio: str, token: str) -> Issued:
        """Return a new key with a certificate for whom the OpenID Connect ``token`` names, by the URL ``fulcio``.

        Raises:
            TransportError: it cannot be reached, or refuses.
            ContentError: it answers what is no certificate of the key.
            UsageError: ``token`` is none; cryptography is not installed.
        """
        key = keys.fresh()
        proof = keys.sign(key, subject(token).encode())
        body: dict[str, Json] = {
            "publicKey": {"content": _base64(keys.spki(key.public_key())), "algorithm": "ecdsa"},
            "signedEmailAddress": _base64(proof),
            "certificateSigningRequest": None,
        }
        answer = self._post(_below(fulcio, "/api/v1/signingCert"), body, f"Bearer {token}")
        if answer.status not in (200, 201):
            raise answer.error()
        first, *chain = (pem.written(*block).decode() for block in pem.blocks(answer.body, str(answer)))
        from transship.pipeline.trust.sigstore.certificates import leaf  # noqa: PLC0415

        if keys.spki(keys.accepted_key(leaf(first).public_key(), str(answer))) != keys.spki(key.public_key()):
            raise ContentError(f"{answer}: the certificate is for another key than was sent")
        return Issued(key, first, "".join(chain))

    def close(self) -> None:
        """Close all connections; idempotent."""
        self._lanes.close()

    def _post(self, url: Url, body: Mapping[str, Json], authorization: str = "") -> Answer:
        return http.send(self._lanes, http.Call("POST", url, _HEADERS, _MAX_ANSWER, dump(body)), authorization)


def subject(token: str) -> str:
    """Return whom an OpenID Connect ID token names: a mail address, or else its subject. It is not verified here.

    Raises:
        UsageError: it is no such token; the message holds nothing of it.
    """
    parts = token.split(".")
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)) if len(parts) == 3 else b""
        said = load(raw, "token")
    except (ContentError, ValueError):
        # Not chained: the error may quote the token.
        raise UsageError("oidcIDToken is no ID token", advice="expected a signed JWT") from None
    email, name = said.get("email"), said.get("sub")
    if isinstance(email, str) and email:
        if said.get("email_verified") not in (True, "true"):
            raise UsageError("oidcIDToken: its mail address was not verified by the issuer")
        return email
    if not isinstance(name, str) or not name:
        raise UsageError("oidcIDToken names nobody", advice="it needs email or sub")
    return name


def check_url(text: str, key: str, *, secret: bool = False) -> None:
    """Raise `UsageError` where ``text`` is no URL to ask; ``key`` names it in the message.

    With ``secret`` it is told one: over the network by https alone.
    """
    try:
        origin = Url.parse(text).origin
    except TransportError as error:
        raise UsageError(f"{key}: {error.message}", advice="expected https://host[:port]") from error
    if secret and origin.scheme != "https" and origin.host not in _HERE:
        raise UsageError(f"{key}: the token would go there in plain", advice="use https")


def _below(base: str, path: str) -> Url:
    origin, target = Url.parse(base)
    return Url(origin, target.partition("?")[0].rstrip("/") + path)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
