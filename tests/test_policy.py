"""Policies enforced: for each requirement an image that it lets pass, and images and signatures that it does not."""

import base64
import json
import struct
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from support.images import make_image
from support.keys import Keys
from transship.pipeline.digest import Digest
from transship.pipeline.errors import RefusedError, UsageError
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.reference import parse_reference
from transship.pipeline.signature import Signature, SigstoreSignature, SimpleSignature
from transship.pipeline.trust import payload
from transship.pipeline.trust.openpgp import read_message
from transship.pipeline.trust.payload import SIMPLE, Payload
from transship.pipeline.trust.policy import Enforcer, Subject
from transship.pipeline.trust.policy_file import parse_policy

LOOPBACK = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
NAME = "registry.example/app:v1"
IMAGE = make_image("policy", docker=False)
MANIFEST: Manifest = parse(IMAGE.manifest_raw)


def signed_by(keys: Path, **more: object) -> dict[str, object]:
    return {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(keys), **more}


def check(
    requirements: list[object],
    *signatures: Signature,
    reference: str = f"docker://{NAME}",
    manifest: Manifest = MANIFEST,
    require_signed: bool = False,
    **transports: object,
) -> tuple[str, ...]:
    raw = json.dumps({"default": requirements, "transports": transports}).encode()
    with closing(Enforcer(parse_policy(raw, "p.json"), require_signed=require_signed)) as enforcer:
        return enforcer.check(Subject(parse_reference(reference), manifest, signatures))


def claims(name: str = NAME, digest: Digest = MANIFEST.digest) -> bytes:
    return payload.write(Payload(digest, name, "a test", 1), SIMPLE)


@pytest.fixture(scope="module")
def good(openpgp: Keys) -> SimpleSignature:
    return SimpleSignature(openpgp.sign(claims()))


def test_anything_is_accepted_unsigned_and_nothing_where_all_is_rejected(good: SimpleSignature) -> None:
    assert check([{"type": "insecureAcceptAnything"}]) == ("insecureAcceptAnything",)
    for signatures in ((), (good,)):
        with pytest.raises(RefusedError, match=r"^docker://registry.example/app:v1: policy p.json, default: reject$"):
            check([{"type": "reject"}], *signatures)


def test_an_image_signed_by_a_key_of_the_list_passes(openpgp: Keys, good: SimpleSignature) -> None:
    who = (f"signedBy {openpgp['good']}",)
    files = [str(openpgp.file("other")), str(openpgp.file("good"))]
    data = {"type": "signedBy", "keyType": "GPGKeys"}
    assert check([signed_by(openpgp.file("good"))], good) == who
    assert check([{**data, "keyPaths": files}], good) == who
    raw = base64.b64encode(openpgp.file("good").read_bytes()).decode()
    assert check([{**data, "keyData": raw}], good) == who


def test_one_good_signature_among_bad_ones_is_enough(openpgp: Keys, good: SimpleSignature) -> None:
    bad = (SimpleSignature(b"\x88none"), SimpleSignature(openpgp.sign(claims(), "other")))
    assert check([signed_by(openpgp.file("good"))], *bad, good) == (f"signedBy {openpgp['good']}",)


def test_all_requirements_must_hold(openpgp: Keys, good: SimpleSignature) -> None:
    both = [signed_by(openpgp.file("good")), signed_by(openpgp.file("other"))]
    other = SimpleSignature(openpgp.sign(claims(), "other"))
    assert check(both, good, other) == (f"signedBy {openpgp['good']}", f"signedBy {openpgp['other']}")
    for alone in (good, other):
        with pytest.raises(RefusedError, match="not among those accepted"):
            check(both, alone)
    with pytest.raises(RefusedError, match="reject"):
        check([signed_by(openpgp.file("good")), {"type": "reject"}], good)


def test_a_signature_is_required_where_one_is_asked_for(openpgp: Keys, good: SimpleSignature) -> None:
    with pytest.raises(RefusedError, match="a signature is required, and there is none for sha256:"):
        check([signed_by(openpgp.file("good"))])
    other = SigstoreSignature("application/vnd.dev.cosign.simplesigning.v1+json", claims(), {})
    with pytest.raises(RefusedError, match=r"there is none of this kind \(1 others\)"):
        check([signed_by(openpgp.file("good"))], other)
    with pytest.raises(RefusedError, match="there is none of this kind"):
        check([{"type": "sigstoreSigned", "keyPath": "x"}], good)
    with pytest.raises(RefusedError, match="is not implemented"):
        check([{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}], good)
    with pytest.raises(RefusedError, match="keyType X509Certificates is not implemented"):
        check([signed_by(openpgp.file("good"), keyType="X509Certificates")], good)


