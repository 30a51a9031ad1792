"""What a network and a server can do to a request, and what comes of it."""

import email.utils
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest
import trustme

from support.clients import ALICE, QUICK, client
from support.hostile import Hostile, Reply, Seen, ranged, serving
from support.registry_server import free_port, made_image
from transship.pipeline.digest import Digest, VerifyingReader
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, DeniedError, NotFoundError, TransientError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import DOCKER_LAYER_GZIP, DOCKER_MANIFEST
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.settings import Patience
from transship.pipeline.registry.tls import Certificates
from transship.pipeline.store import Store
from transship.pipeline.transport import RangeRefusedError
from transship.pipeline.transports.docker import DockerSource

RAW, (CONFIG, LAYER) = made_image([bytes(range(256)) * 4000])
MANIFEST = Reply(200, RAW, {"Content-Type": DOCKER_MANIFEST})
BLOB = bytes(range(256)) * 4096
BLOB_DESCRIPTOR = Descriptor(DOCKER_LAYER_GZIP, Digest.of(BLOB), len(BLOB))


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: stream.read(1 << 20), b"")


def once_then(first: Reply, rest: Reply = MANIFEST) -> Callable[[Seen], Reply]:
    replies: Iterator[Reply] = iter([first])
    return lambda _: next(replies, rest)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_transient_status_is_tried_again(status: int) -> None:
    with serving(once_then(Reply(status))) as server:
        assert client(server.name).get_manifest("a", "t").digest == Digest.of(RAW)


@pytest.mark.parametrize("fault", [Reply(200, RAW, reset_after=20), Reply(200, RAW, short_after=20)])
def test_a_manifest_cut_short_is_asked_for_again(fault: Reply) -> None:
    with serving(once_then(fault)) as server:
        assert client(server.name).get_manifest("a", "t").digest == Digest.of(RAW)


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after_in_seconds_and_as_a_date_is_kept(dated: bool) -> None:
    # A date has whole seconds, so two of them are at least one.
    value = email.utils.formatdate(time.time() + 2, usegmt=True) if dated else "1"
    with serving(once_then(Reply(429, headers={"Retry-After": value}))) as server:
        began = time.monotonic()
        client(server.name).get_manifest("a", "t")
        assert 0.9 <= time.monotonic() - began < 3


def test_retry_after_is_capped_as_set() -> None:
    patience = Patience(tries=2, longest_retry_after=0.1)
    with serving(once_then(Reply(429, headers={"Retry-After": "3600"}))) as server:
        began = time.monotonic()
        client(server.name, patience=patience).get_manifest("a", "t")
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("value", ["-5", "soon", "", "9" * 400])
def test_an_odd_retry_after_is_survived(value: str) -> None:
    patience = Patience(tries=3, first_wait=0.01, longest_retry_after=0.1)
    with serving(once_then(Reply(503, headers={"Retry-After": value}))) as server:
        assert client(server.name, patience=patience).get_manifest("a", "t")


def test_one_429_pauses_all_threads() -> None:
    with serving(once_then(Reply(429, headers={"Retry-After": "1"}))) as server:
        one = client(server.name)
        with ThreadPoolExecutor(4) as pool:
            first = pool.submit(one.get_manifest, "a", "t")
            while not server.asked("/v2/a"):
                time.sleep(0.01)
            time.sleep(0.05)
            began = time.monotonic()
            rest = [pool.submit(one.get_manifest, "a", "t") for _ in range(3)]
            for future in (first, *rest):
                future.result()
        assert time.monotonic() - began > 0.8
        assert len(server.asked("/v2/a")) == 5


def test_close_wakes_who_waits() -> None:
    with serving(lambda _: Reply(429, headers={"Retry-After": "60"})) as server:
        one = client(server.name)
        threading.Timer(0.2, one.close).start()
        began = time.monotonic()
        with pytest.raises(TransientError, match="stopped"):
            one.get_manifest("a", "t")
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (
            Reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}'),
            NotFoundError,
            "MANIFEST_UNKNOWN",
        ),
        (Reply(403, b'{"errors":[{"code":"DENIED"}]}'), DeniedError, "403 \\(DENIED"),
        (Reply(401), DeniedError, "401"),
        (Reply(418, b"\x1b[2J\nboo"), TransportError, r"\\x1b\[2J\\nboo"),
        (Reply(200, b"<html>", {"Content-Type": "text/html; charset=utf-8"}), TransportError, "is it a registry"),
        (Reply(404, b"<html>", {"Content-Type": "text/html"}), NotFoundError, "is it a registry"),
        (Reply(200, RAW, {"Content-Encoding": "gzip"}), ContentError, "encoded"),
        (Reply(200, endless=True), ContentError, "limit of 4194304"),
        (Reply(400, endless=True), TransportError, "400"),
        (Reply(301), TransportError, "redirect that cannot"),
    ],
)
def test_a_failure_is_one_line_that_names_the_request(reply: Reply, error: type[Exception], words: str) -> None:
    with serving(lambda _: reply) as server:
        with pytest.raises(error, match=words) as caught:
            client(server.name).get_manifest("a/b", "t")
        assert f"GET {server.url}/v2/a/b/manifests/t: " in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700


