"""The formats on disk as `Contents`: OCI layout, ``dir:`` and docker-archive, in a folder or a tar."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from transship.pipeline.compression import Compression
from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, NotFoundError, UsageError, shown
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT, dump
from transship.pipeline.manifest.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_LAYER_ZSTD,
    DOCKER_MANIFEST,
    MANIFESTS,
    MediaType,
)
from transship.pipeline.manifest.views import Manifest, parse
from transship.pipeline.serve import naming
from transship.pipeline.serve.bundles import about, refuse_half
from transship.pipeline.serve.contents import Contents, Extent, Part, read_manifest
from transship.pipeline.serve.files import Files, Folder, Tar, read
from transship.pipeline.serve.naming import Group
from transship.pipeline.transports.layout import (
    INDEX,
    MARKER,
    MAX_INDEX,
    MAX_MARKER,
    blob_name,
    check_marker,
    parse_index,
)
from transship.pipeline.transports.layout_referrers import LayoutReferrers
from transship.pipeline.transports.medium import Window, read_at
from transship.pipeline.transports.saved_images import MANIFEST, Entry, read_entries
from transship.pipeline.transports.spool import packing
from transship.pipeline.transports.volumes import volumes

CONTAINERD_NAME: Final = "io.containerd.image.name"
"""The annotation in which `docker save` and `ctr export` keep the whole name; ref.name has the tag alone."""
_PACKED: Final = {Compression.GZIP: DOCKER_LAYER_GZIP, Compression.ZSTD: DOCKER_LAYER_ZSTD}


def open_contents(paths: Sequence[Path], signed: Mapping[Path, Digest] | None = None) -> Contents:
    """Return what lies at ``paths``, whatever the formats.

    ``signed`` has for each the digest of the bundle.json that somebody has signed; None where that is no matter.

    Raises:
        UsageError: one is of none of the formats, or not there; a bundle without its base; two have one name for
            different images.
        ContentError: malformed, or an archive that is compressed as a whole.
        TransportError: it cannot be read.
    """
    with ExitStack() as opened:
        # One that is named twice is one.
        once = {path.resolve(): path for path in reversed(paths)}
        parts = [_opened(path, opened, signed) for path in reversed(once.values())]
        contents = Contents(parts)
        refuse_half(contents, [part.about for part in parts if isinstance(part, Layout) and part.about])
        opened.pop_all()
    return contents


def _opened(path: Path, opened: ExitStack, signed: Mapping[Path, Digest] | None) -> Part:
    if not path.exists() and not volumes(path):
        raise UsageError(f"{path}: no such file or folder")
    files: Files = Folder(path) if path.is_dir() else Tar(path)
    opened.callback(files.close)
    return _known(files, path, signed[path] if signed is not None else None)


def _known(files: Files, path: Path, signed: Digest | None) -> Part:
    own = naming.repository_of(path)
    if files.find(INDEX):
        return Layout(files, own, str(path), signed)
    if signed is not None:
        raise ContentError(f"{path}: holds no bundle, and one was signed")
    if files.find(MANIFEST):
        return (Directory if path.is_dir() else DockerArchive)(files, own, str(path))
    for name in (INDEX, MANIFEST):
        if (path / name).is_symlink():
            raise UsageError(f"{path / name} is a symbolic link, which is not followed", advice="serve where it leads")
    raise UsageError(
        f"{path}: not an OCI layout, oci-archive, docker-archive or dir: ({INDEX} and {MANIFEST} are not there)"
    )


class Layout:
    """An OCI image layout. Source: OCI image-spec image-layout.md."""

    def __init__(self, files: Files, own: str, where: str, signed: Digest | None = None) -> None:
        """Read its documents; as `about` where a bundle is to be what was ``signed``, and raises as that does."""
        self._files = files
        if files.find(MARKER):
            check_marker(read(files, MARKER, MAX_MARKER, where), where)
        raw = read(files, INDEX, MAX_INDEX, where)
        entries = parse_index(raw, where).manifests
        images = [(_name(entry), entry) for entry in entries if entry.media_type in MANIFESTS]
        self.about = about(files, where, raw, entries, signed)
        self.group = Group(where, own, images, *(self.about.ties if self.about else ()))
        # Those in its index are read when first asked for: a layout of thousands would take long to begin with.
        self._referrers = LayoutReferrers(entries, self._read)

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest of ``digest``."""
        return read_manifest(self.blob(digest), digest)

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the blob lies."""
        return self._files.find(blob_name(digest))

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return those of the index's manifests that refer to ``subject``."""
        return [entry.digest for entry in self._referrers.subjected(subject)]

    def close(self) -> None:
        """Close the archive, if it is one."""
        self._files.close()

    def _read(self, entry: Descriptor) -> Manifest:
        manifest = self.manifest(entry.digest)
        if manifest is None:
            raise NotFoundError(f"no manifest {entry.digest}")
        return manifest