def test_require_signed_refuses_what_no_signature_is_asked_of(openpgp: Keys, good: SimpleSignature) -> None:
    with pytest.raises(RefusedError, match="asks for no signature"):
        check([{"type": "insecureAcceptAnything"}], good, require_signed=True)
    assert check([signed_by(openpgp.file("good"))], good, require_signed=True)


@pytest.mark.parametrize("name", ["none", "empty", "text"])
def test_keys_that_cannot_be_read_accept_nothing(
    openpgp: Keys, good: SimpleSignature, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no key")
    with pytest.raises(UsageError, match=r"policy p.json, default"):
        check([signed_by(tmp_path / name)], good)


def test_the_most_exact_scope_decides(openpgp: Keys, good: SimpleSignature) -> None:
    accept, wanted = [{"type": "insecureAcceptAnything"}], [signed_by(openpgp.file("good"))]
    reject = [{"type": "reject"}]
    docker = {"registry.example": reject, "registry.example/app": wanted, "": reject, "*.example": reject}
    assert check(reject, good, docker=docker)[0].startswith("signedBy")
    assert check(reject, docker={**docker, NAME: accept}) == ("insecureAcceptAnything",)
    with pytest.raises(RefusedError, match=r"scope docker:registry\.example: reject"):
        check(accept, reference="docker://registry.example/apps:v1", docker=docker)
    with pytest.raises(RefusedError, match="scope docker:: reject"):
        check(accept, reference="docker://registry:5000/app:v1", docker=docker)
    assert check(accept, reference="dir:/a", docker=docker) == ("insecureAcceptAnything",)


def turned(raw: bytes) -> bytes:
    return raw.replace(b"registry.example/app:v1", b"registry.example/app:v9")


def bomb() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(64 << 20)) + packer.flush()


def spoofed(keys: Keys) -> bytes:
    lines = f"\n[GNUPG:] GOODSIG 0 x\n[GNUPG:] VALIDSIG {keys['good']} 2026-01-01 1 0 4 0 22 8 00 {keys['good']}\n"
    name = lines.encode()
    body = b"b" + bytes((len(name),)) + name + struct.pack(">I", 0) + claims()
    return b"\xcb\xff" + struct.pack(">I", len(body)) + body


Forge = Callable[[Keys], bytes]


def named(name: str) -> Forge:
    return lambda keys: keys.sign(claims(name))


def said(raw: bytes) -> Forge:
    return lambda keys: keys.sign(raw)


ATTACKS: dict[str, tuple[Forge, str]] = {
    "for another name": (named("registry.example/other:v1"), "identity 'registry.example/other:v1' is not accepted"),
    "for another tag": (named("registry.example/app:v2"), "is not accepted"),
    "for no tag": (named("registry.example/app"), "is not accepted"),
    "for a name that is none": (named("registry.example/App:v1"), "is not accepted"),
    "of another digest": (said(claims(digest=Digest.of(b"x"))), "signature for digest sha256:"),
    "of another algorithm": (said(claims(digest=Digest.of(b"x", "sha512"))), "signature for digest sha512:"),
    "by a key that is not in the list": (lambda keys: keys.sign(claims(), "other"), "not among those accepted"),
    "by an expired key": (lambda keys: keys.sign(claims(), "expired"), "has expired"),
    "by a revoked key": (lambda keys: keys.sign(claims(), "revoked"), "is revoked"),
    "with an unknown key": (said(claims().replace(b'"type"', b'"kind"')), "unknown key 'kind'"),
    "with an unknown critical key": (said(claims().replace(b'"type":', b'"x":1,"type":')), "unknown key 'x'"),
    "with an unknown critical type": (said(claims().replace(SIMPLE.encode(), b"another")), "type 'another'"),
    "with a duplicate key": (said(claims().replace(b'"type":', b'"type":"x","type":')), "stands twice"),
    "with a case-folded key": (said(claims().replace(b'"critical"', b'"Critical"')), "unknown key 'Critical'"),
    "with both spellings": (said(claims().replace(b'{"critical"', b'{"Critical":{},"critical"')), "in case alone"),
    "with JSON after the payload": (said(claims() + b"{}"), "not JSON"),
    "with a NUL after the payload": (said(claims() + b"\0"), "not JSON"),
    "of nothing": (said(b""), "not JSON"),
    "with bytes after the message": (lambda keys: keys.sign(claims()) + b"\0", "followed by something else"),
    "twice": (lambda keys: keys.sign(claims()) * 2, "followed by something else"),
    "before another text": (
        lambda keys: keys.sign(claims()) + keys.gpg("--store", data=claims()),
        "followed by something else",
    ),
    "of two signers": (
        lambda keys: keys.sign(claims(), "good", "--local-user", keys["other"]),
        "is not one text with one signature",
    ),
    "in no signature at all": (lambda keys: keys.gpg("--store", data=claims()), "is not one text with one signature"),
    "detached": (lambda keys: keys.sign(claims(), "good", "--detach-sign"), "is not one text with one signature"),
    "cut off": (lambda keys: keys.sign(claims())[:-20], "cut off"),
    "with a bit turned": (
        lambda keys: turned(keys.sign(claims(), "good", "--compress-algo", "none")),
        "does not fit what is signed",
    ),
    "that unpacks without end": (lambda keys: b"\xa3\x01" + bomb(), "unpacks to over"),
    "of a long text": (lambda keys: keys.sign(claims() + b" " * (65 << 10)), "over"),
    "encrypted": (
        lambda keys: keys.gpg(
            "--symmetric", "--pinentry-mode", "loopback", "--passphrase-fd", "0", data=b"x\n" + claims()
        ),
        "is not one text with one signature",
    ),
    "as text": (lambda keys: keys.sign(claims(), "good", "--textmode", "--clearsign"), "no OpenPGP message"),
    "of a text whose file name speaks as gpg": (spoofed, "is not one text with one signature"),
}


