"""The token server of a registry with `auth: token`: signs what each account may do there.

Source: distribution's "Token Authentication Specification" and "JSON Web Token" (docs/spec/auth).
"""

import base64
import contextlib
import hmac
import json
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from support.certificates import Certificates
from support.listening import listening

ISSUER, SERVICE = "tests", "the registry"
_LIFETIME = 300
_P256_BYTES = 32


@dataclass(frozen=True)
class Account:
    """A password, and the actions that the account may do in every repository."""

    password: str
    actions: frozenset[str]


@dataclass
class TokenServer:
    """A running server; ``asked`` has the account (empty for nobody) and the scopes of each request."""

    signer: Certificates
    accounts: Mapping[str, Account]
    realm: str = ""
    asked: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def answer(self, authorization: str, query: str) -> tuple[int, bytes]:
        """Return status and body for a request."""
        words = parse_qs(query)
        account = self._account(authorization)
        if account is None or words.get("service") != [SERVICE]:
            return 401, b'{"errors":[{"code":"UNAUTHORIZED"}]}'
        scopes = tuple(scope for said in words.get("scope", []) for scope in said.split())
        self.asked.append((account, scopes))
        allowed = self.accounts[account].actions if account else frozenset()
        access = [granted for scope in scopes if (granted := _granted(scope, allowed))]
        return 200, json.dumps({"token": self._token(account, access), "expires_in": _LIFETIME}).encode()

    def _account(self, authorization: str) -> str | None:
        """Return who asks, empty for nobody; None for wrong credentials."""
        if not authorization:
            return ""
        kind, _, value = authorization.partition(" ")
        user, _, password = base64.b64decode(value).decode().partition(":")
        known = self.accounts.get(user)
        right = known is not None and hmac.compare_digest(known.password.encode(), password.encode())
        return user if kind == "Basic" and right else None

    def _token(self, account: str, access: list[dict[str, object]]) -> str:
        now = int(time.time())
        header = {"typ": "JWT", "alg": "ES256", "x5c": _chain(self.signer)}
        claims = {
            "iss": ISSUER,
            "sub": account,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + _LIFETIME,
            "jti": secrets.token_hex(8),
            "access": access,
        }
        body = ".".join(_url64(json.dumps(part).encode()) for part in (header, claims))
        key = serialization.load_pem_private_key(self.signer.pair[1].read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        assert key.curve.name == "secp256r1", "ES256 is P-256"
        r, s = decode_dss_signature(key.sign(body.encode(), ECDSA(hashes.SHA256())))
        return f"{body}.{_url64(b''.join(number.to_bytes(_P256_BYTES, 'big') for number in (r, s)))}"


@contextlib.contextmanager
def issuing(signer: Certificates, accounts: Mapping[str, Account], shown: Certificates) -> Iterator[TokenServer]:
    """Run a server that signs with ``signer``'s key, whose authority the registry must trust; ``shown`` is for TLS."""
    issuer = TokenServer(signer, accounts)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = issuer.answer(self.headers.get("Authorization", ""), urlsplit(self.path).query)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            # Docker asks so first where it may; by the specification it then asks by GET.
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*shown.pair)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    issuer.realm = f"https://localhost:{server.server_port}/token"
    with listening(server):
        yield issuer


def _granted(scope: str, allowed: frozenset[str]) -> dict[str, object] | None:
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    given = sorted(set(actions.split(",")) & allowed)
    return {"type": kind, "name": name, "actions": given} if kind == "repository" and given else None


def _chain(signer: Certificates) -> list[str]:
    found = x509.load_pem_x509_certificates(signer.pair[0].read_bytes())
    return [base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode() for one in found]


def _url64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
