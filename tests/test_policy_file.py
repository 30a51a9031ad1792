"""policy.json: what it may say, which name must be signed, which scope an image falls under."""

import base64
import json
import os
from pathlib import Path

import pytest

from transship.pipeline.docker_name import DockerReference, named
from transship.pipeline.errors import UsageError
from transship.pipeline.reference import parse_reference
from transship.pipeline.trust.identity import (
    Exact,
    Identity,
    RepoDigestOrExact,
    Repository,
    exact_reference,
    exact_repository,
    matches,
    remapped,
)
from transship.pipeline.trust.policy_file import parse_policy
from transship.pipeline.trust.requirements import (
    AcceptAnything,
    Fulcio,
    Keys,
    Pki,
    Reject,
    SignedBy,
    SigstoreSigned,
)
from transship.pipeline.trust.scopes import scopes

A64 = "a" * 64
KEY = base64.b64encode(b"a key").decode()
SIGNED_BY = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k.gpg"}
SIGSTORE = {"type": "sigstoreSigned", "keyPath": "/k.pub"}
FULCIO = {"caPath": "/ca.pem", "oidcIssuer": "https://issuer.example", "subjectEmail": "a@example.com"}


def read(**said: object) -> object:
    return parse_policy(json.dumps(said).encode(), "p.json")


def requirement(said: object) -> object:
    return parse_policy(json.dumps({"default": [said]}).encode(), "p.json").default[0]