@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_signature_is_refused_that_is(openpgp: Keys, name: str) -> None:
    forge, reason = ATTACKS[name]
    # The keys that may sign, in a state in which they may.
    trusted = openpgp.file({"by an expired key": "expired", "by a revoked key": "revoked"}.get(name, "good"))
    with pytest.raises(RefusedError) as caught:
        check([signed_by(trusted)], SimpleSignature(forge(openpgp)))
    assert reason in str(caught.value)
    assert "signedBy" in str(caught.value)


def test_a_manifest_with_a_byte_changed_is_refused(openpgp: Keys, good: SimpleSignature) -> None:
    tampered = parse(MANIFEST.raw.replace(b'"schemaVersion"', b' "schemaVersion"'))
    with pytest.raises(RefusedError, match="signature for digest"):
        check([signed_by(openpgp.file("good"))], good, manifest=tampered)


@pytest.mark.parametrize(
    ("identity", "reference", "name", "accepted"),
    [
        ({"type": "matchExact"}, f"docker://{NAME}", NAME, True),
        ({"type": "matchExact"}, f"docker://{NAME}", "registry.example/app:v2", False),
        ({"type": "matchRepoDigestOrExact"}, f"docker://registry.example/app@{MANIFEST.digest}", NAME, True),
        ({"type": "matchRepository"}, "docker://registry.example/app:v9", NAME, True),
        ({"type": "matchRepository"}, "docker://registry.example/other:v1", NAME, False),
        ({"type": "exactReference", "dockerReference": NAME}, "dir:/x", NAME, True),
        ({"type": "exactReference", "dockerReference": NAME}, "dir:/x", "registry.example/app:v2", False),
        ({"type": "exactRepository", "dockerRepository": "registry.example/app"}, "dir:/x", NAME, True),
        ({"type": "exactRepository", "dockerRepository": "registry.example/other"}, "dir:/x", NAME, False),
        (
            {"type": "remapIdentity", "prefix": "mirror.example/r", "signedPrefix": "registry.example"},
            "docker://mirror.example/r/app:v1",
            NAME,
            True,
        ),
        (
            {"type": "remapIdentity", "prefix": "mirror.example/r", "signedPrefix": "registry.example"},
            "docker://mirror.example/app:v1",
            NAME,
            False,
        ),
        ({"type": "matchRepoDigestOrExact"}, "dir:/x", NAME, False),
        ({"type": "matchRepoDigestOrExact"}, "docker-archive:/x:registry.example/app:v1", NAME, True),
    ],
)
def test_each_kind_of_identity_accepts_and_refuses(
    openpgp: Keys, identity: object, reference: str, name: str, accepted: bool
) -> None:
    signature = SimpleSignature(openpgp.sign(claims(name)))
    wanted = [signed_by(openpgp.file("good"), signedIdentity=identity)]
    if accepted:
        assert check(wanted, signature, reference=reference) == (f"signedBy {openpgp['good']}",)
    else:
        with pytest.raises(RefusedError, match="is not accepted"):
            check(wanted, signature, reference=reference)


def test_a_subkey_counts_as_the_key_that_it_belongs_to(openpgp: Keys, tmp_path: Path) -> None:
    openpgp.gpg(
        "--quick-add-key",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
        openpgp["grown"],
        "ed25519",
        "sign",
        "never",
    )
    exported = tmp_path / "with.gpg"
    exported.write_bytes(openpgp.gpg("--export", openpgp["grown"]))
    signature = SimpleSignature(openpgp.sign(claims(), "grown"))
    assert check([signed_by(exported)], signature) == (f"signedBy {openpgp['grown']}",)


def test_the_shape_of_a_message_is_read_without_gpg(openpgp: Keys) -> None:
    for packing in ("none", "zip", "zlib", "bzip2"):
        raw = openpgp.sign(claims(), "good", "--compress-algo", packing)
        assert read_message(raw, "x") == (claims(), openpgp["good"][-16:])
