"""Artifacts that hang on images, made with no code of the product but `Digest`: referrers, and what cosign leaves."""

import json
from collections.abc import Mapping

from support.images import OCI_INDEX, OCI_MANIFEST, ImageBytes
from transship.pipeline.digest import Digest

EMPTY = b"{}"
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
SBOM = "application/spdx+json"


def make_referrer(
    subject: ImageBytes | None, kind: str, content: bytes, annotations: Mapping[str, str] | None = None
) -> ImageBytes:
    """Return an artifact of one blob, of artifact type ``kind``, that refers to ``subject`` if there is one."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": descriptor("application/vnd.oci.empty.v1+json", EMPTY),
        "layers": [descriptor(kind, content)],
    }
    if subject is not None:
        document["subject"] = descriptor(subject.media_type, subject.manifest_raw)
    if annotations:
        document["annotations"] = dict(annotations)
    raw = json.dumps(document, indent=1).encode()
    return ImageBytes(raw, OCI_MANIFEST, {Digest.of(EMPTY): EMPTY, Digest.of(content): content})


def make_cosign(content: bytes) -> ImageBytes:
    """Return what stands under a tag of cosign's: no subject, and a config of an image's type that is none."""
    config = json.dumps({"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor(SIGNATURE, content)],
    }
    raw = json.dumps(document).encode()
    return ImageBytes(raw, OCI_MANIFEST, {Digest.of(config): config, Digest.of(content): content})


def make_referring_index(subject: ImageBytes, children: list[ImageBytes]) -> ImageBytes:
    """Return an index of artifacts that itself refers to ``subject``."""
    blobs: dict[Digest, bytes] = {}
    for child in children:
        blobs |= child.all_blobs
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor(child.media_type, child.manifest_raw) for child in children],
        "subject": descriptor(subject.media_type, subject.manifest_raw),
    }
    return ImageBytes(json.dumps(document).encode(), OCI_INDEX, blobs, children=tuple(children))


def descriptor(media_type: str, raw: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw)}


def dashed(image: ImageBytes, ending: str = "") -> str:
    """Return the tag of the schema for what hangs on ``image``, or cosign's with ``ending``."""
    return f"sha256-{image.digest.hex}{ending}"


def list_of(*manifests: ImageBytes) -> ImageBytes:
    """Return the index that lists ``manifests`` under the tag of the schema; its children are uploaded with it."""
    blobs: dict[Digest, bytes] = {}
    for manifest in manifests:
        blobs |= manifest.all_blobs
    entries = [
        {
            **descriptor(manifest.media_type, manifest.manifest_raw),
            **({"artifactType": manifest.document["artifactType"]} if "artifactType" in manifest.document else {}),
        }
        for manifest in manifests
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return ImageBytes(json.dumps(document).encode(), OCI_INDEX, blobs, children=tuple(manifests))
