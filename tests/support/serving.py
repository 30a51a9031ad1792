"""A server of the product on a free port, a client, and writers of formats with no code of the product."""

import http.client
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from support.images import ImageBytes
from support.listening import listening
from transship.pipeline.serve.formats import open_contents
from transship.pipeline.serve.server import AccessLog, make_server


@contextmanager
def served(*paths: Path, log: io.StringIO | None = None) -> Iterator[int]:
    with closing(open_contents(paths)) as contents:
        server = make_server(contents, access_log=AccessLog(log) if log else None)
        with listening(server):
            yield server.server_port


class Reply:
    def __init__(self, port: int, target: str, method: str = "GET", **headers: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        got = connection.getresponse()
        self.status, self.headers, self.body = got.status, got.headers, got.read()
        connection.close()

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["errors"][0]["code"])


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w") as out:
        out.add(folder, arcname=".")
    return archive


def write_directory(path: Path, image: ImageBytes) -> None:
    path.mkdir()
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    (path / "manifest.json").write_bytes(image.manifest_raw)
    for digest, raw in image.blobs.items():
        inner = any(child.digest == digest for child in image.children)
        (path / f"{digest.hex}{'.manifest.json' if inner else ''}").write_bytes(raw)


def write_docker_archive(path: Path, image: ImageBytes, tags: list[str]) -> None:
    config = image.config
    with tarfile.open(path, "w") as out:

        def add(name: str, raw: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            out.addfile(member, io.BytesIO(raw))

        names = [f"{n}/layer.tar" for n in range(len(image.layers))]
        for name, layer in zip(names[1:], image.layers[1:], strict=True):
            add(name, layer.tar)
        add("shared.tar", image.layers[0].tar)
        link = tarfile.TarInfo(names[0])
        link.type, link.linkname = tarfile.SYMTYPE, "../shared.tar"
        out.addfile(link)
        add("config.json", config)
        add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": tags, "Layers": names}]).encode())
