"""Make six sample images out of Python's own library, as a folder that `transship serve` serves as a registry.

They are what a registry of Docker images holds: shared base layers, two applications in two
versions each, one image for three platforms, configs with fields that only Docker knows.

    python demo/make_images.py FOLDER
"""

import gzip
import io
import sys
import sysconfig
import tarfile
from collections.abc import Iterable
from pathlib import Path

from transship.pipeline.digest import Digest
from transship.pipeline.manifest.descriptor import REF_NAME, Descriptor
from transship.pipeline.manifest.document import Object, dump
from transship.pipeline.manifest.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    MediaType,
)
from transship.pipeline.manifest.platform import Platform

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
CREATED = "2024-01-02T03:04:05Z"
PLATFORMS = ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")


class Layout:
    """A folder of blobs and an index; the manifests in it stay Docker's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: list[Object] = []
        (path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)

    def put(self, media_type: MediaType, content: bytes) -> Descriptor:
        """Write a blob; return what points at it."""
        digest = Digest.of(content)
        (self.path / "blobs" / digest.algorithm / digest.hex).write_bytes(content)
        return Descriptor(media_type, digest, len(content))

    def name(self, name: str, root: Descriptor) -> None:
        """Make ``root`` an image of the layout."""
        self.entries.append({**root.to_document(), "annotations": {REF_NAME: name}})

    def close(self) -> None:
        """Write the index, last."""
        (self.path / "oci-layout").write_bytes(dump({"imageLayoutVersion": "1.0.0"}))
        (self.path / "index.json").write_bytes(dump({"schemaVersion": 2, "manifests": [*self.entries]}))


def tar_of(files: dict[str, bytes]) -> bytes:
    """Return a tar of ``files``, the same bytes for the same files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def library(*packages: str) -> dict[str, bytes]:
    """Return the Python files of packages of the standard library."""
    return {
        f"usr/lib/python/{path.relative_to(LIBRARY)}": path.read_bytes()
        for package in packages
        for path in (LIBRARY / package).rglob("*.py")
    }


def image(layout: Layout, name: str, layers: Iterable[bytes], platform: str = "linux/amd64") -> Descriptor:
    """Write an image of ``layers`` (tars); return the descriptor of its Docker v2s2 manifest."""
    tars = list(layers)
    where = Platform.parse(platform)
    config: Object = {
        "architecture": where.architecture,
        "os": where.os,
        **({"variant": where.variant} if where.variant else {}),
        "created": CREATED,
        "docker_version": "20.10.0",
        "config": {
            "Cmd": ["/bin/sh"],
            "Env": ["PATH=/usr/bin:/bin"],
            "Labels": {"org.opencontainers.image.title": name},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000},
            "OnBuild": ["RUN true"],
        },
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(tar)) for tar in tars]},
        "history": [{"created": CREATED, "created_by": f"COPY layer {n}"} for n in range(len(tars))],
    }
    packed = [layout.put(DOCKER_LAYER_GZIP, gzip.compress(tar, 6, mtime=0)) for tar in tars]
    manifest: Object = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": layout.put(DOCKER_CONFIG, dump(config)).to_document(),
        "layers": [layer.to_document() for layer in packed],
    }
    return layout.put(DOCKER_MANIFEST, dump(manifest))


def manifest_list(layout: Layout, images: dict[str, Descriptor]) -> Descriptor:
    """Write a Docker manifest list of images by platform."""
    entries = [
        {**found.to_document(), "platform": Platform.parse(platform).document()} for platform, found in images.items()
    ]
    document: Object = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [*entries]}
    return layout.put(DOCKER_LIST, dump(document))


def make(path: Path) -> None:
    """Write the six images into a new layout at ``path``."""
    layout = Layout(path)
    base = [tar_of(library("encodings", "collections")), tar_of(library("email", "json", "logging"))]
    layout.name("demo/base:v1", image(layout, "base", base))
    for app, package in (("web", "http"), ("jobs", "asyncio")):
        for version in ("v1", "v2"):
            own = tar_of({f"srv/{app}/VERSION": f"{version}\n".encode(), **library(package)})
            layout.name(f"demo/{app}:{version}", image(layout, app, [*base, own]))
    tool = {
        platform: image(layout, "tool", [base[0], tar_of({"srv/tool/PLATFORM": platform.encode()})], platform)
        for platform in PLATFORMS
    }
    layout.name("demo/tool:v1", manifest_list(layout, tool))
    layout.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