def test_every_requirement_is_read() -> None:
    usual = RepoDigestOrExact()
    assert requirement({"type": "insecureAcceptAnything"}) == AcceptAnything()
    assert requirement({"type": "reject"}) == Reject()
    assert requirement(SIGNED_BY) == SignedBy("GPGKeys", Keys(("/k.gpg",)), usual)
    paths = {"type": "signedBy", "keyType": "GPGKeys", "keyPaths": ["a", "b"], "signedIdentity": {"type": "matchExact"}}
    assert requirement(paths) == SignedBy("GPGKeys", Keys(("a", "b")), Exact())
    assert requirement({"type": "signedBy", "keyType": "GPGKeys", "keyData": KEY}) == SignedBy(
        "GPGKeys", Keys((), (b"a key",)), usual
    )
    assert requirement(SIGSTORE) == SigstoreSigned(Keys(("/k.pub",)), None, None, Keys(), usual)
    assert requirement({"type": "sigstoreSigned", "keyDatas": [KEY, KEY], "rekorPublicKeyPath": "r"}) == SigstoreSigned(
        Keys((), (b"a key", b"a key")), None, None, Keys(("r",)), usual
    )
    assert requirement({"type": "sigstoreSigned", "fulcio": FULCIO, "rekorPublicKeyDatas": [KEY]}) == SigstoreSigned(
        Keys(),
        Fulcio(Keys(("/ca.pem",)), "https://issuer.example", "a@example.com"),
        None,
        Keys((), (b"a key",)),
        usual,
    )
    pki = {"caRootsPath": "r", "caIntermediatesData": KEY, "subjectHostname": "h.example"}
    assert requirement({"type": "sigstoreSigned", "pki": pki}) == SigstoreSigned(
        Keys(), None, Pki(Keys(("r",)), Keys((), (b"a key",)), "", "h.example"), Keys(), usual
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "policy p.json: key 'default' is missing"),
        ({"default": []}, "default: is no list of requirements, or an empty one"),
        ({"default": {}}, "default: is no list"),
        ({"default": ["reject"]}, "default.0: is no object"),
        ({"default": [{"type": "reject"}], "more": 1}, "unknown key 'more'"),
        ({"default": [{"type": "reject", "more": 1}]}, "default.0: unknown key 'more'"),
        ({"default": [{"type": "Reject"}]}, "default.0: unknown type 'Reject'"),
        ({"default": [{}]}, "default.0: type is missing"),
        ({"default": [{"type": "reject"}], "transports": []}, "transports: is no object"),
        ({"default": [{"type": "reject"}], "transports": {"dir": {"a/b": []}}}, "transports.dir: scope 'a/b' is no"),
        ({"default": [{"type": "reject"}], "transports": {"oci": {"/": []}}}, "scope '/'"),
        ({"default": [{"type": "reject"}], "transports": {"dir": {"/a/../b": []}}}, "in more than one way; write /b"),
        ({"default": [{"type": "reject"}], "transports": {"docker-archive": {"a": []}}}, "has none but ''"),
        ({"default": [{"type": "reject"}], "transports": {"docker-daemon": {f"sha256:{A64}": []}}}, "an image ID"),
        ({"default": [{"type": "reject"}], "transports": {"containers-storage": {"a": []}}}, "is malformed"),
        ({"default": [{"type": "reject"}], "transports": {"docker": {"": []}}}, "transports.docker.: is no list"),
    ],
)
def test_a_policy_that_is_not_understood_is_refused(said: object, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_policy(json.dumps(said).encode(), "p.json")
    assert reason in str(caught.value)
    assert str(caught.value).startswith("policy p.json:")


@pytest.mark.parametrize(
    "said",
    [
        {**SIGNED_BY, "keyType": "PGP"},
        {**SIGNED_BY, "keyPath": ""},
        {**SIGNED_BY, "keyPath": None},
        {**SIGNED_BY, "keyPaths": ["a"]},
        {**SIGNED_BY, "keyData": KEY},
        {"type": "signedBy", "keyType": "GPGKeys"},
        {"type": "signedBy", "keyType": "GPGKeys", "keyPaths": []},
        {"type": "signedBy", "keyType": "GPGKeys", "keyData": "!"},
        {**SIGNED_BY, "signedIdentity": None},
        {**SIGNED_BY, "signedIdentity": {"type": "any"}},
        {**SIGNED_BY, "signedIdentity": {"type": "matchExact", "more": 1}},
        {**SIGNED_BY, "signedIdentity": {"type": "exactReference", "dockerReference": "a.example/app"}},
        {**SIGNED_BY, "signedIdentity": {"type": "exactReference"}},
        {**SIGNED_BY, "signedIdentity": {"type": "exactRepository", "dockerRepository": "UPPER"}},
        {**SIGNED_BY, "signedIdentity": {"type": "remapIdentity", "prefix": "a.example"}},
        {**SIGNED_BY, "signedIdentity": {"type": "remapIdentity", "prefix": "a.example/", "signedPrefix": "b.example"}},
        {"type": "sigstoreSigned"},
        {**SIGSTORE, "keyDatas": [KEY]},
        {**SIGSTORE, "fulcio": FULCIO, "rekorPublicKeyPath": "r"},
        {**SIGSTORE, "rekorPublicKeyPath": "r", "rekorPublicKeyData": KEY},
        {"type": "sigstoreSigned", "fulcio": FULCIO},
        {"type": "sigstoreSigned", "fulcio": {**FULCIO, "caData": KEY}, "rekorPublicKeyPath": "r"},
        {"type": "sigstoreSigned", "fulcio": {"caPath": "a", "oidcIssuer": "i"}, "rekorPublicKeyPath": "r"},
        {"type": "sigstoreSigned", "pki": {"caRootsPath": "a"}},
        {"type": "sigstoreSigned", "pki": {"caRootsPath": "a", "subjectEmail": "e"}, "rekorPublicKeyPath": "r"},
    ],
)
def test_a_requirement_that_is_not_understood_is_refused(said: object) -> None:
    with pytest.raises(UsageError, match=r"^policy p\.json: default\.0"):
        requirement(said)


def test_keys_of_a_policy_stand_once_and_as_they_are_spelt() -> None:
    for raw in (
        b'{"default": [{"type": "reject"}], "default": [{"type": "insecureAcceptAnything"}]}',
        b'{"default": [{"type": "reject", "type": "insecureAcceptAnything"}]}',
        b'{"Default": [{"type": "insecureAcceptAnything"}], "default": [{"type": "reject"}]}',
        b'{"default": [{"type": "insecureAcceptAnything"}]} {}',
        b'{"default": [{"Type": "insecureAcceptAnything"}]}',
        b"",
        b"\xff",
    ):
        with pytest.raises(UsageError, match=r"^policy p\.json:"):
            parse_policy(raw, "p.json")


TAGGED = named("registry.example/team/app:v1")
BY_DIGEST = DockerReference("registry.example", "team/app", "", named(f"a@sha256:{A64}").digest)


@pytest.mark.parametrize(
    ("identity", "image", "signed", "fits"),
    [
        (RepoDigestOrExact(), TAGGED, "registry.example/team/app:v1", True),
        (RepoDigestOrExact(), TAGGED, "registry.example/team/app:v2", False),
        (RepoDigestOrExact(), TAGGED, "registry.example/team/app", False),
        (RepoDigestOrExact(), TAGGED, f"registry.example/team/app@sha256:{A64}", False),
        (RepoDigestOrExact(), BY_DIGEST, "registry.example/team/app:v2", True),
        (RepoDigestOrExact(), BY_DIGEST, "registry.example/team/app", False),
        (RepoDigestOrExact(), BY_DIGEST, "registry.example/team/apps:v1", False),
        (RepoDigestOrExact(), None, "registry.example/team/app:v1", False),
        (RepoDigestOrExact(), named("busybox:1"), "docker.io/library/busybox:1", True),
        (RepoDigestOrExact(), TAGGED, "Registry.example/team/app:v1", False),
        (RepoDigestOrExact(), TAGGED, "registry.example/team/app:v1\n", False),
        (Exact(), TAGGED, "registry.example/team/app:v1", True),
        (Exact(), BY_DIGEST, "registry.example/team/app:v1", False),
        (Exact(), BY_DIGEST, f"registry.example/team/app@sha256:{A64}", True),
        (Exact(), None, "registry.example/team/app:v1", False),
        (Repository(), TAGGED, "registry.example/team/app:v2", True),
        (Repository(), TAGGED, "registry.example/team/app", True),
        (Repository(), TAGGED, "registry.example/team:v1", False),
        (exact_reference("busybox:1"), None, "docker.io/library/busybox:1", True),
        (exact_reference("busybox:1"), TAGGED, "busybox:2", False),
        (exact_reference("busybox:1"), TAGGED, "busybox", False),
        (exact_repository("busybox"), None, "busybox:2", True),
        (exact_repository("busybox"), TAGGED, "registry.example/team/app:v1", False),
        (remapped("registry.example", "b.example:5000/x"), TAGGED, "b.example:5000/x/team/app:v1", True),
        (remapped("registry.example/team", "b.example"), TAGGED, "b.example/app:v1", True),
        (remapped("registry.example/team/app", "b.example/c"), TAGGED, "b.example/c:v1", True),
        (remapped("registry.example/te", "b.example"), TAGGED, "registry.example/team/app:v1", True),
        (remapped("registry.example", "b.example"), TAGGED, "registry.example/team/app:v1", False),
        (remapped("registry.example/team", "b.example"), BY_DIGEST, "b.example/app:v7", True),
        (remapped("registry.example/team/app", "b.example"), TAGGED, "docker.io/library/b.example:v1", False),
    ],
)
def test_which_name_must_be_signed(identity: Identity, image: DockerReference, signed: str, fits: bool) -> None:
    assert matches(identity, image, signed) is fits


def test_the_scopes_of_an_image_go_from_the_most_exact_on(tmp_path: Path) -> None:
    assert list(scopes(parse_reference("docker://a.b.example:5000/x/y:v1"))) == [
        "a.b.example:5000/x/y:v1",
        "a.b.example:5000/x/y",
        "a.b.example:5000/x",
        "a.b.example:5000",
        "*.b.example",
        "*.example",
    ]
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = list(scopes(parse_reference(f"dir:{tmp_path}/link")))
    assert found[0] == os.path.realpath(tmp_path / "real")
    assert found[-1].count("/") == 1
    assert list(scopes(parse_reference("docker-archive:/a/b:c:d"))) == []
    assert list(scopes(parse_reference(f"docker-daemon:sha256:{A64}"))) == []
    assert list(scopes(parse_reference("docker-daemon:busybox:1")))[:2] == [
        "docker.io/library/busybox:1",
        "docker.io/library/busybox",
    ]
    assert list(scopes(parse_reference(f"containers-storage:busybox@{A64}"), ("overlay", "/var/lib/c"))) == [
        f"[overlay@/var/lib/c]docker.io/library/busybox:latest@{A64}",
        "[overlay@/var/lib/c]docker.io/library/busybox:latest",
        "[overlay@/var/lib/c]docker.io/library/busybox",
        "[overlay@/var/lib/c]docker.io/library",
        "[overlay@/var/lib/c]docker.io",
        "[overlay@/var/lib/c]",
        "[/var/lib/c]",
    ]
