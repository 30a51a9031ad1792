"""A sigstore of the tests' own: authorities and certificates, a log (Rekor) and an issuer (Fulcio) on loopback."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from support.listening import listening
from transship.pipeline.digest import Digest
from transship.pipeline.signature import SigstoreSignature
from transship.pipeline.trust.sigstore import keys
from transship.pipeline.trust.sigstore.verification import BUNDLE, CERTIFICATE, CHAIN, MEDIA_TYPE, SIGNATURE

ISSUER = "https://issuer.example"
EMAIL = "me@site.example"
NOW = 1_790_000_000
"""When what is signed here is signed, in seconds since 1970."""
CODE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
OLD, NEW = (x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{n}") for n in (1, 8))


def pem_of(*certificates: x509.Certificate) -> str:
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


@dataclass(frozen=True)
class Authority:
    """A certificate that issues others."""

    certificate: x509.Certificate
    key: Any

    @property
    def pem(self) -> str:
        return pem_of(self.certificate)


def certificate(
    subject: str,
    key: Any,
    by: Authority | None,
    extensions: Sequence[x509.ExtensionType],
    days: tuple[float, float] = (-1, 1),
    at: float = NOW,
) -> x509.Certificate:
    """Issue a certificate that holds from ``days[0]`` to ``days[1]`` days after ``at``; by itself without ``by``."""
    moment = datetime.fromtimestamp(at, UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(by.certificate.subject if by else name)
        .public_key(key.public_key() if hasattr(key, "public_key") else key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment + timedelta(days=days[0]))
        .not_valid_after(moment + timedelta(days=days[1]))
    )
    critical = (x509.BasicConstraints, x509.KeyUsage, x509.SubjectAlternativeName, x509.NameConstraints)
    for extension in extensions:
        builder = builder.add_extension(extension, isinstance(extension, critical))
    signer = by.key if by else key
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def usage(*, issuing: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not issuing, False, False, False, False, issuing, issuing, False, False)


def authority(subject: str = "root", by: Authority | None = None, **words: Any) -> Authority:
    extensions = words.pop("extensions", [x509.BasicConstraints(ca=True, path_length=None), usage(issuing=True)])
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(certificate(subject, key, by, extensions, **words), key)


def named(*emails: str, dns: Sequence[str] = ()) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([*map(x509.RFC822Name, emails), *map(x509.DNSName, dns)])


def issuer(text: str, *, old: bool = False) -> x509.UnrecognizedExtension:
    raw = text.encode()
    return x509.UnrecognizedExtension(OLD, raw) if old else x509.UnrecognizedExtension(NEW, b"\x0c%c" % len(raw) + raw)


class Log:
    """A transparency log: signs what it records."""

    def __init__(self, at: int = NOW) -> None:
        self.key = keys.fresh()
        self.at = at
        self.entries: dict[str, dict[str, Any]] = {}
        self.taken = 0

    @property
    def pem(self) -> bytes:
        return keys.public_pem(self.key.public_key())

    def stamp(self, payload: Mapping[str, Any]) -> str:
        canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return base64.b64encode(keys.sign(self.key, canonical.encode())).decode()

    def entry(self, body: Mapping[str, Any] | bytes, **changes: Any) -> dict[str, Any]:
        """Return the answer's entry for ``body``."""
        raw = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        said = {
            "body": base64.b64encode(raw).decode(),
            "integratedTime": self.at,
            "logIndex": len(self.entries),
            "logID": hashlib.sha256(self.pem).hexdigest(),
            **changes,
        }
        return {**said, "verification": {"signedEntryTimestamp": self.stamp(said)}}

    def bundle(self, body: Mapping[str, Any] | bytes, **changes: Any) -> str:
        entry = self.entry(body, **changes)
        stamp = entry.pop("verification")["signedEntryTimestamp"]
        return json.dumps({"SignedEntryTimestamp": stamp, "Payload": entry})

    def record(self, body: dict[str, Any]) -> tuple[str, bool]:
        """Return the UUID, and whether it is new."""
        uuid = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        new = uuid not in self.entries
        if new:
            self.entries[uuid] = self.entry(body)
        return uuid, new


