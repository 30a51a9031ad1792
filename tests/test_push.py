"""Pushing to a real registry: what is sent, what is not sent again, and what a network may do to it."""

import contextlib
import random
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.clients import ALICE, client
from support.conformance import put
from support.hostile import Reply, Seen, serving
from support.images import make_base, make_image, make_multi
from support.registry_server import RegistryServer, running
from support.upload_proxy import Break, Passed, proxied
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, DeniedError, InterruptError, TransientError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import DOCKER_LAYER_GZIP
from transship.pipeline.manifest.views import parse
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.push import Push
from transship.pipeline.registry.upload import PIECE, WHOLE
from transship.pipeline.transport import FileBlob
from transship.pipeline.transports.docker_sink import DockerSink

LARGE = 3 * PIECE + 12345


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as registry:
        yield registry


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> FileBlob:
    return blob(tmp_path_factory.mktemp("blob"), LARGE)


def blob(folder: Path, size: int, seed: int = 1) -> FileBlob:
    raw = random.Random(seed).randbytes(size)
    path = folder / f"{size}-{seed}"
    path.write_bytes(raw)
    return FileBlob(Descriptor(DOCKER_LAYER_GZIP, Digest.of(raw), size), path)


def to(registry: RegistryClient, repository: str) -> Push:
    return Push(registry, repository, lambda: False)


def skopeo(*words: str) -> str:
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_behind(registry: RegistryServer) -> list[Path]:
    """Return the uploads that the registry still has open."""
    return list(registry.log.parent.rglob("_uploads/*/data"))


class Nth:
    """Breaks the nth request of a method to an upload."""

    def __init__(self, method: str, *numbers: int, after: int | None = None) -> None:
        self._method, self._numbers, self._after, self._count = method, numbers, after, 0

    def __call__(self, seen: Passed) -> Break | None:
        if seen.method != self._method or "/blobs/uploads/" not in seen.target:
            return None
        self._count += 1
        return Break(self._after) if self._count in self._numbers else None


@pytest.mark.parametrize("docker", [True, False])
def test_an_image_and_an_index_come_back_by_skopeo_with_the_same_digests(
    tmp_path: Path, server: RegistryServer, docker: bool
) -> None:
    repository = f"back/docker-{str(docker).lower()}"
    for tag, image in (
        ("one", make_image(tag_seed := 7, docker=docker)),
        ("many", make_multi(tag_seed, docker=docker)),
    ):
        with DockerSink(client(server.name), DockerReference(server.name, repository, "")) as sink:
            put(sink, image, tag, tmp_path / "store")
        skopeo(
            "copy",
            "--all",
            "--src-tls-verify=false",
            f"docker://{server.name}/{repository}:{tag}",
            f"dir:{tmp_path / tag}",
        )
        assert (tmp_path / tag / "manifest.json").read_bytes() == image.manifest_raw
        for digest, raw in image.blobs.items():
            assert raw in [path.read_bytes() for path in (tmp_path / tag).glob(f"{digest.hex}*")]


def test_the_second_push_sends_neither_blob_nor_manifest(tmp_path: Path, server: RegistryServer) -> None:
    multi = make_multi("second")
    with proxied(server.port) as proxy:
        for _ in range(2):
            sent = len(proxy.passed)
            with DockerSink(client(proxy.name), DockerReference(proxy.name, "second/time", "")) as sink:
                put(sink, multi, "v1", tmp_path / "store")
    assert {one.method for one in proxy.passed[:sent]} == {"HEAD", "POST", "PUT"}
    assert {one.method for one in proxy.passed[sent:]} == {"HEAD"}


def test_a_manifest_comes_after_its_blobs_children_before_the_index_the_tag_last(
    tmp_path: Path, server: RegistryServer
) -> None:
    multi = make_multi("order")
    with (
        proxied(server.port) as proxy,
        ThreadPoolExecutor(4) as pool,
        DockerSink(client(proxy.name), DockerReference(proxy.name, "in/order", ""), (), pool) as sink,
    ):
        put(sink, multi, "v1", tmp_path / "store")
    puts = [one.path.rpartition("/")[2] for one in proxy.of("PUT") if "/manifests/" in one.path]
    assert puts == [*(str(child.digest) for child in multi.children), "v1"]
    last = max(n for n, one in enumerate(proxy.passed) if one.method == "PUT" and "/uploads/" in one.path)
    assert "/manifests/" in proxy.passed[-1].path
    assert last < len(proxy.passed) - 1