class Directory:
    """One image as the ``dir:`` transport writes it; its only tag is ``latest``."""

    def __init__(self, files: Files, own: str, where: str) -> None:
        self._files = files
        raw = read(files, MANIFEST, MAX_DOCUMENT, where)
        view = parse(raw, "", f"{where} {MANIFEST}")
        self._root = view.digest
        self.group = Group(where, own, [("", Descriptor(view.media_type, view.digest, len(raw)))])

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest of ``digest``."""
        return read_manifest(self.blob(digest), digest)

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the blob or the instance's manifest lies."""
        if digest == self._root:
            return self._files.find(MANIFEST)
        prefix = "" if digest.algorithm == "sha256" else f"{digest.algorithm}-"
        return self._files.find(prefix + digest.hex) or self._files.find(f"{prefix}{digest.hex}.manifest.json")

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return none: the format has no place for any."""
        return ()

    def close(self) -> None:
        """Close the archive, if it is one."""
        self._files.close()


class DockerArchive:
    """What `docker save` writes. It holds no manifests: v2s2 ones are made, the same every time.

    Layers are named by the config's diff IDs; a compressed layer is hashed at the start.
    """

    def __init__(self, files: Files, own: str, where: str) -> None:
        self._files = files
        self._where = where
        self._blobs: dict[Digest, Extent] = {}
        self._manifests: dict[Digest, bytes] = {}
        # However many images name it, it is read once.
        self._configs: dict[Extent, tuple[Descriptor, tuple[Digest, ...]]] = {}
        self._packed: dict[Extent, tuple[MediaType, Digest] | None] = {}
        raw = read(files, MANIFEST, MAX_DOCUMENT, where)
        named: list[tuple[str, Descriptor]] = []
        for image in read_entries(raw, f"{where} {MANIFEST}"):
            manifest = self._manifest(image)
            named += [(name, manifest) for name in image.names or ("",)]
        self.group = Group(where, own, named)

    def manifest(self, digest: Digest) -> Manifest | None:
        """Return the manifest made for an image."""
        raw = self._manifests.get(digest)
        return parse(raw) if raw else None

    def blob(self, digest: Digest) -> Extent | None:
        """Return where the config or layer lies."""
        return self._blobs.get(digest)

    def referrers(self, subject: Digest) -> Sequence[Digest]:
        """Return none: the format has no place for any."""
        return ()

    def close(self) -> None:
        """Close the archive, if it is one."""
        self._files.close()

    def _manifest(self, image: Entry) -> Descriptor:
        extent = self._find(image.config)
        if extent not in self._configs:
            self._configs[extent] = self._config(image.config)
        config, diff_ids = self._configs[extent]
        if len(image.layers) != len(diff_ids):
            what = f"{self._where} config {shown(image.config)}"
            raise ContentError(f"{what}: {len(diff_ids)} diff IDs for {len(image.layers)} layers")
        self._blobs[config.digest] = extent
        layers = [self._layer(self._find(name), diff_id) for name, diff_id in zip(image.layers, diff_ids, strict=True)]
        raw = dump(
            {
                "schemaVersion": 2,
                "mediaType": DOCKER_MANIFEST,
                "config": config.to_document(),
                "layers": [layer.to_document() for layer in layers],
            }
        )
        digest = parse(raw, what=f"{self._where} manifest of config {shown(image.config)}").digest
        self._manifests[digest] = raw
        return Descriptor(DOCKER_MANIFEST, digest, len(raw))

    def _config(self, name: str) -> tuple[Descriptor, tuple[Digest, ...]]:
        raw = read(self._files, name, MAX_DOCUMENT, self._where, follow=True)
        config = ImageConfig.parse(raw, f"{self._where} config {shown(name)}")
        return Descriptor(DOCKER_CONFIG, config.digest, len(raw)), config.diff_ids

    def _find(self, name: str) -> Extent:
        extent = self._files.find(name, follow=True)
        if extent is None:
            raise ContentError(f"{self._where} {MANIFEST} names {shown(name)!r}, which is not in the archive")
        return extent

    def _layer(self, extent: Extent, diff_id: Digest) -> Descriptor:
        if extent not in self._packed:
            self._packed[extent] = _packed(extent)
        media_type, digest = self._packed[extent] or (DOCKER_LAYER, diff_id)
        self._blobs[digest] = extent
        return Descriptor(media_type, digest, extent.length)


def _packed(extent: Extent) -> tuple[MediaType, Digest] | None:
    """Return media type and digest of a layer that is packed, None where it is plain."""
    with extent.open() as medium, at_disk(extent.path):
        packed = packing(read_at(medium, extent.offset, min(4, extent.length)))
        if packed is Compression.NONE:
            return None
        return _PACKED[packed], _hash(Window(medium, extent.offset, extent.length))


def _hash(window: Window) -> Digest:
    hasher = hashlib.sha256()
    while data := window.read(1 << 20):
        hasher.update(data)
    return Digest("sha256", hasher.hexdigest())


def _name(entry: Descriptor) -> str:
    return entry.name if ":" in entry.name else entry.annotations.get(CONTAINERD_NAME, entry.name)
