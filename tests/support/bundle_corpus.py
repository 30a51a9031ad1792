"""The images of the bundle's acceptance, at the size asked for, and what became of them a week later.

Small by default. `make acceptance` sets the variables to fifty images, ten of them multi-platform, of over 1 GB.
"""

import functools
import json
import os
import random
from dataclasses import replace
from typing import Any

from support.corpus import Packed, Sample, assembled, base_layers, multi_platform, pack, sha256
from support.images import OCI_INDEX, OCI_MANIFEST

COUNT = int(os.environ.get("TRANSSHIP_IMAGES", "6"))
BASE = int(os.environ.get("TRANSSHIP_BASE_MIB", "1")) << 20
OWN = int(os.environ.get("TRANSSHIP_OWN_MIB", "1")) << 20
FULL = "TRANSSHIP_IMAGES" in os.environ
_GROUPS = 4
_OCI = {
    "application/vnd.docker.container.image.v1+json": "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
}


@functools.cache
def bundle_corpus() -> list[Sample]:
    """Return images of a base that all share, a layer that a quarter shares, and one of their own.

    Every fifth is multi-platform, every second OCI's, the others Docker's.
    """
    return [_image(n, f"own {n}") for n in range(COUNT)]


@functools.cache
def a_week_later() -> list[Sample]:
    """Return the images after a tenth of them changed: under the same tag another layer of their own."""
    moved = {n + n // 10 % 10 for n in range(0, COUNT, 10)}
    return [_image(n, f"own {n}, later") if n in moved else one for n, one in enumerate(bundle_corpus())]


def name_of(image: Sample) -> str:
    return f"{image.repository}:{image.tag}"


def blobs_of(images: list[Sample]) -> dict[str, int]:
    """Return digest and size of all that the images are made of, as they are at their source."""
    return {sha256(raw): len(raw) for image in images for raw in (*image.blobs, *image.children, image.manifest)}


@functools.cache
def _base() -> list[Packed]:
    return base_layers(BASE)


@functools.cache
def _random(seed: str, size: int) -> Packed:
    # Stored: gzip would not make it smaller, and takes half a minute to find that out of a gigabyte.
    return pack({f"opt/{seed.replace(' ', '-')}": random.Random(seed).randbytes(size)}, level=0)


def _image(n: int, own: str) -> Sample:
    stack = [*_base(), _random(f"group {n % _GROUPS}", OWN // 4), _random(own, OWN)]
    name = f"team/app{n}"
    multi = n % 5 == 4
    image = multi_platform(name, "v1", stack) if multi else assembled(name, "v1", stack, f"hello from app{n}")
    return _as_oci(image) if n % 2 else image


def _as_oci(image: Sample) -> Sample:
    """Return the image in OCI's media types, of the same configs and layers."""
    document: Any = json.loads(image.manifest)
    children = tuple(_manifest_as_oci(json.loads(child)) for child in image.children)
    if not children:
        return replace(image, manifest=_manifest_as_oci(document), media_type=OCI_MANIFEST)
    document["mediaType"] = OCI_INDEX
    for entry, child in zip(document["manifests"], children, strict=True):
        entry |= {"mediaType": OCI_MANIFEST, "digest": sha256(child), "size": len(child)}
    return replace(image, manifest=json.dumps(document).encode(), media_type=OCI_INDEX, children=children)


def _manifest_as_oci(document: Any) -> bytes:
    document["mediaType"] = OCI_MANIFEST
    for part in (document["config"], *document["layers"]):
        part["mediaType"] = _OCI[part["mediaType"]]
    return json.dumps(document).encode()
