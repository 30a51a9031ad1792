"""Connections are kept, their end is noticed, and what comes over them is read strictly."""

import io
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from support.raw_server import RawServer, answering
from transship.pipeline.errors import ContentError, TransientError, TransportError
from transship.pipeline.registry import dialling
from transship.pipeline.registry.connection import Pool, Timeouts
from transship.pipeline.registry.faults import WireError, reason
from transship.pipeline.registry.origin import Origin
from transship.pipeline.registry.request import Request
from transship.pipeline.registry.response import RawResponse, Response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = Request("GET", "/x", {})
SOON = Timeouts(5.0, 5.0, 5.0)


@contextmanager
def pool(server: RawServer) -> Iterator[Pool]:
    made = Pool(Origin("http", "127.0.0.1", server.port), 4, None)
    yield made
    made.close()


def whole(response: Response) -> bytes:
    return b"".join(iter(lambda: response.read1(1 << 20), b""))


def answer_to(head: bytes) -> Response:
    """Return what comes of one GET that is answered with ``head`` and whose connection is then closed."""
    with answering([head]) as server, pool(server) as connections:
        response = connections.ask(GET, SOON)
        response.close()
        return response


def test_a_connection_read_to_its_end_carries_the_next_request() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n"
    empty = b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n"
    with answering([OK, chunked, empty, OK]) as server, pool(server) as connections:
        assert [whole(connections.ask(GET, SOON)) for _ in range(4)] == [b"ok", b"abcde", b"", b"ok"]
        assert len(server.received) == 4


def test_a_body_left_unread_costs_its_connection_and_is_not_taken_for_the_next_answer() -> None:
    with answering([OK], [OK]) as server, pool(server) as connections:
        connections.ask(GET, SOON).close()
        assert whole(connections.ask(GET, SOON)) == b"ok"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_connection_that_was_closed_while_idle_is_not_used(method: str) -> None:
    with answering([OK], [OK]) as server, pool(server) as connections:
        assert whole(connections.ask(GET, SOON)) == b"ok"
        assert server.closed.wait(5)
        assert whole(connections.ask(Request(method, "/x", {}), SOON)) == b"ok"


def test_a_get_is_sent_again_where_an_idle_connection_ends_instead_of_answering() -> None:
    with answering([OK, b""], [OK]) as server, pool(server) as connections:
        assert whole(connections.ask(GET, SOON)) == b"ok"
        assert whole(connections.ask(GET, SOON)) == b"ok"
        assert len(server.received) == 3


def test_a_post_is_never_sent_again() -> None:
    with answering([OK, b""], [OK]) as server, pool(server) as connections:
        assert whole(connections.ask(GET, SOON)) == b"ok"
        with pytest.raises(WireError) as caught:
            connections.ask(Request("POST", "/x", {}, b"body"), SOON)
        assert reason(caught.value) == "the connection was closed without an answer"
        assert len(server.received) == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_is_sent_with_its_length_and_never_in_chunks(method: str) -> None:
    body = os.urandom((2 << 20) + 17)
    stream = io.BytesIO(b"before" + body + b"after")
    stream.seek(6)
    sent = [
        Request(method, "/x", {"X-Name": "v"}, body),
        Request(method, "/x", {}, stream, len(body)),
        Request(method, "/x", {}),
    ]
    with answering([OK, OK, OK]) as server, pool(server) as connections:
        for request in sent:
            assert whole(connections.ask(request, SOON)) == b"ok"
    heads, bodies = zip(*(one.split(b"\r\n\r\n", 1) for one in server.received), strict=True)
    assert bodies == (body, body, b"")
    assert stream.read() == b"after"
    for head, length in zip(heads, (len(body), len(body), 0), strict=True):
        assert f"\r\nContent-Length: {length}".encode() in head
        assert b"chunked" not in head
        assert f"\r\nHost: 127.0.0.1:{server.port}\r\n".encode() in head


def test_a_stream_that_ends_before_its_length_is_an_error_and_no_request() -> None:
    with answering([OK]) as server, pool(server) as connections:
        with pytest.raises(ContentError, match="ends 3 bytes before its length"):
            connections.ask(Request("PUT", "/x", {}, io.BytesIO(b"12345"), 8), SOON)
        assert len(server.received) <= 1


def test_a_stream_that_cannot_be_read_is_not_taken_for_a_broken_connection() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    broken = Request("PUT", "/x", {}, Broken(), 8)
    with (
        answering([OK]) as server,
        pool(server) as connections,
        pytest.raises(TransportError, match="cannot read what is to be sent"),
    ):
        connections.ask(broken, SOON)


