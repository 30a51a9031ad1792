"""Test images made in memory: the same seed gives the same bytes; nothing here is the product's code but `Digest`.

Layers of a base are shared: `make_image(1, base_layers=base)` and `make_image(2, base_layers=base)`
name the same first layers.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from transship.pipeline.digest import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
_CONFIGS = {True: "application/vnd.docker.container.image.v1+json", False: "application/vnd.oci.image.config.v1+json"}
_LAYERS = {
    (True, True): "application/vnd.docker.image.rootfs.diff.tar.gzip",
    (True, False): "application/vnd.docker.image.rootfs.diff.tar",
    (False, True): "application/vnd.oci.image.layer.v1.tar+gzip",
    (False, False): "application/vnd.oci.image.layer.v1.tar",
}


@dataclass(frozen=True)
class Layer:
    """A layer: its tar, and the gzip of it."""

    tar: bytes = field(repr=False)
    packed: bytes = field(repr=False)

    @property
    def diff_id(self) -> Digest:
        return Digest.of(self.tar)

    @property
    def digest(self) -> Digest:
        return Digest.of(self.packed)


@dataclass(frozen=True)
class ImageBytes:
    """An image or index: its manifest, and every blob and manifest below it by digest."""

    manifest_raw: bytes = field(repr=False)
    media_type: str
    blobs: dict[Digest, bytes] = field(repr=False)
    platform: str = "linux/amd64"
    layers: tuple[Layer, ...] = field(default=(), repr=False)
    children: "tuple[ImageBytes, ...]" = field(default=(), repr=False)

    @property
    def digest(self) -> Digest:
        return Digest.of(self.manifest_raw)

    @property
    def all_blobs(self) -> dict[Digest, bytes]:
        """Every blob and manifest, the root's too."""
        return {**self.blobs, self.digest: self.manifest_raw}

    @property
    def document(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.manifest_raw)
        return found

    @property
    def config(self) -> bytes:
        return self.blobs[Digest.parse(json.loads(self.manifest_raw)["config"]["digest"])]


def make_layer(seed: int | str, size: int = 4096) -> Layer:
    """Return a layer of a folder, a symlink, a text file and a file of ``size`` bytes that gzip halves."""
    source = random.Random(f"layer {seed}")
    content = source.randbytes((size + 1) // 2)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folder = tarfile.TarInfo(f"opt/{seed}")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
        _add(archive, f"opt/{seed}/data", content + bytes(size - len(content)))
        _add(archive, f"opt/{seed}/name", f"{seed}\n".encode())
        link = tarfile.TarInfo(f"opt/{seed}/link")
        link.type, link.linkname = tarfile.SYMTYPE, "name"
        archive.addfile(link)
    tar = buffer.getvalue()
    return Layer(tar, gzip.compress(tar, 6, mtime=0))


def make_base(seed: int | str, layers: int = 2, layer_size: int = 4096) -> tuple[Layer, ...]:
    """Return the layers of a base image, to hand to `make_image` as ``base_layers``."""
    return tuple(make_layer(f"base-{seed}-{n}", layer_size) for n in range(layers))


def make_image(
    seed: int | str,
    layers: int = 3,
    docker: bool = True,
    platform: str = "linux/amd64",
    healthcheck: bool = False,
    layer_size: int = 4096,
    base_layers: Iterable[Layer] = (),
    compressed: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> ImageBytes:
    """Return an image of ``base_layers`` and ``layers`` own ones; Docker v2s2, or OCI where ``docker`` is false.

    The config has a history with one empty layer; with ``healthcheck`` also fields that only Docker knows.
    """
    stack = (*base_layers, *(make_layer(f"{seed}-{n}", layer_size) for n in range(layers)))
    config = _config(seed, stack, platform, healthcheck)
    blobs = {Digest.of(config): config}
    described = []
    for layer in stack:
        blob = layer.packed if compressed else layer.tar
        blobs[Digest.of(blob)] = blob
        described.append(_descriptor(_LAYERS[docker, compressed], blob))
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _descriptor(_CONFIGS[docker], config),
        "layers": described,
    }
    if annotations:
        document["annotations"] = dict(annotations)
    raw = json.dumps(document, indent=3).encode()
    return ImageBytes(raw, media_type, blobs, platform, stack)


def make_index(images: Iterable[ImageBytes], docker: bool = True) -> ImageBytes:
    """Return a manifest list (or OCI index) of ``images``, each under its platform."""
    children = tuple(images)
    entries: list[dict[str, object]] = []
    blobs: dict[Digest, bytes] = {}
    for child in children:
        system, architecture, *variant = child.platform.split("/")
        where = {"architecture": architecture, "os": system, **({"variant": variant[0]} if variant else {})}
        entries.append({**_descriptor(child.media_type, child.manifest_raw), "platform": where})
        blobs |= child.all_blobs
    media_type = DOCKER_LIST if docker else OCI_INDEX
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    return ImageBytes(json.dumps(document, indent=3).encode(), media_type, blobs, children=children)


def make_multi(seed: int | str, docker: bool = True, **options: int) -> ImageBytes:
    """Return an index of three platforms: amd64, arm64/v8, arm/v7."""
    platforms = ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")
    made = [
        make_image(f"{seed}-{n}", docker=docker, platform=platform, **options)  # type: ignore[arg-type]
        for n, platform in enumerate(platforms)
    ]
    return make_index(made, docker)


def write_layout(path: Path, images: Mapping[str, ImageBytes]) -> None:
    """Write an OCI layout of ``images`` by name ("" for none) at ``path``, with no code of the product."""
    entries = []
    for name, image in images.items():
        for digest, raw in image.all_blobs.items():
            blob = path / "blobs" / digest.algorithm / digest.hex
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(raw)
        entry: dict[str, object] = _descriptor(image.media_type, image.manifest_raw)
        if name:
            entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        entries.append(entry)
    path.mkdir(parents=True, exist_ok=True)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


def _config(seed: int | str, stack: tuple[Layer, ...], platform: str, healthcheck: bool) -> bytes:
    system, architecture, *variant = platform.split("/")
    run: dict[str, object] = {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/sh"], "Labels": {"seed": str(seed)}}
    document: dict[str, object] = {
        "architecture": architecture,
        "os": system,
        "created": "2024-01-02T03:04:05Z",
        "config": run,
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in stack]},
        "history": [
            *({"created": "2024-01-02T03:04:05Z", "created_by": f"COPY {n}"} for n in range(len(stack))),
            {"created": "2024-01-02T03:04:05Z", "created_by": "ENV PATH", "empty_layer": True},
        ],
    }
    if variant:
        document["variant"] = variant[0]
    if healthcheck:
        run["Healthcheck"] = {"Test": ["CMD", "true"], "Interval": 30000000000}
        run["OnBuild"] = ["RUN true"]
        document["docker_version"] = "20.10.0"
        document["container"] = hashlib.sha256(str(seed).encode()).hexdigest()
    return json.dumps(document).encode()


def _descriptor(media_type: str, raw: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw)}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), 0o644
    archive.addfile(member, io.BytesIO(content))
