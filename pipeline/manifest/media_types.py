"""Media types of manifests, configs and layers, and how Docker's map onto OCI's.

Sources: OCI image-spec media-types.md; Docker "Image Manifest Version 2, Schema 2".
"""

from typing import Final, NewType

from transship.pipeline.errors import ContentError, shown

MediaType = NewType("MediaType", str)

OCI_INDEX: Final = MediaType("application/vnd.oci.image.index.v1+json")
OCI_MANIFEST: Final = MediaType("application/vnd.oci.image.manifest.v1+json")
OCI_CONFIG: Final = MediaType("application/vnd.oci.image.config.v1+json")
OCI_EMPTY: Final = MediaType("application/vnd.oci.empty.v1+json")
OCI_LAYER: Final = MediaType("application/vnd.oci.image.layer.v1.tar")
OCI_LAYER_GZIP: Final = MediaType("application/vnd.oci.image.layer.v1.tar+gzip")
OCI_LAYER_ZSTD: Final = MediaType("application/vnd.oci.image.layer.v1.tar+zstd")
OCI_FOREIGN: Final = MediaType("application/vnd.oci.image.layer.nondistributable.v1.tar")
OCI_FOREIGN_GZIP: Final = MediaType("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
OCI_FOREIGN_ZSTD: Final = MediaType("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd")

DOCKER_LIST: Final = MediaType("application/vnd.docker.distribution.manifest.list.v2+json")
DOCKER_MANIFEST: Final = MediaType("application/vnd.docker.distribution.manifest.v2+json")
DOCKER_SCHEMA1: Final = MediaType("application/vnd.docker.distribution.manifest.v1+json")
DOCKER_SCHEMA1_SIGNED: Final = MediaType("application/vnd.docker.distribution.manifest.v1+prettyjws")
DOCKER_CONFIG: Final = MediaType("application/vnd.docker.container.image.v1+json")
DOCKER_LAYER: Final = MediaType("application/vnd.docker.image.rootfs.diff.tar")
DOCKER_LAYER_GZIP: Final = MediaType("application/vnd.docker.image.rootfs.diff.tar.gzip")
DOCKER_LAYER_ZSTD: Final = MediaType("application/vnd.docker.image.rootfs.diff.tar.zstd")
DOCKER_FOREIGN: Final = MediaType("application/vnd.docker.image.rootfs.foreign.diff.tar")
DOCKER_FOREIGN_GZIP: Final = MediaType("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")

INDEXES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
IMAGES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
SCHEMA1: Final = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
MANIFESTS: Final = INDEXES | IMAGES | SCHEMA1
OCI_MANIFESTS: Final = frozenset({OCI_INDEX, OCI_MANIFEST})
IMAGE_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
OLD_CONFIGS: Final = frozenset({"application/octet-stream", "application/json", "text/html", ""})
"""What configs of Docker images are called in registries that took Docker 1.10's pushes; Docker takes them for images.

Source: docker/docker, distribution/registry.go, "Handle unexpected values".
"""

_PAIRS: Final = (
    (DOCKER_LIST, OCI_INDEX),
    (DOCKER_MANIFEST, OCI_MANIFEST),
    (DOCKER_CONFIG, OCI_CONFIG),
    (DOCKER_LAYER, OCI_LAYER),
    (DOCKER_LAYER_GZIP, OCI_LAYER_GZIP),
    (DOCKER_LAYER_ZSTD, OCI_LAYER_ZSTD),
    (DOCKER_FOREIGN, OCI_FOREIGN),
    (DOCKER_FOREIGN_GZIP, OCI_FOREIGN_GZIP),
)
_TO_OCI: Final = dict(_PAIRS)
_TO_DOCKER: Final = {oci: docker for docker, oci in _PAIRS}
FOREIGN: Final = frozenset({OCI_FOREIGN, OCI_FOREIGN_GZIP, OCI_FOREIGN_ZSTD, DOCKER_FOREIGN, DOCKER_FOREIGN_GZIP})
UNCOMPRESSED: Final = frozenset({OCI_LAYER, DOCKER_LAYER, OCI_FOREIGN, DOCKER_FOREIGN})
GZIP: Final = frozenset({OCI_LAYER_GZIP, DOCKER_LAYER_GZIP, OCI_FOREIGN_GZIP, DOCKER_FOREIGN_GZIP})
ZSTD: Final = frozenset({OCI_LAYER_ZSTD, DOCKER_LAYER_ZSTD, OCI_FOREIGN_ZSTD})
LAYERS: Final = UNCOMPRESSED | GZIP | ZSTD
LAYER_PREFIXES: Final = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.")
"""What the media types of layers begin with, also of those that are not known here, as encrypted ones."""

ENCRYPTED: Final = "+encrypted"
"""What ends the media type of an encrypted layer; what stands before is the type of what it was. Source: ocicrypt."""
_ENCRYPTABLE: Final = (*(oci for _, oci in _PAIRS if oci in LAYERS), OCI_LAYER_ZSTD, OCI_FOREIGN_ZSTD)


def is_encrypted(media_type: MediaType) -> bool:
    """Say whether a layer of ``media_type`` is encrypted."""
    return media_type.endswith(ENCRYPTED)


def encrypted(media_type: MediaType) -> MediaType:
    """Return the media type of an encrypted layer of ``media_type``.

    Raises:
        ContentError: there is none.
    """
    if media_type not in _ENCRYPTABLE:
        raise ContentError(f"media type {shown(media_type)!r} has no encrypted form")
    return MediaType(media_type + ENCRYPTED)


def decrypted(media_type: MediaType) -> MediaType:
    """Return the media type of what an encrypted layer of ``media_type`` holds."""
    return MediaType(media_type.removesuffix(ENCRYPTED))


def to_oci(media_type: MediaType) -> MediaType:
    """Return the OCI media type of the same content; an OCI type is its own.

    Raises:
        ContentError: nothing in OCI means the same.
    """
    if media_type in _TO_DOCKER or media_type == OCI_FOREIGN_ZSTD:
        return media_type
    if media_type not in _TO_OCI:
        raise ContentError(f"media type {shown(media_type)!r} has no OCI counterpart")
    return _TO_OCI[media_type]


def to_docker(media_type: MediaType) -> MediaType:
    """Return the Docker media type of the same content; a Docker type is its own.

    Raises:
        ContentError: nothing in Docker's formats means the same.
    """
    if media_type in _TO_OCI:
        return media_type
    if media_type not in _TO_DOCKER:
        raise ContentError(f"media type {shown(media_type)!r} has no Docker counterpart")
    return _TO_DOCKER[media_type]
