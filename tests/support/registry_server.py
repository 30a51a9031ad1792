"""A real docker-registry on a free loopback port, and images to put into it."""

import base64
import contextlib
import gzip
import hashlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.manifest.media_types import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST

_STARTUP = 10.0


_LINE = re.compile(r'"([A-Z]+) (\S+) HTTP/1\.1" (\d+) (\d+)')


class Asked(NamedTuple):
    """A request as the registry logged it; ``sent`` are the bytes of the answer's body."""

    method: str
    target: str
    status: int
    sent: int

    @property
    def uploads(self) -> bool:
        """Bytes of a blob came with it."""
        return self.method in ("PUT", "PATCH") and "/blobs/uploads/" in self.target

    @property
    def mounts(self) -> bool:
        """A blob of another repository was taken by it."""
        return self.method == "POST" and "mount=" in self.target and self.status == 201


@dataclass(frozen=True)
class RegistryServer:
    """A running registry; ``log`` holds one line per request where it was asked for."""

    port: int
    log: Path
    tls: bool
    user: str = ""

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    def requests(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if "HTTP/1.1" in line]

    def asked(self) -> "list[Asked]":
        """Return what the access log has of each request."""
        found = [_LINE.search(line) for line in self.requests()]
        return [Asked(one[1], one[2], int(one[3]), int(one[4])) for one in found if one]


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    user: str = "",
    password: str = "",
    certificate: tuple[Path, Path] | None = None,
    access_log: bool = False,
    schema1: bool = False,
    token: dict[str, str] | None = None,
) -> Iterator[RegistryServer]:
    """Run a registry that keeps its data in ``folder``; with ``certificate`` (chain, key) it speaks TLS.

    With ``schema1`` it takes Docker's v2s1 manifests. ``token`` are the settings of its token server: realm,
    service, issuer, rootcertbundle.
    """
    program = shutil.which("docker-registry")
    if program is None:
        raise RuntimeError("docker-registry is not installed; these tests need it (apt install docker-registry)")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "config.yml"
    settings = _config(folder, port, user, password, certificate, access_log)
    settings["compatibility"] = {"schema1": {"enabled": schema1}}
    if token:
        settings["auth"] = {"token": token}
    config.write_text(json.dumps(settings))
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen([program, "serve", str(config)], stdout=stream, stderr=stream)
    try:
        _await(process, port, log)
        yield RegistryServer(port, log, certificate is not None, user)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _config(
    folder: Path, port: int, user: str, password: str, certificate: tuple[Path, Path] | None, access_log: bool
) -> dict[str, object]:
    listener: dict[str, object] = {"addr": f"127.0.0.1:{port}"}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": not access_log}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "http": listener,
        # Else it refuses manifests whose layers are elsewhere.
        "validation": {"manifests": {"urls": {"allow": ["^https?://"]}}},
    }
    if certificate:
        listener["tls"] = {"certificate": str(certificate[0]), "key": str(certificate[1])}
    if user:
        secrets = folder / "htpasswd"
        made = subprocess.run(["htpasswd", "-Bbn", "-C", "4", user, password], capture_output=True, check=True)
        secrets.write_bytes(made.stdout)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(secrets)}}
    return config


def _await(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _STARTUP
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"docker-registry did not start: {log.read_text()[-500:]}")


def made_image(layers: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the v2s2 manifest and the blobs (config first) of an image of these uncompressed layers."""
    packed = [gzip.compress(layer, mtime=0, compresslevel=1) for layer in layers]
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    ).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": str(Digest.of(config))},
        "layers": [
            {"mediaType": DOCKER_LAYER_GZIP, "size": len(blob), "digest": str(Digest.of(blob))} for blob in packed
        ],
    }
    return json.dumps(manifest).encode(), [config, *packed]


def push_image(server: RegistryServer, repository: str, tag: str, layers: list[bytes], password: str = "") -> Digest:
    """Put an image of these uncompressed layers into the registry; return its manifest's digest."""
    raw, blobs = made_image(layers)
    for blob in blobs:
        push_blob(server, repository, blob, password)
    put_manifest(server, repository, tag, raw, DOCKER_MANIFEST, password)
    return Digest.of(raw)


def push_blob(server: RegistryServer, repository: str, blob: bytes, password: str = "") -> Digest:
    digest = Digest.of(blob)
    begun = _request(server, "POST", f"/v2/{repository}/blobs/uploads/", b"", "", password)
    location = begun["Location"]
    target = location[location.index("/v2/") :]
    joint = "&" if "?" in target else "?"
    _request(server, "PUT", f"{target}{joint}digest={digest}", blob, "application/octet-stream", password)
    return digest


def put_manifest(
    server: RegistryServer, repository: str, reference: str, raw: bytes, media_type: str, password: str = ""
) -> None:
    _request(server, "PUT", f"/v2/{repository}/manifests/{reference}", raw, media_type, password)


def _request(
    server: RegistryServer, method: str, target: str, body: bytes, media_type: str, password: str
) -> http.client.HTTPMessage:
    headers = {"Content-Type": media_type} if media_type else {}
    if server.user:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{server.user}:{password}".encode()).decode()
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        said = answer.read()
    assert answer.status in (201, 202), (method, target, answer.status, said[:500])
    return answer.headers