def recorded(signer: str | bytes, signature: str, payload: bytes, **changes: Any) -> dict[str, Any]:
    """Return the body of a log's entry for a signature."""
    raw = signer.encode() if isinstance(signer, str) else signer
    said: dict[str, Any] = {
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}},
            "signature": {"content": signature, "publicKey": {"content": base64.b64encode(raw).decode()}},
        },
    }
    return {**said, **changes}


def payload_of(digest: Digest | str, reference: str) -> bytes:
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": str(digest)},
        "type": "cosign container image signature",
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def signed(key: Any, payload: bytes, **annotations: str) -> SigstoreSignature:
    """Return a signature by ``key``; ``annotations`` by ``certificate``, ``chain``, ``bundle``."""
    names = {"certificate": CERTIFICATE, "chain": CHAIN, "bundle": BUNDLE, "signature": SIGNATURE}
    text = base64.b64encode(keys.sign(key, payload)).decode()
    more = {names[name]: value for name, value in annotations.items()}
    return SigstoreSignature(MEDIA_TYPE, payload, {SIGNATURE: text, **more})


def token(**claims: Any) -> str:
    """Return an ID token, which nobody here verifies."""
    parts = ({"alg": "none"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*texts, base64.urlsafe_b64encode(b"signed").decode().rstrip("=")])


@dataclass
class Servers:
    """The two servers at one port, and what they were asked."""

    port: int = 0
    log: Log = field(default_factory=Log)
    root: Authority = field(default_factory=lambda: authority("fulcio root", days=(-400, 400)))
    between: Authority = field(init=False)
    tokens: list[str] = field(default_factory=list)
    refuse: int = 0
    """A status to answer instead of what was asked for."""
    lose: int = 0
    """Answers of the log to break off after it has recorded."""

    def __post_init__(self) -> None:
        self.between = authority("fulcio intermediate", self.root, days=(-300, 300))

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def certify(self, asked: Mapping[str, Any]) -> bytes:
        raw = base64.b64decode(asked["publicKey"]["content"])
        public = serialization.load_der_public_key(raw)
        proof = base64.b64decode(asked["signedEmailAddress"])
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(proof, EMAIL.encode(), ec.ECDSA(hashes.SHA256()))
        extensions = [named(EMAIL), CODE, usage(issuing=False), issuer(ISSUER), issuer(ISSUER, old=True)]
        made = certificate("", public, self.between, extensions, days=(-0.001, 0.01), at=self.log.at)
        return (pem_of(made) + self.between.pem + self.root.pem).encode()


@contextmanager
def serving(servers: Servers) -> Iterator[Servers]:
    """Run the servers on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if servers.refuse:
                said = f"no: {self.headers.get('Authorization', '')}"
                self._answer(servers.refuse, json.dumps({"code": servers.refuse, "message": said}).encode())
            elif self.path == "/fulcio/api/v1/signingCert":
                servers.tokens.append(self.headers["Authorization"].removeprefix("Bearer "))
                self._answer(201, servers.certify(asked), "application/pem-certificate-chain")
            elif self.path == "/rekor/api/v1/log/entries":
                uuid, new = servers.log.record(asked)
                if servers.lose:
                    servers.lose -= 1
                    self.close_connection = True
                elif new:
                    self._answer(201, json.dumps({uuid: servers.log.entries[uuid]}).encode())
                else:
                    self._answer(409, b'{"code":409,"message":"there"}', location=f"{self.path}/{uuid}")
            else:
                self._answer(404, b"{}")

        def do_GET(self) -> None:
            uuid = self.path.rpartition("/")[2]
            self._answer(200, json.dumps({uuid: servers.log.entries[uuid]}).encode())

        def _answer(self, status: int, raw: bytes, kind: str = "application/json", location: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(raw)))
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    with listening(server := ThreadingHTTPServer(("localhost", 0), Handler)):
        servers.port = server.server_port
        yield servers
