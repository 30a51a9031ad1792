"""The client and the source against a real registry."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from support.clients import ALICE, client
from support.hostile import Reply, Seen, serving
from support.registry_server import RegistryServer, made_image, push_blob, push_image, put_manifest, running
from transship.pipeline.digest import Digest, VerifyingReader
from transship.pipeline.errors import ContentError, DeniedError, NotFoundError, TransportError, UsageError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import DOCKER_LAYER_GZIP, DOCKER_MANIFEST
from transship.pipeline.manifest.views import Image
from transship.pipeline.registry import tls
from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.registries import Registries
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.registry.tls_details import TlsDetails


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def test_an_image_is_read_whole(server: RegistryServer) -> None:
    digest = push_image(server, "some/app", "v1", [os.urandom(3 << 20), b"small"])
    one = client(server.name)
    manifest = one.get_manifest("some/app", digest)
    assert isinstance(manifest, Image)
    for reference in ("v1", digest):
        assert one.get_manifest("some/app", reference) == manifest
        assert one.head_manifest("some/app", reference) == Descriptor(DOCKER_MANIFEST, digest, len(manifest.raw))
    for start in (0, 1):
        for wanted in manifest.blobs:
            with one.open_blob("some/app", wanted, start) as body:
                assert len(b"".join(iter(lambda: body.read(1 << 20), b""))) == wanted.size - start
    with one.open_blob("some/app", manifest.layers[0]) as body:
        VerifyingReader(body, manifest.layers[0].digest, manifest.layers[0].size, "layer").drain()


def test_an_empty_blob_is_one(server: RegistryServer) -> None:
    digest = push_blob(server, "some/empty", b"")
    with client(server.name).open_blob("some/empty", Descriptor(DOCKER_LAYER_GZIP, digest, 0)) as body:
        assert body.read(10) == b""


def test_what_is_not_there_is_not_found(server: RegistryServer) -> None:
    one = client(server.name)
    nothing = Digest.of(b"nothing")
    with pytest.raises(NotFoundError, match=r"MANIFEST_UNKNOWN|NAME_UNKNOWN"):
        one.get_manifest("no/such", "v1")
    with pytest.raises(NotFoundError):
        one.head_manifest("no/such", nothing)
    with pytest.raises(NotFoundError), one.open_blob("no/such", Descriptor(DOCKER_LAYER_GZIP, nothing, 7)):
        pass
    with pytest.raises(NotFoundError):
        one.list_tags("no/such")


def test_names_that_are_none_are_never_sent(server: RegistryServer) -> None:
    one = client(server.name)
    for repository, reference in (("../x", "t"), ("A", "t"), ("a//b", "t"), ("a\n", "t"), ("a", "../t"), ("a", "")):
        with pytest.raises(UsageError):
            one.get_manifest(repository, reference)
    with pytest.raises(UsageError):
        client("host/../x")


def test_all_tags_are_listed(server: RegistryServer) -> None:
    raw, blobs = made_image([b"tags"])
    for blob in blobs:
        push_blob(server, "many/tags", blob)
    for number in range(25):
        put_manifest(server, "many/tags", f"t{number:02}", raw, DOCKER_MANIFEST)
    assert sorted(client(server.name).list_tags("many/tags")) == [f"t{number:02}" for number in range(25)]


def test_htpasswd_lets_in_who_knows_the_password(tmp_path: Path) -> None:
    with running(tmp_path, user=ALICE.username, password=ALICE.password) as registry:
        digest = push_image(registry, "a", "t", [b"x"], ALICE.password)
        settings = HostSettings(tls_verify=False, credentials=ALICE)
        with Registries({registry.name: settings}, HostSettings(tls_verify=False), {}) as registries:
            assert registries.client(registry.name).get_manifest("a", "t").digest == digest
            assert registries.client(registry.name) is registries.client(registry.name)
        for credentials in (None, Credentials("alice", "wrong-pw")):
            with pytest.raises(DeniedError, match="401") as caught:
                client(registry.name, credentials=credentials).get_manifest("a", "t")
            assert "wrong-pw" not in str(caught.value)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[tuple[RegistryServer, Digest]]:
    folder = tmp_path_factory.mktemp("secure")
    with running(folder) as plain:
        digest = push_image(plain, "a", "t", [b"x"])
    issued = authority.issue_cert("localhost")
    (folder / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(folder / "key.pem")
    with running(folder, certificate=(folder / "chain.pem", folder / "key.pem")) as registry:
        yield registry, digest


def test_tls_trusts_an_authority_of_certs_d(
    tmp_path: Path, authority: trustme.CA, secure: tuple[RegistryServer, Digest]
) -> None:
    registry, digest = secure
    folder = tmp_path / ".config/containers/certs.d" / registry.name
    folder.mkdir(parents=True)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    for settings, home in ((HostSettings(), tmp_path), (HostSettings(cert_dir=str(folder)), tmp_path / "none")):
        with Registries({}, settings, {"HOME": str(home)}) as registries:
            assert registries.client(registry.name).get_manifest("a", "t").digest == digest


def test_tls_does_not_trust_who_is_not_known(secure: tuple[RegistryServer, Digest]) -> None:
    registry, digest = secure
    with pytest.raises(TransportError, match=r"the certificate is not trusted: .*certs.d") as caught:
        client(registry.name, tls_verify=True).get_manifest("a", "t")
    assert not caught.value.retriable
    assert client(registry.name, tls_verify=False).get_manifest("a", "t").digest == digest


def test_plain_http_is_not_taken_for_tls(server: RegistryServer) -> None:
    with pytest.raises(TransportError, match="does not speak TLS") as caught:
        client(server.name, tls_verify=True).get_manifest("a", "t")
    assert not caught.value.retriable


def test_a_certificate_without_its_key_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "client.cert").touch()
    with pytest.raises(UsageError, match=r"has no client\.key"):
        tls.read(tmp_path)
    with pytest.raises(UsageError, match="cannot read"):
        tls.read(tmp_path / "none")
    (tmp_path / "client.key").touch()
    with pytest.raises(UsageError, match="cannot load"):
        tls.context(tls.read(tmp_path), TlsDetails(), verify=True, with_pairs=True)


RAW, _ = made_image([b"y"])
OTHER, _ = made_image([b"z"])


@pytest.mark.parametrize(
    ("raw", "claimed"),
    [(OTHER, ""), (OTHER, str(Digest.of(RAW))), (OTHER, str(Digest.of(OTHER))), (RAW, str(Digest.of(OTHER)))],
)
def test_the_digest_asked_for_is_the_one_that_counts(raw: bytes, claimed: str) -> None:
    headers = {"Content-Type": DOCKER_MANIFEST, **({"Docker-Content-Digest": claimed} if claimed else {})}
    with serving(lambda _: Reply(200, raw, headers)) as hostile, pytest.raises(ContentError, match="does not match"):
        client(hostile.name).get_manifest("a", Digest.of(RAW))


def test_head_falls_back_to_get_where_it_says_too_little() -> None:
    with serving(lambda _: Reply(200, RAW, {"Content-Type": DOCKER_MANIFEST})) as hostile:
        found = client(hostile.name).head_manifest("a", "t")
    assert found == Descriptor(DOCKER_MANIFEST, Digest.of(RAW), len(RAW))


def test_pages_of_tags_are_followed_to_their_end() -> None:
    def script(seen: Seen) -> Reply:
        if "last=b" in seen.target:
            return Reply(200, b'{"tags":["b","c"]}')
        return Reply(200, b'{"tags":["a","b"]}', {"Link": '</v2/a/tags/list?last=b&n=2>; rel="next"'})

    with serving(script) as hostile:
        assert client(hostile.name).list_tags("a") == ["a", "b", "c"]


@pytest.mark.parametrize(
    "link", ["/v2/a/tags/list?n=1000", "http://127.0.0.2:1/v2/a/tags/list", "/other", "file:///etc/passwd"]
)
def test_pages_that_lead_elsewhere_or_in_a_circle_are_refused(link: str) -> None:
    with serving(lambda _: Reply(200, b'{"tags":["a"]}', {"Link": f"<{link}>; rel=next"})) as hostile:
        with pytest.raises(TransportError):
            client(hostile.name).list_tags("a")
        assert len(hostile.asked("/v2/a/")) == 1


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"tags":{}}', b'{"tags":[1]}'])
def test_an_odd_list_of_tags_is_refused(body: bytes) -> None:
    with serving(lambda _: Reply(200, body)) as hostile, pytest.raises(ContentError):
        client(hostile.name).list_tags("a")
