"""``docker-archive:``, what ``docker save`` writes and ``docker load`` reads: images with plain layers in a tar.

Read are the old form (a folder a layer, links between them) and the new one (an OCI layout with a
manifest.json). Format: Docker "Image Specification v1.2", "Combined Image JSON + Filesystem Changeset Format".
"""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from transship.pipeline.compression import Compression
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, UsageError, shown
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT, Json, dump
from transship.pipeline.manifest.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    UNCOMPRESSED,
)
from transship.pipeline.manifest.views import Image, Manifest, parse
from transship.pipeline.transport import Make, RangeRefusedError, StoredBlob
from transship.pipeline.transports.oci import refuse_unaccepted
from transship.pipeline.transports.pieces import Pieces
from transship.pipeline.transports.plain_tar import refuse_packed, refusing_packed
from transship.pipeline.transports.saved_images import MANIFEST, Entry, choose, qualified, read_entries
from transship.pipeline.transports.spool import unpacked
from transship.pipeline.transports.tar import Archive, Member
from transship.pipeline.transports.tar_writer import TarWriter, refuse_foreign


class DockerArchiveSource:
    """One image of an archive, as a Docker manifest made here over its layers, uncompressed.

    A layer's digest is the diff ID that the config says, so that whoever reads it checks that too.
    """

    def __init__(self, path: Path, name: str = "", index: int | None = None, stream: "io.FileIO | None" = None) -> None:
        """Open the archive and read its manifest.json; raises as `Archive` and `Source.manifest` do.

        ``stream`` is the archive where it is open already; ``path`` then only says what it is.
        """
        self._path = path
        self._archive = Archive(path, stream)
        try:
            self._entry = choose(_entries(self._archive, path), name, index, str(path))
        except BaseException:
            self.close()
            raise
        self._layers: dict[Digest, tuple[Member, Compression]] = {}
        self._sizes: dict[Member, int] = {}
        self._config = b""
        self._image: Manifest | None = None

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return the manifest made of the archive, as `Source.manifest` says."""
        if self._image is None:
            self._image = self._synthesised()
        if instance is not None and instance != self._image.digest:
            raise NotFoundError(f"{self._path}: no manifest {instance}")
        return self._image

    def blob(self, wanted: Descriptor, start: int = 0) -> BinaryIO:
        """Open a layer or the config, as `Source.blob` says; a compressed layer only from its first byte."""
        self.manifest()
        found = self._layers.get(wanted.digest)
        if found is None:
            if wanted.digest != Digest.of(self._config, wanted.digest.algorithm):
                raise NotFoundError(f"{self._path}: no blob {wanted.digest}")
            return io.BytesIO(self._config[start:])
        member, packing = found
        if packing is Compression.NONE:
            return self._archive.open(member, start)
        if start:
            raise RangeRefusedError(f"{self._path}: {shown(member.name)} is compressed and read from its start only")
        return io.BufferedReader(Pieces(self._unpacked(member, packing)))

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def _synthesised(self) -> Manifest:
        member = self._archive.find(self._entry.config, follow=True)
        self._config = self._archive.read(member, MAX_DOCUMENT)
        what = f"{self._path} config {shown(self._entry.config)}"
        digest = Digest.of(self._config)
        said = Path(self._entry.config).name.removesuffix(".json")
        if len(said) == len(digest.hex) and said != digest.hex:
            raise ContentError(f"{what}: digest does not match: it hashes to {digest.hex}")
        diff_ids = ImageConfig.parse(self._config, what).diff_ids
        if len(diff_ids) != len(self._entry.layers):
            raise ContentError(f"{what}: {len(diff_ids)} diff IDs for {len(self._entry.layers)} layers")
        layers = [self._layer(diff_id, name) for diff_id, name in zip(diff_ids, self._entry.layers, strict=True)]
        config = Descriptor(DOCKER_CONFIG, digest, len(self._config))
        described: list[Json] = [layer.to_document() for layer in layers]
        document: dict[str, Json] = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": config.to_document(),
            "layers": described,
        }
        return parse(dump(document), DOCKER_MANIFEST, str(self._path))

    def _layer(self, diff_id: Digest, name: str) -> Descriptor:
        member = self._archive.find(name, follow=True)
        packing = self._archive.compression(member)
        self._layers[diff_id] = (member, packing)
        size = member.size
        if packing is not Compression.NONE:
            if member not in self._sizes:
                self._sizes[member] = sum(len(piece) for piece in self._unpacked(member, packing))
            size = self._sizes[member]
        return Descriptor(DOCKER_LAYER, diff_id, size)

    def _unpacked(self, member: Member, packing: Compression) -> Iterator[bytes]:
        return unpacked(self._archive.open(member), packing, f"{self._path} {member.name}")


class DockerArchiveSink:
    """Collects images and writes them into one tar on commit; an archive there before is replaced then."""

    accepts = frozenset({DOCKER_MANIFEST})

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tar = TarWriter(path)
        self._blobs: dict[Digest, StoredBlob] = {}
        self._written: dict[Digest, int] = {}
        self._images: dict[Digest, tuple[tuple[str, ...], set[str]]] = {}

    def __enter__(self) -> Self:
        """Refuse a destination that is no archive; raises as `refuse_foreign` does."""
        refuse_foreign(self._path)
        return self

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob was put already."""
        found = self._blobs.get(wanted.digest)
        return found is not None and found.descriptor.size == wanted.size

    def begin(self, config: Descriptor, layers: Mapping[Digest, int]) -> Callable[[Digest, Make], int]:
        """Begin the archive of one image, whose layers are as large as ``layers`` says; those put stay.

        What is returned has a layer written straight where it will lie in the archive, instead of
        `put_blob`: ``make(write)`` writes what hashes to that digest. It returns the layer's size, raises
        `WrongSizeError` where that is another one, and what ``make`` raises; any thread may call it.
        """
        sizes = {_layer_name(digest): size for digest, size in layers.items()}
        rooms = self._tar.begin({**sizes, _config_name(config.digest): config.size})

        def fill(digest: Digest, make: Make) -> int:
            size = rooms.fill(_layer_name(digest), lambda write: make(refusing_packed(digest, write)))
            self._written[digest] = size
            return size

        return fill

    @property
    def written(self) -> frozenset[Digest]:
        """The layers written by what `begin` returned."""
        return frozenset(self._written)

    def drop(self) -> None:
        """Give up what was begun; what was put stays. Idempotent."""
        self._written.clear()
        self._tar.drop()

    def put_blob(self, content: StoredBlob) -> None:
        """Note a blob, read on commit."""
        self._blobs[content.descriptor.digest] = content

    def discard(self, digest: Digest) -> None:
        """Do nothing: the whole is written anew each time."""

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Note an image under ``name``, fully qualified in the archive; its own manifest is not kept.

        Raises:
            ContentError: it is no Docker image manifest, or its layers are not the plain ones that
                its config names.
            UsageError: it names a blob that was not put.
        """
        refuse_unaccepted(manifest.media_type, self.accepts, "a docker archive")
        if not isinstance(manifest, Image):
            raise AssertionError("the media type of an image, another view")
        config = self._put(manifest.config, _config_name(manifest.config.digest))
        diff_ids = ImageConfig.parse(config.path.read_bytes(), f"config {manifest.config.digest}").diff_ids
        if tuple(layer.digest for layer in manifest.layers) != diff_ids:
            raise ContentError(
                f"manifest {manifest.digest}: its layers are not those of its config's diff IDs",
                advice="a docker archive holds uncompressed layers; the image or its conversion is damaged",
            )
        for layer in manifest.layers:
            if layer.media_type not in UNCOMPRESSED:
                raise ContentError(f"layer {layer.digest}: a docker archive cannot hold {shown(layer.media_type)}")
            if self._written.get(layer.digest) == layer.size:
                self._tar.add(_layer_name(layer.digest), None, layer.size)
            else:
                refuse_packed(layer.digest, self._put(layer, _layer_name(layer.digest)).path)
        layers = tuple(_layer_name(layer.digest) for layer in manifest.layers)
        _, names = self._images.setdefault(manifest.config.digest, (layers, set()))
        if name:
            names.add(qualified(name))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the archive where ``kind`` is None, durable on return."""
        if kind is not None:
            self.drop()
            return
        images: list[dict[str, Json]] = [
            {"Config": _config_name(config), "RepoTags": [*sorted(names)], "Layers": [*layers]}
            for config, (layers, names) in self._images.items()
        ]
        ordered = sorted(images, key=lambda image: (image["RepoTags"], image["Config"]))
        self._tar.add(MANIFEST, b"[%b]" % b",".join(dump(image) for image in ordered))
        self.deliver(self._tar)

    def deliver(self, tar: TarWriter) -> None:
        """Put the finished archive where it belongs."""
        tar.write()

    def _put(self, wanted: Descriptor, name: str) -> StoredBlob:
        blob = self._blobs.get(wanted.digest)
        if blob is None or blob.descriptor.size != wanted.size:
            raise UsageError(f"docker archive {self._path}: blob {wanted.digest} was not put before its manifest")
        self._tar.add(name, blob.path, wanted.size)
        return blob


def names_in(path: Path) -> list[tuple[str, ...]]:
    """Return the names of each image in an archive, in its order; raises as `DockerArchiveSource` does."""
    archive = Archive(path)
    try:
        return [entry.names for entry in _entries(archive, path)]
    finally:
        archive.close()


def _entries(archive: Archive, path: Path) -> list[Entry]:
    where = f"{path} {MANIFEST}"
    try:
        raw = archive.read(archive.find(MANIFEST), MAX_DOCUMENT)
    except NotFoundError as error:
        raise NotFoundError(f"{path}: no {MANIFEST} in it", advice="is it a docker archive?") from error
    return read_entries(raw, where)


def _config_name(digest: Digest) -> str:
    return f"{digest.hex}.json"


def _layer_name(diff_id: Digest) -> str:
    return f"{diff_id.hex}.tar"