def test_a_registry_that_is_down_is_one_line_soon_and_sooner_the_next_time() -> None:
    name = f"127.0.0.1:{free_port()}"
    one = client(name, tls_verify=True, patience=Patience(tries=4, first_wait=0.3))
    with pytest.raises(TransientError, match=f"GET https://{name}/v2/a/manifests/t: connection refused; check that"):
        one.get_manifest("a", "t")
    began = time.monotonic()
    with pytest.raises(TransientError):
        one.get_manifest("a", "t")
    assert time.monotonic() - began < 0.5


def test_a_registry_that_accepts_and_says_nothing_costs_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        patience = Patience(tries=1, connect_timeout=0.3, answer_timeout=0.3)
        one = client(f"127.0.0.1:{silent.getsockname()[1]}", patience=patience)
        began = time.monotonic()
        with pytest.raises(TransientError):
            one.get_manifest("a", "t")
        assert time.monotonic() - began < 3


def test_an_unknown_host_is_said_to_be_one() -> None:
    with pytest.raises(TransientError, match="host name is not known"):
        client("nowhere.invalid", tls_verify=True, patience=Patience(tries=1)).get_manifest("a", "t")


def test_credentials_do_not_follow_a_redirect_to_another_port() -> None:
    with serving(lambda seen: ranged(BLOB, seen)) as sink:

        def script(seen: Seen) -> Reply:
            if not seen.authorization:
                return Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
            return Reply(307, headers={"Location": f"{sink.url}/cdn?signature=x"})

        with serving(script) as server, client(server.name, credentials=ALICE).open_blob("a", BLOB_DESCRIPTOR) as body:
            assert b"".join(chunks(body)) == BLOB
        assert [one.authorization for one in sink.seen] == [""]


def test_a_redirect_target_that_demands_a_login_gets_none() -> None:
    def demand(seen: Seen) -> Reply:
        return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token"'})

    with serving(demand) as sink:

        def script(seen: Seen) -> Reply:
            if seen.authorization:
                return Reply(307, headers={"Location": f"{sink.url}/cdn"})
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})

        with serving(script) as server, pytest.raises(DeniedError):
            client(server.name, credentials=ALICE).get_manifest("a", "t")
        assert [(one.path, one.authorization) for one in sink.seen] == [("/cdn", "")]


def test_credentials_follow_a_redirect_within_the_origin() -> None:
    def script(seen: Seen) -> Reply:
        if not seen.authorization:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'})
        return MANIFEST if seen.path == "/elsewhere" else Reply(302, headers={"Location": "/elsewhere"})

    with serving(script) as server:
        assert client(server.name, credentials=ALICE).get_manifest("a", "t").digest == Digest.of(RAW)


def test_redirects_end() -> None:
    with serving(lambda _: Reply(307, headers={"Location": "/again"})) as server:
        with pytest.raises(TransportError, match="more than 10 redirects"):
            client(server.name).get_manifest("a", "t")
        assert len(server.asked("/again")) == 10


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "http://u:pw@h/", "gopher://h", "http://[::1", "//", "http://a b/", "http://a..b/"],
)
def test_a_redirect_to_what_is_no_http_url_is_refused(location: str) -> None:
    with serving(lambda _: Reply(307, headers={"Location": location})) as server:
        with pytest.raises(TransportError) as caught:
            client(server.name).get_manifest("a", "t")
        assert "pw" not in str(caught.value)


def _drained(registry: str, start: int = 0) -> bytes:
    with client(registry).open_blob("a", BLOB_DESCRIPTOR, start) as body:
        return b"".join(chunks(body))


def _collect(body: BinaryIO, into: bytearray) -> None:
    for piece in chunks(body):
        into += piece


