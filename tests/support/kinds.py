"""An image of every kind that a conversion may meet, by name. Nothing here is the product's code but `Digest`."""

import json
from pathlib import Path
from typing import Any

from support.images import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageBytes,
    make_image,
    make_index,
    make_layer,
    make_multi,
)
from transship.pipeline.digest import Digest

_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"


def remade(image: ImageBytes, document: dict[str, Any], *blobs: bytes) -> ImageBytes:
    """Return ``image`` with another manifest, and these blobs besides."""
    raw = json.dumps(document).encode()
    more = {Digest.of(blob): blob for blob in blobs}
    return ImageBytes(raw, document["mediaType"], image.blobs | more, image.platform, image.layers, image.children)


def pointer(media_type: str, raw: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw)}


def with_config(image: ImageBytes, **fields: object) -> ImageBytes:
    """Return ``image`` with these fields in its config."""
    config = json.dumps(json.loads(image.config) | fields).encode()
    document = dict(image.document)
    document["config"] = pointer(document["config"]["mediaType"], config)  # type: ignore[index]
    return remade(image, document, config)


def windows(docker: bool) -> ImageBytes:
    """Return a list of two builds of one platform, told apart by os.version and os.features."""
    images = [
        with_config(
            make_image(f"windows {build}", docker=docker, platform="windows/amd64"),
            **{"os.version": f"10.0.{build}", "os.features": ["win32k"]},
        )
        for build in (17763, 20348)
    ]
    index = make_index(images, docker)
    document: dict[str, Any] = dict(index.document)
    for entry, build in zip(document["manifests"], (17763, 20348), strict=True):
        entry["platform"] |= {"os.version": f"10.0.{build}", "os.features": ["win32k"], "features": ["sse4"]}
    return remade(index, document)


def annotated() -> ImageBytes:
    """Return an OCI index with all that OCI 1.1 lets stand in it and in its image."""
    subject = pointer(OCI_MANIFEST, make_image("subject", docker=False).manifest_raw)
    image = make_image("annotated", docker=False, annotations={"on": "manifest"})
    document: dict[str, Any] = dict(image.document) | {"subject": subject, "artifactType": "application/x-app"}
    document["layers"][0]["annotations"] = {"on": "layer"}
    index = make_index([remade(image, document)], docker=False)
    outer: dict[str, Any] = dict(index.document) | {"annotations": {"on": "index"}}
    outer["manifests"][0]["annotations"] = {"on": "entry"}
    return remade(index, outer)


def nested() -> ImageBytes:
    """Return an OCI index of an image and of another index."""
    inner = make_index([make_image("inner", docker=False)], docker=False)
    outer = make_index([make_image("outer", docker=False)], docker=False)
    document: dict[str, Any] = dict(outer.document)
    document["manifests"].append(pointer(OCI_INDEX, inner.manifest_raw))
    made = remade(outer, document)
    return ImageBytes(made.manifest_raw, OCI_INDEX, made.blobs | inner.all_blobs, children=(*outer.children, inner))


def twice(docker: bool) -> ImageBytes:
    """Return an image of which two layers are the same."""
    layer = make_layer("twice")
    return make_image("twice", 1, docker, base_layers=(layer, layer))


def history_too_short() -> ImageBytes:
    """Return an image with fewer steps in its history than layers; Docker takes it."""
    return with_config(make_image("history", healthcheck=True), history=[{"created_by": "all of it"}])


KINDS: dict[str, ImageBytes] = {
    "docker": make_image("docker", healthcheck=True),
    "docker-plain": make_image("docker-plain", compressed=False),
    "docker-list": make_multi("docker-list"),
    "docker-windows": windows(True),
    "docker-scratch": make_image("docker-scratch", 0),
    "docker-127": make_image("docker-127", 127, layer_size=64),
    "docker-twice": twice(True),
    "docker-history": history_too_short(),
    "oci": make_image("oci", docker=False, healthcheck=True),
    "oci-plain": make_image("oci-plain", docker=False, compressed=False),
    "oci-index": make_multi("oci-index", docker=False),
    "oci-windows": windows(False),
    "oci-scratch": make_image("oci-scratch", 0, docker=False),
    "oci-127": make_image("oci-127", 127, docker=False, layer_size=64),
    "oci-twice": twice(False),
    "oci-annotated": annotated(),
}


def artifact(config_type: str, layer_type: str, config: bytes = b"{}", media_type: str = OCI_MANIFEST) -> ImageBytes:
    """Return what is stored as an image and is none."""
    content = f"content of {layer_type}".encode()
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": pointer(config_type, config),
        "layers": [pointer(layer_type, content)],
        "annotations": {"org.opencontainers.image.title": "artifact"},
    }
    raw = json.dumps(document).encode()
    return ImageBytes(raw, media_type, {Digest.of(config): config, Digest.of(content): content})


_SIGNED_CONFIG = json.dumps(
    {"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}
).encode()
ARTIFACTS: dict[str, ImageBytes] = {
    "chart": artifact(
        "application/vnd.cncf.helm.config.v1+json", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    ),
    "signature": artifact(_OCI_CONFIG, "application/vnd.dev.cosign.simplesigning.v1+json", _SIGNED_CONFIG),
    "attestation": artifact(_OCI_CONFIG, "application/vnd.in-toto+json", _SIGNED_CONFIG),
    "sbom": artifact("application/vnd.oci.empty.v1+json", "application/spdx+json"),
    "plugin": artifact(
        "application/vnd.docker.plugin.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        media_type=DOCKER_MANIFEST,
    ),
}


def with_unknown_layer(docker: bool = False, beside: int = 0) -> ImageBytes:
    """Return an image that runs on linux/amd64, its first layer of a type that nobody knows, ``beside`` others."""
    image = make_image("unknown layer", 1 + beside, docker=docker)
    document: dict[str, Any] = dict(image.document)
    document["layers"][0]["mediaType"] = "application/vnd.example.layer.v9+rar"
    return remade(image, document)


def write_folder(path: Path, image: ImageBytes) -> None:
    """Write a ``dir:`` of it."""
    path.mkdir()
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    (path / "manifest.json").write_bytes(image.manifest_raw)
    for digest, raw in image.blobs.items():
        listed = b'"schemaVersion"' in raw[:40]
        (path / f"{digest.hex}{'.manifest.json' if listed else ''}").write_bytes(raw)