def test_a_failed_push_leaves_the_tag_where_it_was(tmp_path: Path, server: RegistryServer) -> None:
    reference = DockerReference(server.name, "some/tag", "")
    first, second = make_image("first"), make_image("other")
    with DockerSink(client(server.name), reference) as sink:
        put(sink, first, "v1", tmp_path / "store")
    with contextlib.suppress(ZeroDivisionError), DockerSink(client(server.name), reference) as sink:
        put(sink, second, "v1", tmp_path / "store")
        raise ZeroDivisionError
    assert client(server.name).get_manifest("some/tag", "v1").digest == first.digest


def test_blobs_that_another_repository_has_are_mounted(tmp_path: Path, server: RegistryServer) -> None:
    base = make_base("mounted", layer_size=1 << 20)
    images = [make_image(f"mounted-{n}", base_layers=base) for n in range(2)]
    with proxied(server.port) as proxy:
        one = client(proxy.name)
        for n, image in enumerate(images):
            with DockerSink(one, DockerReference(proxy.name, f"mounted/app{n}", "")) as sink:
                put(sink, image, "v1", tmp_path / "store")
        # Another process knows of the source of its copy alone.
        source = DockerReference(proxy.name, "mounted/app1", "v1")
        before = proxy.uploaded
        with DockerSink(client(proxy.name), DockerReference(proxy.name, "mounted/app2", ""), [source]) as sink:
            put(sink, images[1], "v1", tmp_path / "store")
        assert proxy.uploaded == before
    own = {raw for image in images for raw in image.blobs.values()}
    assert proxy.uploaded == sum(map(len, own))
    assert left_behind(server) == []


def test_a_blob_that_cannot_be_mounted_is_uploaded(tmp_path: Path, server: RegistryServer) -> None:
    content = blob(tmp_path, 1000)
    with proxied(server.port) as proxy:
        to(client(proxy.name), "not/mounted").put_blob(content, "no/such")
    assert [one.status for one in proxy.of("POST")] == [202]
    assert proxy.uploaded == 1000


def test_a_blob_of_several_images_is_uploaded_once_also_at_once(tmp_path: Path, server: RegistryServer) -> None:
    content = blob(tmp_path, WHOLE)
    with proxied(server.port) as proxy, ThreadPoolExecutor(4) as pool:
        one = client(proxy.name)
        list(pool.map(lambda n: to(one, f"at/once{n % 2}").put_blob(content), range(8)))
    assert proxy.uploaded == WHOLE


@pytest.mark.parametrize("size", [0, 1, WHOLE, WHOLE + 1])
def test_blobs_of_every_size_arrive(tmp_path: Path, server: RegistryServer, size: int) -> None:
    content = blob(tmp_path, size, 3)
    one = client(server.name)
    assert not to(one, "sizes/all").has(content.descriptor)
    to(one, "sizes/all").put_blob(content)
    assert to(one, "sizes/all").has(content.descriptor)
    assert left_behind(server) == []


def test_after_a_reset_the_upload_goes_on_from_where_the_registry_says(server: RegistryServer, large: FileBlob) -> None:
    cut = 2 * PIECE
    with proxied(server.port, Nth("PATCH", 1, after=cut), "kept") as proxy:
        to(client(proxy.name), "reset/kept").put_blob(large)
    assert proxy.uploaded == LARGE
    assert [one.came for one in proxy.of("PATCH")] == [cut, PIECE, LARGE - 3 * PIECE]
    assert [one.status for one in proxy.of("GET") if "/uploads/" in one.target] == [204]
    assert to(client(server.name), "reset/kept").has(large.descriptor)


def test_behind_a_proxy_that_collects_bodies_what_breaks_is_one_piece(server: RegistryServer, large: FileBlob) -> None:
    with proxied(server.port, Nth("PATCH", 1, 3, after=1000)) as proxy:
        to(client(proxy.name), "reset/collected").put_blob(large)
    assert proxy.uploaded == LARGE + 2 * 1000
    assert left_behind(server) == []


def test_an_upload_that_the_registry_lost_begins_anew(server: RegistryServer, large: FileBlob) -> None:
    with proxied(server.port, Nth("PATCH", 1, after=PIECE), "passed on") as proxy:
        to(client(proxy.name), "reset/lost").put_blob(large)
    assert len(proxy.of("POST")) == 2
    assert len(proxy.of("DELETE")) == 1
    assert proxy.uploaded == LARGE + PIECE
    assert to(client(server.name), "reset/lost").has(large.descriptor)


@pytest.mark.parametrize("size", [1000, WHOLE + 1])
def test_a_reply_to_the_last_put_that_was_lost_is_settled_by_head(
    tmp_path: Path, server: RegistryServer, size: int
) -> None:
    content = blob(tmp_path, size, 9)
    with proxied(server.port, Nth("PUT", 1)) as proxy:
        to(client(proxy.name), f"lost/put{size}").put_blob(content)
    assert [one.status for one in proxy.of("HEAD")] == [404, 200]
    assert len(proxy.of("PUT")) == 1
    assert proxy.uploaded == size


