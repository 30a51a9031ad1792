"""Images made here over files that are none: an OCI config and manifest around layers as they lie."""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from transship.pipeline.compression import Compression
from transship.pipeline.digest import Digest, Hasher
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, NotFoundError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json, dump
from transship.pipeline.manifest.media_types import OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, OCI_MANIFEST
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.transports.medium import FileMedium, Window, identity
from transship.pipeline.transports.spool import packing, unpacked

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_REMEMBERED: Final = 256
_MEDIA_TYPE: Final = {
    Compression.NONE: OCI_LAYER,
    Compression.GZIP: OCI_LAYER_GZIP,
    Compression.ZSTD: OCI_LAYER_ZSTD,
}


class Layer(NamedTuple):
    """A layer of an image made here, and the open file that holds its very bytes."""

    descriptor: Descriptor
    diff_id: Digest
    stream: io.FileIO


class MadeSource:
    """The one image over some layers, as `transport.Source`."""

    def __init__(self, where: str, layers: Sequence[Layer], config: Mapping[str, Json], *, typed: bool) -> None:
        """Take the layers, and close them in the end; ``typed`` has the manifest say its media type."""
        self._where = where
        self._layers = layers
        self._files = {layer.descriptor.digest: layer for layer in layers}
        self._config = dump(config)
        document: dict[str, Json] = {
            "schemaVersion": 2,
            **({"mediaType": OCI_MANIFEST} if typed else {}),
            "config": Descriptor(OCI_CONFIG, Digest.of(self._config), len(self._config)).to_document(),
            "layers": [layer.descriptor.to_document() for layer in layers],
        }
        self._manifest = parse(dump(document), OCI_MANIFEST, where)

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return the manifest made here, as `Source.manifest` says."""
        if instance is not None and instance != self._manifest.digest:
            raise NotFoundError(f"{self._where}: no manifest {instance}", advice="has the file changed since?")
        return self._manifest

    def blob(self, wanted: Descriptor, start: int = 0) -> BinaryIO:
        """Open a layer or the config, as `Source.blob` says."""
        found = self._files.get(wanted.digest)
        if found is None:
            if wanted.digest != Digest.of(self._config, wanted.digest.algorithm):
                raise NotFoundError(f"{self._where}: no blob {wanted.digest}")
            return io.BytesIO(self._config[start:])
        if found.stream.closed:
            raise TransportError(f"{self._where}: read after it was closed")
        left = max(found.descriptor.size - start, 0)
        return io.BufferedReader(Window(FileMedium(found.stream, self._where), start, left), 1 << 17)

    def close(self) -> None:
        """Close the files."""
        for layer in self._layers:
            layer.stream.close()


def timestamp(nanoseconds: int, where: str) -> str:
    """Return a time since 1970 as RFC 3339 in UTC, without zeros at the end of its fraction, as Go spells it.

    Raises:
        ContentError: its year has not four digits.
    """
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    except OverflowError as error:
        raise ContentError(f"{where}: its time is in no year from 1 to 9999") from error
    return text + f".{rest:09d}".rstrip("0").rstrip(".") + "Z"


_measured: Final[dict[tuple[int, ...], tuple[Descriptor, Digest]]] = {}


def measured(stream: io.FileIO, where: str) -> Layer:
    """Return the layer that a seekable file is; one measured lately and unchanged since is not read again.

    Raises:
        ContentError: it is damaged, cut short or a bomb.
        TransportError: the disk refused.
    """
    with at_disk(Path(where)):
        key = identity(stream.fileno())
        if key not in _measured:
            while len(_measured) >= _REMEMBERED:
                _measured.pop(next(iter(_measured)), None)
            _measured[key] = _measure(stream, where)
        return Layer(*_measured[key], stream)


def _measure(stream: io.FileIO, where: str) -> tuple[Descriptor, Digest]:
    have = packing(os.pread(stream.fileno(), 4, 0))
    packed = hashlib.sha256()
    tar = packed if have is Compression.NONE else hashlib.sha256()
    size = os.fstat(stream.fileno()).st_size
    reader = _Hashing(Window(FileMedium(stream, where), 0, size), packed)
    for piece in unpacked(reader, have, where):
        if tar is not packed:
            tar.update(piece)
    digest = Digest("sha256", packed.hexdigest())
    return Descriptor(_MEDIA_TYPE[have], digest, reader.count), Digest("sha256", tar.hexdigest())


class _Hashing:
    def __init__(self, source: Window, hasher: Hasher) -> None:
        self.count = 0
        self._source = source
        self._hasher = hasher

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size) or b""
        self.count += len(data)
        self._hasher.update(data)
        return data
