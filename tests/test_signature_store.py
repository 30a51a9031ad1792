"""The places beside a registry that hold signatures: stores by file and HTTP, the API that some registries have."""

import base64
import http.server
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import pytest

from support.images import make_image
from support.listening import listening
from support.serving import write_directory
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, TransportError, UsageError
from transship.pipeline.lookaside import Signatures
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.foreign import ForeignUrls
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.registry.signature_store import Lookaside, read_api, write_api
from transship.pipeline.registry.tls import Certificates
from transship.pipeline.signature import MAX_SIGNATURES, SigstoreSignature, SimpleSignature
from transship.pipeline.transports.directory import DirectorySource
from transship.pipeline.transports.docker_signatures import read_signatures, write_signatures

MANIFEST = Digest.of(b"manifest")
ONE, TWO = SimpleSignature(b"\x88one"), SimpleSignature(b"\x88two")


class Server(http.server.BaseHTTPRequestHandler):
    """A registry with the signature API, and a store that holds one signature without end, an error and a page."""

    api: ClassVar[list[dict[str, object]]] = []

    def do_GET(self) -> None:
        if self.path == "/v2/":
            self._say(200, b"{}", {"X-Registry-Supports-Signatures": "1"})
        elif self.path.startswith("/extensions/v2/team/app/signatures/"):
            self._say(200, json.dumps({"signatures": self.api}).encode())
        elif self.path.startswith("/endless"):
            self._say(200, b"\x88again")
        elif self.path.startswith("/large"):
            self._say(200, b"\x88" + bytes(5 << 20))
        elif self.path.startswith("/much"):
            self._say(200, b"\x88" + bytes((4 << 20) - 1))
        elif self.path.startswith("/page"):
            self._say(200, b"<html>", {"Content-Type": "text/html"})
        elif self.path.startswith("/forbidden"):
            self._say(403, b"")
        else:
            self._say(404, b"")

    def do_PUT(self) -> None:
        self.api.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._say(201, b"")

    def _say(self, status: int, body: bytes, headers: "dict[str, str] | None" = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Server.api = []
    with listening(server := http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)):
        yield server.server_port


@pytest.fixture
def client(port: int) -> Iterator[RegistryClient]:
    made = RegistryClient(f"127.0.0.1:{port}", HostSettings(tls_verify=False), Certificates(), lambda _: None)
    with closing(made):
        made.accepts_login()
        yield made


def store(read: str, write: str = "") -> Lookaside:
    return Lookaside(Signatures(read, write or read, False), ForeignUrls({}).document)


def test_a_registry_with_the_api_is_asked_there_and_the_store_not(client: RegistryClient, tmp_path: Path) -> None:
    app = DockerReference.parse(f"{client.registry}/team/app:v1")
    beside = store(f"file://{tmp_path}/team/app")
    assert client.keeps_signatures
    for _ in range(2):
        write_signatures(client, app, MANIFEST, beside, [ONE, TWO])
        assert read_signatures(client, app, MANIFEST, beside) == [ONE, TWO]
    assert len(Server.api) == 2
    assert {str(one["name"]).partition("@")[0] for one in Server.api} == {str(MANIFEST)}
    assert (Server.api[0]["schemaVersion"], Server.api[0]["type"]) == (2, "atomic")
    assert os.listdir(tmp_path) == []
    Server.api.append({"schemaVersion": 3, "type": "atomic", "content": ""})
    assert read_api(client, "team/app", MANIFEST) == [ONE, TWO]
    with pytest.raises(TransportError, match="takes OpenPGP signatures alone"):
        write_api(client, "team/app", MANIFEST, [SigstoreSignature("x", b"", {})])


@pytest.mark.parametrize("bad", [{"content": 1}, {"schemaVersion": 2, "type": "atomic", "content": "!"}, "x"])
def test_an_answer_of_the_api_that_is_malformed_is_refused(client: RegistryClient, bad: "dict[str, object]") -> None:
    Server.api.append(bad)
    with pytest.raises(ContentError):
        read_api(client, "team/app", MANIFEST)


def test_row_47_signatures_without_end(client: RegistryClient, port: int, tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="over 1024 signatures"):
        store(f"http://127.0.0.1:{port}/endless").read(MANIFEST)
    with pytest.raises(ContentError, match="more than the limit"):
        store(f"http://127.0.0.1:{port}/large").read(MANIFEST)
    content = base64.b64encode(b"\x88").decode()
    Server.api += [{"schemaVersion": 2, "type": "atomic", "content": content}] * (MAX_SIGNATURES + 1)
    with pytest.raises(ContentError, match="over 1024"):
        read_api(client, "team/app", MANIFEST)
    write_directory(tmp_path / "image", make_image("many signatures", layers=1))
    for number in range(1, MAX_SIGNATURES + 2):
        (tmp_path / f"image/signature-{number}").write_bytes(b"\x88")
    with pytest.raises(ContentError, match="over 1024 signatures"):
        DirectorySource(tmp_path / "image").signatures(MANIFEST, instance=False)


def test_signatures_of_one_image_are_bounded_together(port: int, tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="over 64 MiB of signatures"):
        store(f"http://127.0.0.1:{port}/much").read(MANIFEST)
    for number in range(1, 18):
        with (tmp_path / f"signature-{number}").open("wb") as stream:
            stream.write(b"\x88")
            stream.truncate(4 << 20)
    with pytest.raises(ContentError, match="over 64 MiB of signatures"):
        DirectorySource(tmp_path).signatures(MANIFEST, instance=False)


def test_a_store_that_fails_is_not_one_without_signatures(port: int, tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="403"):
        store(f"http://127.0.0.1:{port}/forbidden").read(MANIFEST)
    with pytest.raises(ContentError, match="begins with byte"):
        store(f"http://127.0.0.1:{port}/page").read(MANIFEST)
    assert store(f"http://127.0.0.1:{port}/none").read(MANIFEST) == []
    (tmp_path / f"app@{MANIFEST.algorithm}={MANIFEST.hex}").mkdir()
    (tmp_path / f"app@{MANIFEST.algorithm}={MANIFEST.hex}/signature-1").mkdir()
    with pytest.raises(TransportError):
        store(f"file://{tmp_path}/app").read(MANIFEST)


def test_a_store_of_files_is_written_read_and_emptied(tmp_path: Path) -> None:
    app = store(f"file://{tmp_path}/team/app")
    assert app.read(MANIFEST) == []
    app.write(MANIFEST, [ONE, TWO])
    assert app.read(MANIFEST) == [ONE, TWO]
    folder = tmp_path / f"team/app@{MANIFEST.algorithm}={MANIFEST.hex}"
    assert sorted(os.listdir(folder)) == ["signature-1", "signature-2"]
    app.write(MANIFEST, [TWO])
    assert app.read(MANIFEST) == [TWO]
    app.delete(MANIFEST)
    app.delete(MANIFEST)
    assert not folder.exists()


def test_a_store_that_is_none_is_an_error() -> None:
    with pytest.raises(UsageError, match="lookaside-staging"):
        store("http://127.0.0.1/a").write(MANIFEST, [ONE])
    with pytest.raises(UsageError, match="is no place for them"):
        store("file:relative").read(MANIFEST)