def test_a_connection_that_always_breaks_ends_in_one_line_and_no_upload_left(
    tmp_path: Path, server: RegistryServer
) -> None:
    content = blob(tmp_path, WHOLE, 11)
    before = left_behind(server)
    with (
        proxied(server.port, lambda seen: Break(10) if seen.method in ("PUT", "PATCH") else None) as proxy,
        pytest.raises(TransientError, match=r"P\w+ http://127.*/v2/never/there/blobs/uploads/\S+: ") as caught,
    ):
        to(client(proxy.name), "never/there").put_blob(content)
    assert "_state" not in str(caught.value)
    assert proxy.of("DELETE")[-1].status == 204
    assert left_behind(server) == before


def test_a_stopped_upload_is_cancelled(server: RegistryServer, large: FileBlob) -> None:
    before = left_behind(server)
    stop = threading.Event()

    def rule(seen: Passed) -> None:
        if seen.method == "PATCH":
            stop.set()

    with proxied(server.port, rule) as proxy, pytest.raises(InterruptError):
        Push(client(proxy.name), "to/stop", stop.is_set).put_blob(large)
    assert proxy.of("DELETE")[-1].status == 204
    assert left_behind(server) == before


def test_credentials_do_not_follow_an_upload_to_another_origin(tmp_path: Path) -> None:
    content = blob(tmp_path, 1000)
    with serving(lambda _: Reply(201)) as elsewhere:

        def registry(seen: Seen) -> Reply:
            if not seen.authorization:
                return Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
            if seen.method == "HEAD":
                return Reply(404)
            return Reply(202, headers={"Location": f"{elsewhere.url}/put/here?signature=s"})

        with serving(registry) as hostile:
            to(client(hostile.name, credentials=ALICE), "a/b").put_blob(content)
    (sent,) = elsewhere.seen
    assert sent.body == content.path.read_bytes()
    assert sent.authorization == ""
    assert sent.target == f"/put/here?signature=s&digest={str(content.descriptor.digest).replace(':', '%3A')}"


def test_a_429_with_retry_after_is_kept_and_the_bytes_sent_again(tmp_path: Path, server: RegistryServer) -> None:
    replies = iter([Reply(429, headers={"Retry-After": "1"})])

    def registry(seen: Seen) -> Reply:
        if seen.method == "PUT":
            return next(replies, Reply(201))
        return Reply(202, headers={"Location": "/up"}) if seen.method == "POST" else Reply(404)

    content = blob(tmp_path, 1000)
    with serving(registry) as hostile:
        to(client(hostile.name), "a/b").put_blob(content)
    assert [len(one.body) for one in hostile.seen if one.method == "PUT"] == [1000, 1000]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(403, DeniedError, r"POST \S+: 403 .*DENIED"), (413, TransportError, "413"), (405, TransportError, "405")],
)
def test_a_refused_push_is_one_clear_line(tmp_path: Path, status: int, error: type[Exception], words: str) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"read only"}]}'
    with (
        serving(lambda seen: Reply(404) if seen.method == "HEAD" else Reply(status, body)) as hostile,
        pytest.raises(error, match=words) as caught,
    ):
        to(client(hostile.name), "a/b").put_blob(blob(tmp_path, 10))
    assert "\n" not in str(caught.value)


def test_a_registry_that_changes_a_manifest_is_found_out() -> None:
    image = make_image(1)

    def registry(seen: Seen) -> Reply:
        changed = {"Docker-Content-Digest": str(Digest.of(b"changed"))}
        return Reply(404) if seen.method == "HEAD" else Reply(201, headers=changed)

    with (
        serving(registry) as hostile,
        pytest.raises(ContentError, match=f"took {image.digest} for '{Digest.of(b'changed')}"),
    ):
        to(client(hostile.name), "a/b").put_manifest(parse(image.manifest_raw, image.media_type), "v1")


def test_a_destination_digest_must_be_the_images(tmp_path: Path, server: RegistryServer) -> None:
    image = make_image("digest")
    with DockerSink(client(server.name), DockerReference(server.name, "by/digest", "")) as sink:
        put(sink, image, str(image.digest), tmp_path / "store")
    assert client(server.name).get_manifest("by/digest", image.digest).raw == image.manifest_raw
    wrong = Digest.of(b"wrong")
    with (
        pytest.raises(ContentError, match="is asked for, the image is"),
        DockerSink(client(server.name), DockerReference(server.name, "by/digest", "")) as sink,
    ):
        put(sink, image, str(wrong), tmp_path / "store")
