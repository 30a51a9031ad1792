"""The read-only registry, seen by an HTTP client."""

import http.client
import io
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.images import make_image, make_multi, write_layout
from support.serving import Reply, served
from transship.pipeline.digest import Digest
from transship.pipeline.serve import ranges

IMAGE = make_image(1, layer_size=200_000, healthcheck=True)
MULTI = make_multi(2)


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    path = tmp_path / "mirror"
    write_layout(path, {"team/app:v1": IMAGE, "tool": MULTI, "": make_image(3)})
    return path


@pytest.fixture
def port(layout: Path) -> Iterator[int]:
    with served(layout) as number:
        yield number


def test_manifest_by_tag_and_by_digest_is_byte_for_byte_what_lies_on_disk(port: int) -> None:
    for reference in ("v1", str(IMAGE.digest)):
        got = Reply(port, f"/v2/team/app/manifests/{reference}")
        assert (got.status, got.body) == (200, IMAGE.manifest_raw)
        assert got.headers["Content-Type"] == IMAGE.media_type
        assert got.headers["Docker-Content-Digest"] == str(IMAGE.digest)


def test_instances_of_an_index_are_found_by_digest(port: int) -> None:
    child = MULTI.children[1]
    got = Reply(port, f"/v2/tool/manifests/{child.digest}")
    assert (got.body, got.headers["Content-Type"]) == (child.manifest_raw, child.media_type)


def test_head_has_the_headers_of_get_and_no_body(port: int) -> None:
    for target in ("/v2/", "/v2/team/app/manifests/v1", f"/v2/team/app/blobs/{IMAGE.layers[0].digest}"):
        get, head = Reply(port, target), Reply(port, target, "HEAD")
        assert head.body == b""
        assert head.status == get.status == 200
        assert head.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=100-", 206, 100, None),
        ("bytes=-7", 206, -7, None),
        ("bytes=5-99999999999", 206, 5, None),
        ("bytes=0-1,4-5", 200, 0, None),
        ("bytes=9-3", 200, 0, None),
        ("lines=1-2", 200, 0, None),
    ],
)
def test_range(port: int, asked: str, status: int, start: int, end: int | None) -> None:
    layer = IMAGE.layers[0]
    got = Reply(port, f"/v2/team/app/blobs/{layer.digest}", Range=asked)
    assert (got.status, got.body) == (status, layer.packed[start:end])


def test_range_past_the_end_is_416_and_says_the_length(port: int) -> None:
    layer = IMAGE.layers[0]
    got = Reply(port, f"/v2/team/app/blobs/{layer.digest}", Range=f"bytes={len(layer.packed)}-")
    assert (got.status, got.headers["Content-Range"]) == (416, f"bytes */{len(layer.packed)}")


@given(start=st.integers(0, 60), end=st.integers(0, 60), length=st.integers(1, 50))
def test_range_parsing_selects_what_a_slice_does(start: int, end: int, length: int) -> None:
    content = bytes(range(length))
    try:
        span = ranges.parse(f"bytes={start}-{end}", length)
    except ranges.UnsatisfiableError:
        assert start >= length
        return
    if span is None:
        assert end < start
    else:
        assert content[span.start : span.end] == content[start : end + 1] != b""


def test_an_etag_saves_a_second_transfer(port: int) -> None:
    target = f"/v2/team/app/blobs/{IMAGE.layers[0].digest}"
    etag = Reply(port, target).headers["ETag"]
    assert Reply(port, target, If_None_Match=etag).status == 304
    assert Reply(port, target, Range="bytes=0-3", If_Range='"other"').status == 200
    assert Reply(port, target, Range="bytes=0-3", If_Range=etag).status == 206


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v2/nowhere/manifests/v1", 404, "NAME_UNKNOWN"),
        ("/v2/team/app/manifests/v2", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/team/app/manifests/sha256:{'0' * 64}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/team/app/manifests/{IMAGE.layers[0].digest}", 404, "MANIFEST_UNKNOWN"),
        (f"/v2/team/app/blobs/sha256:{'0' * 64}", 404, "BLOB_UNKNOWN"),
        ("/v2/team/app/blobs/sha256:..%2f..%2findex.json", 404, "UNSUPPORTED"),
        ("/v2/team/app/manifests/sha256:UPPER", 400, "DIGEST_INVALID"),
        ("/v2/team/app/tags/other", 404, "UNSUPPORTED"),
        ("/v2/../index.json", 404, "UNSUPPORTED"),
        ("/", 404, "UNSUPPORTED"),
        ("/v2/_catalog?n=x", 400, "PAGINATION_NUMBER_INVALID"),
        (f"/v2/{'a' * 5000}", 414, "UNSUPPORTED"),
    ],
)
def test_refusals_are_json_of_the_spec(port: int, target: str, status: int, code: str) -> None:
    got = Reply(port, target)
    assert (got.status, got.code) == (status, code)


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
def test_nothing_can_be_written(port: int, method: str) -> None:
    got = Reply(port, "/v2/team/app/manifests/v1", method)
    assert (got.status, got.code, got.headers["Allow"]) == (405, "UNSUPPORTED", "GET, HEAD")