def test_a_server_that_refuses_before_it_has_read_all_is_heard() -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"

    def refuse() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1)
            connection.sendall(refusal)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        connections = Pool(Origin("http", "127.0.0.1", listener.getsockname()[1]), 4, None)
        body = io.BytesIO(b"x" * (64 << 20))
        assert connections.ask(Request("PUT", "/x", {}, body, 64 << 20), SOON).status == 413
        thread.join(10)


def test_fields_have_names_in_any_case_and_several_lines_are_one_list() -> None:
    head = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="a"\r\nwww-authenticate:Bearer realm=b \r\nX:\r\n\r\n'
    headers = answer_to(head).headers
    assert headers.get("Www-Authenticate") == 'Basic realm="a", Bearer realm=b'
    assert headers["x"] == ""
    assert "y" not in headers


def test_interim_answers_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    response = answer_to(interim + OK)
    assert response.status == 200
    assert "Link" not in response.headers


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "not HTTP/1"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "not HTTP/1"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "not HTTP/1"),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n", "inside a header"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "malformed header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\n", "64 KiB"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n", "more than 100"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "interim"),
    ],
)
def test_an_answer_that_is_malformed_is_none(head: bytes, words: str) -> None:
    with pytest.raises(WireError) as caught:
        answer_to(head)
    assert words in reason(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        *(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
            for chunks in (
                b"xyz\r\nok\r\n",
                b"-2\r\nok",
                b"0x2\r\nok\r\n0\r\n\r\n",
                b"2\r\nokay\r\n0\r\n\r\n",
                b"0\r\n",
            )
        ),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 1000,
    ],
)
def test_a_body_that_ends_early_is_never_taken_for_a_whole_one(answer: bytes) -> None:
    with answering([answer]) as server, pool(server) as connections:
        response = connections.ask(GET, SOON)
        with pytest.raises(WireError):
            whole(response)


def test_a_read_brings_all_that_has_come_and_what_came_before_an_end_too_soon(request: pytest.FixtureRequest) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5.0)
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + b"a" * 9000)
        wire = RawResponse(ours, method="GET")
        request.addfinalizer(wire.close)
        wire.begin()
        theirs.sendall(b"b" * 1000)
        assert wire.read1(1 << 20) == b"a" * 9000 + b"b" * 1000
        theirs.sendall(b"c" * 1000)
        assert wire.read1(100) == b"c" * 100
        theirs.sendall(b"d" * 1000)
        theirs.close()
        assert wire.read1(1 << 20) == b"c" * 900 + b"d" * 1000
        assert (wire.read1(1 << 20), wire.length) == (b"", 600000 - 12000)


def test_what_a_redirect_left_unescaped_is_escaped() -> None:
    with answering([OK, OK]) as server, pool(server) as connections:
        for target in ("/a b/\u00fc?x=%20&y=z", "/plain?x=%20"):
            whole(connections.ask(Request("GET", target, {}), SOON))
    assert [one.split(b" HTTP")[0] for one in server.received] == [b"GET /a%20b/%FC?x=%20&y=z", b"GET /plain?x=%20"]


def test_a_closed_pool_asks_nothing() -> None:
    with answering([OK]) as server, pool(server) as connections:
        connections.close()
        with pytest.raises(TransientError, match="stopped"):
            connections.ask(GET, SOON)
        assert server.received == []


def ahead(host: str) -> int:
    """Return how many bytes a sender gets rid of to a reader at ``host`` that reads nothing."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        dialling.dial(host, listener.getsockname()[1], 5.0),
        listener.accept()[0] as sender,
    ):
        sender.settimeout(0.3)
        sent = 0
        with suppress(TimeoutError):
            while sent < 64 << 20:
                sent += sender.send(bytes(64 << 10))
        return sent


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_sender_on_this_machine_gets_no_more_than_a_mebibyte_ahead(host: str) -> None:
    assert ahead(host) <= 1 << 20


@pytest.mark.parametrize(
    ("address", "here"),
    [
        *(("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True)),
        *(("192.0.2.127", False), ("::ffff:192.0.2.1", False), ("::2", False), ("12.7.0.1", False)),
    ],
)
def test_only_loopback_addresses_count_as_this_machine(address: str, here: bool) -> None:
    assert dialling._is_loopback(address) == here


def test_the_next_address_of_a_host_is_tried_where_one_refuses() -> None:
    # ``localhost`` is both ::1 and 127.0.0.1 on most machines; a listener has one of them.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialling.dial("localhost", listener.getsockname()[1], 5.0).close()


def test_where_no_address_answers_the_last_error_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        dialling.dial("127.0.0.1", port, 5.0)
