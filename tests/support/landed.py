"""What an image is where it was written to: its manifest, config and layers, read with no code of the product."""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from support.engines import Docker, Podman, tool
from support.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

_ACCEPT = ", ".join((DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX))
Read = Callable[[str], bytes]
"""Gives a blob by its digest."""


class Landed(NamedTuple):
    """One image: the bytes of its manifest (empty where none is kept), the digest of its config, its layers."""

    manifest: bytes
    config: str
    layers: tuple[str, ...]
    """As they are stored."""
    diff_ids: tuple[str, ...]

    @property
    def media_type(self) -> str:
        found: str = json.loads(self.manifest).get("mediaType", "") if self.manifest else ""
        return found


def in_directory(path: Path) -> Landed:
    def read(digest: str) -> bytes:
        return (path / digest.partition(":")[2]).read_bytes()

    return _by_manifest((path / "manifest.json").read_bytes(), read)


def in_layout(path: Path) -> Landed:
    """Return the only image of an OCI layout."""
    return _of_layout(lambda name: (path / name).read_bytes())


def in_oci_archive(path: Path) -> Landed:
    with tarfile.open(path) as archive:
        return _of_layout(lambda name: _member(archive, name))


def in_docker_archive(path: Path) -> Landed:
    with tarfile.open(path) as archive:
        (entry,) = json.loads(_member(archive, "manifest.json"))
        layers = tuple(_digest(_member(archive, name)) for name in entry["Layers"])
        return Landed(b"", _digest(_member(archive, entry["Config"])), layers, layers)


def in_registry(address: str, repository: str, tag: str) -> Landed:
    connection = HTTPConnection(address, timeout=30)

    def get(path: str) -> bytes:
        connection.request("GET", f"/v2/{repository}/{path}", headers={"Accept": _ACCEPT})
        answer = connection.getresponse()
        raw = answer.read()
        assert answer.status == 200, (path, answer.status, raw)
        return raw

    try:
        return _by_manifest(get(f"manifests/{tag}"), lambda digest: get(f"blobs/{digest}"))
    finally:
        connection.close()


def in_docker(docker: Docker, name: str) -> Landed:
    (shown,) = json.loads(docker("image", "inspect", name))
    layers = tuple(shown["RootFS"]["Layers"])
    return Landed(b"", shown["Id"], layers, layers)


def in_podman(podman: Podman, name: str) -> Landed:
    (shown,) = json.loads(podman("image", "inspect", name))
    raw = tool("skopeo", "inspect", "--raw", f"containers-storage:{podman.store}{name}")
    named = tuple(layer["digest"] for layer in json.loads(raw)["layers"])
    assert json.loads(raw)["config"]["digest"] == f"sha256:{shown['Id']}"
    return Landed(raw, f"sha256:{shown['Id']}", named, tuple(shown["RootFS"]["Layers"]))


def _of_layout(read: Read) -> Landed:
    (entry,) = json.loads(read("index.json"))["manifests"]

    def blob(digest: str) -> bytes:
        return read(f"blobs/{digest.replace(':', '/')}")

    return _by_manifest(blob(entry["digest"]), blob)


def _by_manifest(raw: bytes, read: Read) -> Landed:
    document = json.loads(raw)
    config = read(document["config"]["digest"])
    layers = [read(layer["digest"]) for layer in document["layers"]]
    named = tuple(layer["digest"] for layer in document["layers"])
    assert (document["config"]["digest"], named) == (_digest(config), tuple(_digest(layer) for layer in layers))
    diff_ids = tuple(_digest(gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer) for layer in layers)
    assert list(diff_ids) == json.loads(config)["rootfs"]["diff_ids"]
    return Landed(raw, _digest(config), named, diff_ids)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    found = archive.extractfile(name)
    assert found is not None, name
    return found.read()


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