def test_catalog_and_tags_come_in_pages(tmp_path: Path) -> None:
    write_layout(tmp_path / "many", {f"app:v{n}": IMAGE for n in range(5)} | {"zoo:v1": IMAGE})
    with served(tmp_path / "many") as port:
        assert json.loads(Reply(port, "/v2/_catalog").body) == {"repositories": ["app", "zoo"]}
        tags: list[str] = []
        target = "/v2/app/tags/list?n=2"
        while target:
            got = Reply(port, target)
            tags += json.loads(got.body)["tags"]
            target = got.headers.get("Link", "").partition("<")[2].partition(">")[0]
        assert tags == ["v0", "v1", "v2", "v3", "v4"]
        assert json.loads(Reply(port, "/v2/app/tags/list?n=0").body)["tags"] == []


def test_a_damaged_manifest_is_not_given_out(layout: Path, port: int) -> None:
    path = layout / "blobs/sha256" / IMAGE.digest.hex
    path.write_bytes(IMAGE.manifest_raw.replace(b'"size": ', b'"size":  '))
    got = Reply(port, "/v2/team/app/manifests/v1")
    assert (got.status, got.code) == (500, "UNKNOWN")
    assert str(layout).encode() not in got.body


def test_a_link_out_of_the_layout_is_not_followed(layout: Path, port: int, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    digest = Digest.of(b"secret")
    (layout / "blobs/sha256" / digest.hex).symlink_to(secret)
    assert Reply(port, f"/v2/tool/blobs/{digest}").code == "BLOB_UNKNOWN"


def test_connections_are_kept_alive_also_after_an_error(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    first = None
    for target in ("/v2/", "/v2/no/manifests/x", f"/v2/tool/blobs/{IMAGE.layers[0].digest}", "/v2/_catalog"):
        connection.request("GET", target)
        connection.getresponse().read()
        assert connection.sock is not None
        first = first or connection.sock.getsockname()
        assert connection.sock.getsockname() == first
    connection.close()


def test_a_body_is_not_taken_for_the_next_request(port: int) -> None:
    inner = b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(inner), inner))
        got = b""
        while part := client.recv(65536):
            got += part
    assert got.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("line", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"G" * 70000])
def test_garbage_ends_the_connection_and_not_the_server(port: int, line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        try:
            while client.recv(65536):
                pass
        except ConnectionResetError:
            pass
    assert Reply(port, "/v2/").status == 200


def test_access_log_has_a_line_a_request(layout: Path) -> None:
    log = io.StringIO()
    digest = IMAGE.layers[0].digest
    with served(layout, log=log) as port:
        Reply(port, f"/v2/tool/blobs/{digest}", Range="bytes=0-9")
        Reply(port, "/v2/tool/manifests/none")
        Reply(port, "/v2/", "HEAD")
        # Each connection writes its line after its answer: two may come in either order.
        deadline = time.monotonic() + 20
        while log.getvalue().count("\n") < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    lines = {json.loads(line)["status"]: json.loads(line) for line in log.getvalue().splitlines()}
    assert {(line["method"], line["status"], line["range"]) for line in lines.values()} == {
        ("GET", 206, "bytes=0-9"),
        ("GET", 404, None),
        ("HEAD", 200, None),
    }
    assert (lines[206]["path"], lines[206]["bytes"], lines[200]["bytes"]) == (f"/v2/tool/blobs/{digest}", 10, 0)