@pytest.mark.parametrize("reply", [Reply(200, BLOB, reset_after=300_000), Reply(200, BLOB, short_after=300_000)])
def test_a_blob_that_breaks_off_is_resumed_from_what_came(reply: Reply) -> None:
    def script(seen: Seen) -> Reply:
        return ranged(BLOB, seen) if "range" in seen.headers else reply

    with serving(script) as server:
        one = client(server.name)
        got = bytearray()
        with one.open_blob("a", BLOB_DESCRIPTOR) as body, pytest.raises(TransientError, match="inside the body"):
            _collect(body, got)
        assert 0 < len(got) <= 300_000
        with one.open_blob("a", BLOB_DESCRIPTOR, len(got)) as body:
            got += body.read(-1)
        assert got == BLOB


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(416), RangeRefusedError),
        (Reply(206, BLOB[100:]), RangeRefusedError),
        (Reply(206, BLOB[99:], {"Content-Range": f"bytes 99-{len(BLOB) - 1}/{len(BLOB)}"}), RangeRefusedError),
        (Reply(206, BLOB[100:], {"Content-Range": f"bytes 100-{len(BLOB) - 1}/{len(BLOB) + 1}"}), ContentError),
        (Reply(206, BLOB[101:], {"Content-Range": f"bytes 100-{len(BLOB) - 1}/{len(BLOB)}"}), ContentError),
    ],
)
def test_a_range_that_is_not_the_one_asked_for_is_never_spliced(reply: Reply, error: type[Exception]) -> None:
    with serving(lambda _: reply) as server, pytest.raises(error):
        _drained(server.name, 100)


@pytest.mark.parametrize("reply", [Reply(200, BLOB[1:]), Reply(200, BLOB + b"x")])
def test_a_blob_of_another_length_is_refused_before_it_is_read(reply: Reply) -> None:
    with serving(lambda _: reply) as server, pytest.raises(ContentError, match="Content-Length"):
        _drained(server.name)


def test_an_endless_blob_without_a_length_stops_at_its_size() -> None:
    with serving(lambda _: Reply(200, endless=True)) as server:  # noqa: SIM117
        with client(server.name).open_blob("a", BLOB_DESCRIPTOR) as body, pytest.raises(ContentError, match="longer"):
            VerifyingReader(body, BLOB_DESCRIPTOR.digest, BLOB_DESCRIPTOR.size, "blob").drain()


def test_a_stall_inside_a_blob_ends_with_the_read_time_out() -> None:
    stalled = Reply(200, BLOB[:1000], {"Content-Length": str(len(BLOB))})
    with serving(lambda _: stalled) as server:
        patience = Patience(tries=1, idle_timeout=0.3)
        began = time.monotonic()
        with (
            client(server.name, patience=patience).open_blob("a", BLOB_DESCRIPTOR) as body,
            pytest.raises(TransientError, match="within the time"),
        ):
            body.read(-1)
        assert time.monotonic() - began < 3


def test_slots_bound_requests_at_a_time_and_come_back() -> None:
    with serving(lambda seen: ranged(BLOB, seen)) as server:
        one = client(server.name, patience=QUICK)
        for _ in range(20):
            with one.open_blob("a", BLOB_DESCRIPTOR) as body:
                body.read(10)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def _secure_client(server: Hostile, authority: trustme.CA, folder: Path) -> RegistryClient:
    authority.cert_pem.write_to_path(folder / "ca.crt")
    certificates = Certificates((folder / "ca.crt",))
    return client(server.name, credentials=ALICE, tls_verify=True, certificates=certificates)


def test_a_redirect_from_https_to_http_is_refused(
    tmp_path: Path, authority: trustme.CA, server_context: ssl.SSLContext
) -> None:
    with serving(lambda _: MANIFEST) as sink:
        away = Reply(307, headers={"Location": f"{sink.url}/x?signature=1"})
        with serving(lambda _: away, server_context) as server:
            one = _secure_client(server, authority, tmp_path)
            with pytest.raises(TransportError, match=r"from https to http://.*/x; refused"):
                one.get_manifest("a", "t")
        assert sink.seen == []


def test_a_token_server_without_tls_of_a_registry_with_tls_is_refused(
    tmp_path: Path, authority: trustme.CA, server_context: ssl.SSLContext
) -> None:
    with serving(lambda _: Reply(200, b'{"token":"t"}')) as sink:
        challenge = Reply(401, headers={"WWW-Authenticate": f'Bearer realm="{sink.url}/token"'})
        with serving(lambda _: challenge, server_context) as server:
            one = _secure_client(server, authority, tmp_path)
            with pytest.raises(DeniedError, match="is not https; refused"):
                one.get_manifest("a", "t")
        assert sink.seen == []


def test_a_blob_that_is_reset_every_few_bytes_is_ingested_and_no_byte_twice(tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        whole = ranged(BLOB, seen)
        return Reply(whole.status, whole.body, whole.headers, reset_after=200_000)

    counted: list[int] = []
    with serving(script) as server:
        reference = DockerReference(server.name, "a", "t", None)
        source = DockerSource(client(server.name), reference)
        store = Store(tmp_path)
        assert store.ingest(BLOB_DESCRIPTOR, lambda start: source.blob(BLOB_DESCRIPTOR, start), counted.append)
        assert store.path(BLOB_DESCRIPTOR.digest).read_bytes() == BLOB
    assert sum(counted) == len(BLOB)
