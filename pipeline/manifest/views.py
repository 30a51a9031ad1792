"""Parsed views of manifests and indexes. ``raw`` is the truth; a view never changes.

Sources: OCI image-spec manifest.md and image-index.md; Docker "Image Manifest Version 2",
schemas 1 and 2.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline import trace
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, shown
from transship.pipeline.manifest import platform as platforms
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT, Object, load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import (
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1,
    DOCKER_SCHEMA1_SIGNED,
    IMAGE_CONFIGS,
    IMAGES,
    INDEXES,
    LAYER_PREFIXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    OLD_CONFIGS,
    SCHEMA1,
    MediaType,
)
from transship.pipeline.manifest.platform import Platform
from transship.pipeline.manifest.schema1 import Schema1Layer, read_layers, unsigned

_KNOWN: Final = {
    name.casefold(): name
    for name in (
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "fsLayers",
        "history",
    )
}


class Image(NamedTuple):
    """A v2s2 or OCI image manifest; also an artifact, whose config is no image config."""

    raw: bytes
    media_type: MediaType
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    artifact_type: str
    subject: Descriptor | None
    document: Object

    @property
    def digest(self) -> Digest:
        """The digest of ``raw``."""
        return Digest.of(self.raw)

    @property
    def is_image(self) -> bool:
        """False for an artifact (chart, signature, SBOM): copied as it is, never converted."""
        kind = self.config.media_type
        return kind in IMAGE_CONFIGS or (self.media_type == DOCKER_MANIFEST and kind in OLD_CONFIGS)

    @property
    def foreign_type(self) -> MediaType | None:
        """The media type that makes this an artifact, None for an image.

        Signatures and attestations have the config of an image, and no layer of one.
        """
        if not self.is_image:
            return self.config.media_type
        layered = any(layer.media_type.startswith(LAYER_PREFIXES) for layer in self.layers)
        return None if layered or not self.layers else self.layers[0].media_type

    def refuse_large_config(self) -> None:
        """Raise `ContentError` where this is no artifact and its config is larger than anybody reads."""
        if self.config.size > MAX_DOCUMENT and not self.foreign_type:
            raise ContentError(
                f"manifest {self.digest}: its config has {self.config.size} bytes, over the limit of {MAX_DOCUMENT}"
            )

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Config and layers, in that order."""
        return (self.config, *self.layers)


class Index(NamedTuple):
    """A Docker manifest list or an OCI index."""

    raw: bytes
    media_type: MediaType
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    artifact_type: str
    subject: Descriptor | None
    document: Object

    @property
    def digest(self) -> Digest:
        """The digest of ``raw``."""
        return Digest.of(self.raw)

    def select(self, wanted: Platform) -> Descriptor:
        """Return the instance that serves ``wanted`` best; of equals the first.

        Raises:
            NotFoundError: none does; the message lists what there is.
        """
        for candidate in platforms.acceptable(wanted):
            for manifest in self.manifests:
                if manifest.platform and platforms.serves(manifest.platform, candidate):
                    chosen = manifest.platform, manifest.digest
                    trace.tell("index %s, for %s: %s, %s", self.digest, wanted, *chosen)
                    return manifest
        offered = ", ".join(sorted({str(m.platform) for m in self.manifests if m.platform})) or "none named"
        raise NotFoundError(f"no image for platform {wanted} in index {self.digest}", advice=f"it has: {offered}")


class Schema1(NamedTuple):
    """A Docker v2s1 manifest, signed or not; layers base first."""

    raw: bytes
    media_type: MediaType
    layers: tuple[Schema1Layer, ...]
    document: Object

    @property
    def digest(self) -> Digest:
        """The digest of the payload without its signatures, as registries compute it."""
        return Digest.of(unsigned(self.raw, self.document))


_PUSH_ANEW: Final = "it is damaged at its source: push or write the image there anew"

Manifest: TypeAlias = Image | Index | Schema1


def parse(raw: bytes, media_type: str = "", what: str = "manifest", limit: int = MAX_DOCUMENT) -> Manifest:
    """Return the view of ``raw``; ``media_type`` is what its descriptor or registry said, if anything.

    Raises:
        ContentError: over ``limit`` bytes, not strict JSON, ambiguous (both image and index), or its ``mediaType``,
            the media type said and its shape disagree.
    """
    document = load(raw, what, limit)
    fields = Fields(document, what)
    fields.refuse_misspelt(_KNOWN)
    kind = _kind(fields, media_type)
    if kind in SCHEMA1:
        return Schema1(raw, kind, read_layers(fields), document)
    if document.get("schemaVersion") != 2:
        raise ContentError(f"{what}: schemaVersion is not 2")
    annotations = fields.text_map("annotations")
    artifact_type = fields.optional_text("artifactType")
    subject = fields.optional_object("subject")
    pointed = Descriptor.read(subject) if subject else None
    if kind in INDEXES:
        manifests = tuple(Descriptor.read(item) for item in fields.optional_objects("manifests"))
        return Index(raw, kind, manifests, annotations, artifact_type, pointed, document)
    config = Descriptor.read(fields.object("config"))
    layers = tuple(Descriptor.read(item) for item in fields.optional_objects("layers"))
    return Image(raw, kind, config, layers, annotations, artifact_type, pointed, document)


def _kind(fields: Fields, said: str) -> MediaType:
    shape = _shape(fields)
    inner = fields.optional_text("mediaType")
    if inner and inner not in MANIFESTS:
        raise ContentError(f"{fields.where}: unknown mediaType {shown(inner)!r}", advice=_PUSH_ANEW)
    if said in MANIFESTS and inner and said != inner:
        raise ContentError(f"{fields.where}: it says mediaType {inner}, whoever sent it says {said}", advice=_PUSH_ANEW)
    kind = MediaType(inner or (said if said in MANIFESTS else ""))
    if not kind:
        kind = _guess(fields, shape)
    if kind not in shape:
        raise ContentError(f"{fields.where}: its shape does not fit media type {kind}", advice=_PUSH_ANEW)
    return kind


def _shape(fields: Fields) -> frozenset[MediaType]:
    found = [
        kinds
        for key, kinds in (("manifests", INDEXES), ("config", IMAGES), ("fsLayers", SCHEMA1))
        if key in fields.document
    ]
    if len(found) != 1 or ("layers" in fields.document and found[0] is not IMAGES):
        problem = "neither an image nor an index" if not found else "an image and an index at once"
        raise ContentError(
            f"{fields.where}: {problem}, which have one of config, manifests, fsLayers", advice=_PUSH_ANEW
        )
    return found[0]


def _guess(fields: Fields, shape: frozenset[MediaType]) -> MediaType:
    if shape is INDEXES:
        return OCI_INDEX
    if shape is SCHEMA1:
        return DOCKER_SCHEMA1_SIGNED if "signatures" in fields.document else DOCKER_SCHEMA1
    # OCI manifests may leave mediaType out; Docker's may not, and are told by their config's type.
    config = fields.object("config").optional_text("mediaType")
    return DOCKER_MANIFEST if config.startswith("application/vnd.docker.") else OCI_MANIFEST
