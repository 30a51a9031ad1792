"""Logging in: tokens, their end, and who is told what."""

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest

from support.clients import ALICE, client
from support.hostile import Hostile, Reply, Seen, serving
from support.registry_server import made_image
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, DeniedError, TransportError
from transship.pipeline.manifest.media_types import DOCKER_MANIFEST
from transship.pipeline.registry.credentials import Credentials

RAW, _ = made_image([b"layer"])
MANIFEST = Reply(200, RAW, {"Content-Type": DOCKER_MANIFEST})
BASIC = "Basic " + base64.b64encode(b"alice:s3cret-pw").decode()


@dataclass
class TokenRegistry:
    """A registry with a token server on the same port, whose tokens end when told."""

    needs: str = BASIC
    claimed: object = 300
    realm: str = ""
    valid: set[str] = field(default_factory=set)
    server: Hostile | None = None

    def __call__(self, seen: Seen) -> Reply:
        assert self.server is not None
        if seen.path == "/token":
            return self._token(seen)
        scope = f"repository:{seen.path.removeprefix('/v2/').rpartition('/manifests')[0]}:pull"
        if seen.authorization.removeprefix("Bearer ") in self.valid and f"{scope}|" in seen.authorization:
            return MANIFEST
        realm = self.realm or f"{self.server.url}/token?fixed=1"
        challenge = f'Bearer realm="{realm}",service="s, p.a",scope="{scope}"'
        return Reply(401, headers={"WWW-Authenticate": challenge})

    def _token(self, seen: Seen) -> Reply:
        asked = parse_qs(urlsplit(seen.target).query) | parse_qs(seen.body.decode())
        if self.needs and self.needs not in (seen.authorization, "".join(asked.get("refresh_token", []))):
            return Reply(401, b'{"details":"incorrect username or password"}')
        assert asked["service"] == ["s, p.a"]
        token = f"{asked['scope'][0]}|{len(self.valid)}"
        self.valid.add(token)
        return Reply(200, json.dumps({"token": token, "expires_in": self.claimed}).encode())

    def logins(self) -> list[Seen]:
        assert self.server is not None
        return self.server.asked("/token")


@contextmanager
def token_registry(**settings: object) -> Iterator[TokenRegistry]:
    script = TokenRegistry(**settings)  # type: ignore[arg-type]
    with serving(script) as server:
        script.server = server
        yield script


def _name(registry: TokenRegistry) -> str:
    assert registry.server is not None
    return registry.server.name


def test_one_token_serves_a_repository_for_all_threads() -> None:
    with token_registry() as registry:
        one = client(_name(registry), credentials=ALICE)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: one.get_manifest("a/b", "t").digest, range(16)))
        assert set(found) == {Digest.of(RAW)}
        assert len(registry.logins()) == 1
        one.get_manifest("c", "t")
        assert len(registry.logins()) == 2


def test_a_token_that_ends_before_it_claims_is_renewed() -> None:
    with token_registry() as registry:
        one = client(_name(registry), credentials=ALICE)
        for _ in range(3):
            one.get_manifest("a", "t")
            registry.valid = {f"spent{n}" for n in range(len(registry.valid))}
        assert len(registry.logins()) == 3


def test_a_token_is_renewed_before_it_ends() -> None:
    with token_registry(claimed=0.2) as registry:
        one = client(_name(registry), credentials=ALICE)
        one.get_manifest("a", "t")
        time.sleep(0.25)
        one.get_manifest("a", "t")
        assert registry.server is not None
        assert len(registry.server.asked("/v2/a")) == 3
        assert len(registry.logins()) == 2


@pytest.mark.parametrize("claimed", [None, -1, 0, "x", 10**19, True])
def test_an_odd_lifetime_is_survived(claimed: object) -> None:
    with token_registry(claimed=claimed) as registry:
        assert client(_name(registry), credentials=ALICE).get_manifest("a", "t")


