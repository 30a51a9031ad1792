"""How layers are packed, by their descriptors, and the media types for it."""

from typing import Final

from transship.pipeline.chunked.annotations import is_chunked
from transship.pipeline.compression import Compression
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import (
    DOCKER_FOREIGN,
    DOCKER_FOREIGN_GZIP,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    GZIP,
    LAYERS,
    OCI_FOREIGN,
    OCI_FOREIGN_GZIP,
    OCI_FOREIGN_ZSTD,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    UNCOMPRESSED,
    MediaType,
    to_docker,
    to_oci,
)

_OCI: Final = {
    Compression.NONE: (OCI_LAYER, OCI_FOREIGN),
    Compression.GZIP: (OCI_LAYER_GZIP, OCI_FOREIGN_GZIP),
    Compression.ZSTD: (OCI_LAYER_ZSTD, OCI_FOREIGN_ZSTD),
    Compression.ZSTD_CHUNKED: (OCI_LAYER_ZSTD, OCI_FOREIGN_ZSTD),
}
_DOCKER: Final = {
    Compression.NONE: (DOCKER_LAYER, DOCKER_FOREIGN),
    Compression.GZIP: (DOCKER_LAYER_GZIP, DOCKER_FOREIGN_GZIP),
}


def compression_of(media_type: MediaType) -> Compression:
    """Return how a layer of ``media_type`` is to be unpacked.

    Raises:
        ContentError: it is no layer type known.
    """
    if media_type in UNCOMPRESSED:
        return Compression.NONE
    if media_type in GZIP:
        return Compression.GZIP
    if media_type in LAYERS:
        return Compression.ZSTD
    raise ContentError(f"layer of unknown media type {shown(media_type)!r}", advice="only layers: keep can carry it")


def packed_so(layer: Descriptor, wanted: Compression) -> bool:
    """Say whether ``layer`` is already as ``wanted``, by what its descriptor says; zstd:chunked is zstd too."""
    have = compression_of(layer.media_type)
    if wanted is Compression.ZSTD_CHUNKED:
        return have is Compression.ZSTD and is_chunked(layer.annotations)
    return have is wanted


def packed_type(layer: Descriptor, packing: Compression, oci: bool, foreign: bool) -> MediaType:
    """Return the media type of ``layer`` packed as ``packing``, a ``foreign`` one or not.

    Raises:
        ContentError: Docker's formats hold no such layer.
    """
    types = (_OCI if oci else _DOCKER).get(packing)
    if types is None:
        raise no_zstd(layer)
    return types[1 if foreign else 0]


def counterpart(layer: Descriptor, oci: bool) -> MediaType:
    """Return the media type of ``layer``, kept as it is, in OCI's format or in Docker's.

    Raises:
        ContentError: that has no word for it.
    """
    try:
        return (to_oci if oci else to_docker)(layer.media_type)
    except ContentError as error:
        raise ContentError(
            f"layer {layer.digest}: {error.message}",
            advice="copy the image as it is: leave out --format, or in a batch file say manifests: keep",
        ) from error


def no_zstd(layer: Descriptor) -> ContentError:
    """Return the error for a zstd layer towards a Docker format."""
    return ContentError(
        f"layer {layer.digest} is zstd, which Docker's formats do not hold", advice="say layers: gzip or uncompressed"
    )
