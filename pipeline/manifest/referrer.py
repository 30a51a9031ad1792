"""What hangs on a manifest: signatures, attestations, SBOMs and other artifacts, and how they are tied to it.

Sources: OCI image-spec manifest.md, "subject"; OCI distribution-spec, "Listing Referrers" and "Referrers Tag
Schema"; cosign's specifications, "Storage".
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Object
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import OCI_INDEX
from transship.pipeline.manifest.views import Image, Manifest, Schema1

COSIGN: Final = (".sig", ".att", ".sbom")
"""How the tags end under which cosign keeps signatures, attestations and SBOMs of a digest."""
_TIES: Final = r"sha(?:256-[0-9a-f]{64}|384-[0-9a-f]{64,96}|512-[0-9a-f]{64,128})(?:\.sig|\.att|\.sbom)?"
_MAX_ALGORITHM: Final = 32
_MAX_ENCODED: Final = 64


class Referrer(NamedTuple):
    """A manifest that belongs to the one of digest ``subject``: by its own ``subject`` field, or by ``tag`` if set.

    ``manifest`` has its media type, digest and size, and its artifact type where that is known.
    """

    subject: Digest
    manifest: Descriptor
    tag: str = ""

    def to_document(self) -> Object:
        """Return the JSON object that `Referrer.read` takes; it stands in checkpoints and reports."""
        made: Object = {"subject": str(self.subject), "manifest": self.manifest.to_document()}
        if self.tag:
            made["tag"] = self.tag
        return made

    @classmethod
    def read(cls, fields: Fields) -> "Referrer":
        """Return the referrer that an object spells.

        Raises:
            ContentError: a field is missing or malformed.
        """
        subject = Digest.parse(fields.text("subject"))
        return cls(subject, Descriptor.read(fields.object("manifest")), fields.optional_text("tag"))

    def __str__(self) -> str:
        kind = self.tag or self.manifest.artifact_type
        return f"{self.manifest.digest}{f' ({kind})' if kind else ''} of {self.subject}"


class Left(NamedTuple):
    """What was left behind, and why; no ``referrer`` where nobody could look for any."""

    why: str
    referrer: Referrer | None = None

    def to_document(self) -> Object:
        """Return the JSON object that `Left.read` takes."""
        return {"why": self.why, **(self.referrer.to_document() if self.referrer else {})}

    @classmethod
    def read(cls, fields: Fields) -> "Left":
        """Return what an object spells; raises as `Referrer.read`."""
        return cls(fields.text("why"), Referrer.read(fields) if "subject" in fields.document else None)

    def __str__(self) -> str:
        return f"{self.referrer}: {self.why}" if self.referrer else self.why


def beside(name: str, tag: str) -> str:
    """Return what ``tag`` is called in a layout where the image is called ``name``.

    Names there may have a repository before the tag, as ``team/app:v1`` has; both then lie in it.
    """
    repository, colon, last = name.rpartition(":")
    return f"{repository}:{tag}" if colon and "/" not in last else tag


def schema_tag(digest: Digest) -> str:
    """Return the tag of the index that lists the referrers of ``digest`` where a registry has no API for it.

    Source: distribution-spec, "Referrers Tag Schema".
    """
    return f"{digest.algorithm[:_MAX_ALGORITHM]}-{digest.hex[:_MAX_ENCODED]}"


def cosign_tags(digest: Digest) -> tuple[str, ...]:
    """Return the tags under which cosign keeps what it makes for ``digest``."""
    return tuple(f"{digest.algorithm}-{digest.hex}{ending}" for ending in COSIGN)


def images_of(tags: Iterable[str]) -> list[str]:
    """Return those of ``tags`` that name images, without the tags of the schema and of cosign, in their order.

    Who copies referrers with their image copies what those lead to; copied as images they would be written twice.
    """
    return [tag for tag in tags if not re.fullmatch(_TIES, tag)]


def artifact_type(manifest: Manifest) -> str:
    """Return the artifact type that a list of referrers says of ``manifest``, empty for none.

    Source: distribution-spec, "Listing Referrers".
    """
    if isinstance(manifest, Schema1):
        return ""
    return manifest.artifact_type or (manifest.config.media_type if isinstance(manifest, Image) else "")


def subject_of(manifest: Manifest) -> Digest | None:
    """Return the digest of the manifest that ``manifest`` says it belongs to, None where it says none."""
    return None if isinstance(manifest, Schema1) or manifest.subject is None else manifest.subject.digest


def described(manifest: Manifest) -> Descriptor:
    """Return the descriptor of ``manifest``, with its artifact type."""
    return Descriptor(manifest.media_type, manifest.digest, len(manifest.raw), artifact_type=artifact_type(manifest))


def listed(manifest: Manifest) -> Object:
    """Return the descriptor of ``manifest`` for a list of referrers: with artifact type and annotations."""
    if isinstance(manifest, Schema1):
        raise ContentError(f"manifest {manifest.digest}: schema 1 has no subject")
    made: Object = {"mediaType": manifest.media_type, "digest": str(manifest.digest), "size": len(manifest.raw)}
    if kind := artifact_type(manifest):
        made["artifactType"] = kind
    if manifest.annotations:
        made["annotations"] = dict(manifest.annotations)
    return made


def referrer_list(entries: "list[Object]") -> Object:
    """Return the index that lists referrers by their descriptors."""
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*entries]}
