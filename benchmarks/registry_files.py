"""Images into a registry's own folder, in the layout of its file system storage driver.

Pushed over HTTP, ten thousand images take most of an hour on a slow disk: the registry flushes each of their
40,000 blobs to it by itself.
"""

from pathlib import Path
from typing import Final

from support.corpus import Sample, sha256

_ROOT: Final = "docker/registry/v2"


def place(data: Path, image: Sample) -> None:
    """Write a single-platform ``image`` below a registry's root directory; the registry may be running."""
    root = data / _ROOT
    repository = root / "repositories" / image.repository
    for raw in (*image.blobs, image.manifest):
        _write(root / "blobs" / _split(sha256(raw)) / "data", raw)
    for raw in image.blobs:
        _link(repository / "_layers", sha256(raw))
    manifest = sha256(image.manifest)
    tag = repository / "_manifests" / "tags" / image.tag
    _link(repository / "_manifests" / "revisions", manifest)
    _link(tag / "index", manifest)
    _write(tag / "current" / "link", manifest.encode())


def _link(folder: Path, digest: str) -> None:
    _write(folder / digest.replace(":", "/") / "link", digest.encode())


def _split(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}/{value[:2]}/{value}"


def _write(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
