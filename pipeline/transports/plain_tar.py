"""Layers where they must be plain tars: who reads a docker archive unpacks what looks packed, whatever was said."""

from pathlib import Path
from typing import Final

from transship.pipeline.compression import Compression
from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError
from transship.pipeline.transport import Write
from transship.pipeline.transports.spool import packing

_LONGEST_MAGIC: Final = 4


def refusing_packed(layer: Digest, write: Write) -> Write:
    """Return ``write`` for the bytes of ``layer``, which raises as `refuse_packed` does before the first of them."""
    start = b""

    def checked(data: bytes) -> object:
        nonlocal start
        if len(start) < _LONGEST_MAGIC:
            start += data[:_LONGEST_MAGIC]
            _refuse(layer, start)
        return write(data)

    return checked


def refuse_packed(layer: Digest, file: Path) -> None:
    """Raise unless ``file``, the bytes of ``layer``, begins as a plain tar may.

    Raises:
        ContentError: it begins as a packed file does.
        TransportError: the disk refused.
    """
    with at_disk(file), file.open("rb", buffering=0) as stream:
        _refuse(layer, stream.read(_LONGEST_MAGIC))


def _refuse(layer: Digest, start: bytes) -> None:
    packed = packing(start)
    if packed is not Compression.NONE:
        raise ContentError(
            f"layer {layer}: what should be its tar is packed by {packed.value}, which a docker archive cannot hold",
            advice="write it to oci: or dir:, or build the image anew",
        )
