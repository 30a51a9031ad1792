"""The formats on disk as `Contents`: OCI layout, ``dir:`` and docker-archive, in a folder or a tar."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from transship.pipeline.compression import Compression
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, UsageError, shown
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT, dump, load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    DOCKER_MANIFEST,
    MANIFESTS,
)
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.serve import naming
from transship.pipeline.serve.contents import Contents, Extent, read_manifest
from transship.pipeline.serve.files import Files, Folder, Tar, read
from transship.pipeline.transports.files import open_regular
from transship.pipeline.transports.layout import INDEX, MAX_INDEX, blob_name, parse_index
from transship.pipeline.transports.layout_referrers import LayoutReferrers
from transship.pipeline.transports.spool import packing

CONTAINERD_NAME: Final = "io.containerd.image.name"
"""The annotation in which `docker save` and `ctr export` keep the whole name; ref.name has the tag alone."""
_PACKED: Final = {Compression.GZIP: DOCKER_LAYER_GZIP, Compression.ZSTD: DOCKER_LAYER_ZSTD}


def open_contents(path: Path) -> Contents:
    """Return what lies at ``path``, whatever its format.

    Raises:
        UsageError: none of the formats, or nothing there.
        ContentError: malformed, or a compressed archive.
        TransportError: it cannot be read.
    """
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    files: Files = Folder(path) if path.is_dir() else Tar(path)
    own = naming.repository_of(path)
    if files.find(INDEX):
        return Layout(files, own)
    if path.is_dir() and files.find("manifest.json"):
        return Directory(files, own)
    if files.find("manifest.json"):
        return DockerArchive(files, own)
    raise UsageError(
        f"{path}: not an OCI layout, oci-archive, docker-archive or dir: (no index.json, no manifest.json)"
    )


class Layout:
    """An OCI image layout. Source: OCI image-spec image-layout.md."""

    def __init__(self, files: Files, own: str) -> None:
        self._files = files
        entries = parse_index(read(files, INDEX, MAX_INDEX), own).manifests
        self._names = naming.table(((_name(entry), entry) for entry in entries if entry.media_type in MANIFESTS), own)
        # Those in its index are read when first asked for: a layout of thousands would take long to begin with.
        self._referrers = LayoutReferrers(entries, self._read)

    @property
    def names(self) -> Mapping[str, Mapping[str, Descriptor]]:
        """Repository -> tag -> manifest."""
        return self._names

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest of ``digest``."""
        return read_manifest(self.blob(digest), digest)

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the blob lies."""
        return self._files.find(blob_name(digest))

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return those of the index's manifests that refer to ``subject``."""
        return [entry.digest for entry in self._referrers.subjected(subject)]

    def _read(self, entry: Descriptor) -> Manifest:
        manifest = self.manifest(entry.digest)
        if manifest is None:
            raise NotFoundError(f"no manifest {entry.digest}")
        return manifest


class Directory:
    """One image as the ``dir:`` transport writes it; its only tag is ``latest``."""

    def __init__(self, files: Files, own: str) -> None:
        self._files = files
        raw = read(files, "manifest.json", MAX_DOCUMENT)
        view = parse(raw, "", "manifest.json")
        self._root = view.digest
        self._names = naming.table([("", Descriptor(view.media_type, view.digest, len(raw)))], own)

    @property
    def names(self) -> Mapping[str, Mapping[str, Descriptor]]:
        """Repository -> tag -> manifest."""
        return self._names

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest of ``digest``."""
        return read_manifest(self.blob(digest), digest)

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the blob or the instance's manifest lies."""
        if digest == self._root:
            return self._files.find("manifest.json")
        prefix = "" if digest.algorithm == "sha256" else f"{digest.algorithm}-"
        return self._files.find(prefix + digest.hex) or self._files.find(f"{prefix}{digest.hex}.manifest.json")

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return none: the format has no place for any."""
        return ()


class DockerArchive:
    """What `docker save` writes. It holds no manifests: v2s2 ones are made, the same every time.

    Layers are named by the config's diff IDs; a compressed layer is hashed at the start.
    """

    def __init__(self, files: Files, own: str) -> None:
        self._files = files
        self._blobs: dict[Digest, Extent] = {}
        self._manifests: dict[Digest, Manifest] = {}
        raw = read(files, "manifest.json", MAX_DOCUMENT)
        images = Fields(load(b'{"images":' + raw + b"}", "manifest.json"), "manifest.json").objects("images")
        named: list[tuple[str, Descriptor]] = []
        for image in images:
            manifest = self._manifest(image)
            named += [(name, manifest) for name in image.texts("RepoTags") or ("",)]
        self._names = naming.table(named, own)

    @property
    def names(self) -> Mapping[str, Mapping[str, Descriptor]]:
        """Repository -> tag -> manifest."""
        return self._names

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest made for an image."""
        return self._manifests.get(digest)

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the config or layer lies."""
        return self._blobs.get(digest)

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return none: the format has no place for any."""
        return ()

    def _manifest(self, image: Fields) -> Descriptor:
        raw_config = read(self._files, image.text("Config"), MAX_DOCUMENT)
        config = ImageConfig.parse(raw_config, f"config {shown(image.text('Config'))!r}")
        names = image.texts("Layers")
        if len(names) != len(config.diff_ids):
            raise ContentError(f"{image.where}: {len(names)} layers for {len(config.diff_ids)} diff IDs")
        self._blobs[config.digest] = self._find(image.text("Config"))
        layers = [self._layer(self._find(name), diff_id) for name, diff_id in zip(names, config.diff_ids, strict=True)]
        top = Descriptor(DOCKER_CONFIG, config.digest, len(raw_config))
        raw = dump(
            {
                "schemaVersion": 2,
                "mediaType": DOCKER_MANIFEST,
                "config": top.to_document(),
                "layers": [layer.to_document() for layer in layers],
            }
        )
        view = parse(raw)
        self._manifests[view.digest] = view
        return Descriptor(DOCKER_MANIFEST, view.digest, len(raw))

    def _find(self, name: str) -> Extent:
        extent = self._files.find(name)
        if extent is None:
            raise ContentError(f"manifest.json names {shown(name)!r}, which is not in the archive")
        return extent

    def _layer(self, extent: Extent, diff_id: Digest) -> Descriptor:
        media_type, digest = DOCKER_LAYER, diff_id
        with open_regular(extent.path, extent.offset) as stream:
            packed = packing(stream.read(min(4, extent.length)))
            if packed is not Compression.NONE:
                stream.seek(extent.offset)
                media_type, digest = _PACKED[packed], _hash(stream, extent.length)
        self._blobs[digest] = extent
        return Descriptor(media_type, digest, extent.length)


def _hash(stream: io.FileIO, length: int) -> Digest:
    hasher = hashlib.sha256()
    while length and (data := stream.read(min(length, 1 << 20))):
        hasher.update(data)
        length -= len(data)
    return Digest("sha256", hasher.hexdigest())


def _name(entry: Descriptor) -> str:
    return entry.name if ":" in entry.name else entry.annotations.get(CONTAINERD_NAME, entry.name)