def test_a_refused_login_is_tried_once_and_does_not_show_the_password() -> None:
    with token_registry(needs="Basic other") as registry:
        one = client(_name(registry), credentials=ALICE)
        for repository in ("a", "b", "c"):
            with pytest.raises(DeniedError, match="login refused for user 'alice'") as caught:
                one.get_manifest(repository, "t")
            assert "s3cret" not in str(caught.value)
        assert len(registry.logins()) == 1


def test_a_refused_basic_login_is_tried_once() -> None:
    with serving(lambda _: Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})) as server:
        one = client(server.name, credentials=ALICE)
        for _ in range(3):
            with pytest.raises(DeniedError, match="login refused"):
                one.get_manifest("a", "t")
        assert len([seen for seen in server.seen if seen.authorization]) == 1


def test_an_identity_token_is_exchanged() -> None:
    with token_registry(needs="id-token") as registry:
        one = client(_name(registry), credentials=Credentials("", identity_token="id-token"))
        assert one.get_manifest("a", "t").digest == Digest.of(RAW)
        assert [seen.method for seen in registry.logins()] == ["POST"]


def test_a_registry_token_is_sent_as_it_is() -> None:
    with token_registry(valid={"repository:a:pull|mine"}) as registry:
        assert client(_name(registry), token="repository:a:pull|mine").get_manifest("a", "t")
        with pytest.raises(DeniedError):
            client(_name(registry), token="wrong").get_manifest("a", "t")
        assert registry.logins() == []


@pytest.mark.parametrize(
    "realm", ["file:///etc/passwd", "ftp://h/", "/token", "http://u:p@h/", "http://example.invalid/"]
)
def test_a_realm_that_may_not_have_credentials_gets_none(realm: str) -> None:
    with token_registry(realm=realm) as registry, pytest.raises(TransportError):
        client(_name(registry), credentials=ALICE).get_manifest("a", "t")


def test_another_host_without_tls_gives_tokens_but_gets_no_password() -> None:
    with token_registry(needs="") as registry:
        assert registry.server is not None
        registry.realm = f"http://localhost:{registry.server.port}/token"
        with pytest.raises(DeniedError, match="credentials are not sent there"):
            client(_name(registry), credentials=ALICE).get_manifest("a", "t")
        assert registry.logins() == []
        assert client(_name(registry)).get_manifest("a", "t")


def test_a_token_server_that_redirects_elsewhere_does_not_pass_the_password_on() -> None:
    with serving(lambda _: Reply(401)) as sink:

        def script(seen: Seen) -> Reply:
            if seen.path == "/token":
                return Reply(302, headers={"Location": f"{sink.url}/token"})
            return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token"'})

        with serving(script) as server, pytest.raises(DeniedError):
            client(server.name, credentials=ALICE).get_manifest("a", "t")
        assert [seen.authorization for seen in sink.seen] == [""]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"token":5}',
        b'{"token":"t","expires_in":' + b"9" * 30 + b"}",
        b'{"token":"t","token":"u"}',
        b'{"token":"a\\nb"}',
        b'{"token":""}',
        b"[" * 100_000,
        b"x" * (1 << 21),
    ],
)
def test_an_odd_token_is_refused(body: bytes) -> None:
    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            return Reply(200, body)
        return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token"'})

    with serving(script) as server, pytest.raises(ContentError):
        client(server.name).get_manifest("a", "t")


def test_a_repository_denied_with_a_fresh_token_is_denied_and_others_are_not() -> None:
    with token_registry() as registry:
        one = client(_name(registry), credentials=ALICE)
        one.get_manifest("a", "t")
        assert registry.server is not None
        challenge = {"WWW-Authenticate": f'Bearer realm="{registry.server.url}/token",service="s, p.a"'}
        registry.server.script = lambda seen: (
            registry(seen) if seen.path == "/token" or "/ok/" in seen.path else Reply(401, headers=challenge)
        )
        registry.valid.clear()
        with pytest.raises(DeniedError):
            one.get_manifest("private", "t")
        assert len(registry.logins()) == 2
        assert one.get_manifest("ok", "t")
