"""Descriptors: what points at a blob. Source: OCI image-spec descriptor.md."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import FOREIGN, MediaType
from transship.pipeline.manifest.platform import Platform

REF_NAME: Final = "org.opencontainers.image.ref.name"
_KNOWN: Final = {
    name.casefold(): name
    for name in ("mediaType", "digest", "size", "urls", "annotations", "data", "artifactType", "platform")
}
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Descriptor(NamedTuple):
    """A blob or manifest by media type, digest and size in bytes.

    ``document`` is the object as it was read, with fields nobody here knows; None for one made here.
    """

    media_type: MediaType
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = _NOTHING
    platform: Platform | None = None
    artifact_type: str = ""
    document: Object | None = None

    @classmethod
    def read(cls, fields: Fields) -> "Descriptor":
        """Return the descriptor that an object spells.

        Raises:
            ContentError: a required field is missing or of the wrong type, a digest is malformed.
        """
        fields.refuse_misspelt(_KNOWN)
        platform = fields.optional_object("platform")
        return cls(
            media_type=MediaType(fields.text("mediaType")),
            digest=fields.digest(),
            size=fields.size(),
            urls=fields.texts("urls"),
            annotations=fields.text_map("annotations"),
            platform=Platform.read(platform) if platform else None,
            artifact_type=fields.optional_text("artifactType"),
            document=fields.document,
        )

    @property
    def name(self) -> str:
        """The reference name annotated on an entry of an OCI layout, empty where there is none."""
        return self.annotations.get(REF_NAME, "")

    @property
    def is_elsewhere(self) -> bool:
        """True for a foreign layer kept by URL: registries do not hold it."""
        return bool(self.urls) and self.media_type in FOREIGN

    def to_document(self) -> Object:
        """Return the JSON object: as it was read, or in the field order of descriptor.md."""
        if self.document is not None:
            return self.document
        made: dict[str, Json] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.urls:
            made["urls"] = list(self.urls)
        if self.annotations:
            made["annotations"] = dict(self.annotations)
        if self.platform:
            made["platform"] = self.platform.document()
        if self.artifact_type:
            made["artifactType"] = self.artifact_type
        return made

    def __str__(self) -> str:
        return str(self.digest)
