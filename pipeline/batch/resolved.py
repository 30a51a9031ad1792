"""What a lock keeps of an image: the digest that its source had, and all that is to be read of it."""

from collections.abc import Mapping
from typing import NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.referrers import Found


class Part(NamedTuple):
    """A manifest: its media type, its size in bytes, and its platform where an index says one."""

    media_type: str
    size: int
    platform: str = ""


class Resolved(NamedTuple):
    """What a source named: ``digest`` and what it is.

    ``manifests`` are those that are read for what is wanted of it, the chosen ones of an index and those of
    ``hanging``; ``blobs`` are the configs and layers that these name, in bytes, but for foreign ones at their URLs.
    ``hanging`` is what hangs on it, None where that was not asked for.
    """

    digest: Digest
    media_type: str
    size: int
    manifests: Mapping[Digest, Part]
    blobs: Mapping[Digest, int]
    hanging: Found | None = None

    def to_document(self) -> Object:
        """Return the JSON object that `Resolved.read` takes."""
        manifests: dict[str, Json] = {
            str(digest): {
                "media-type": part.media_type,
                "size": part.size,
                **({"platform": part.platform} if part.platform else {}),
            }
            for digest, part in self.manifests.items()
        }
        return {
            "digest": str(self.digest),
            "media-type": self.media_type,
            "size": self.size,
            "manifests": manifests,
            "blobs": {str(digest): size for digest, size in self.blobs.items()},
            **({"hanging": self.hanging.to_document()} if self.hanging is not None else {}),
        }

    @classmethod
    def read(cls, document: Object) -> "Resolved":
        """Return what an object spells that ``schemas/lock.schema.json`` has accepted.

        Raises:
            ContentError: it is malformed all the same.
        """
        fields = Fields(document, "resolved")
        manifests = {
            Digest.parse(digest): Part(part.text("media-type"), part.size(), part.optional_text("platform"))
            for digest, part in _parts(document)
        }
        blobs = fields.object("blobs")
        return cls(
            fields.digest(),
            fields.text("media-type"),
            fields.size(),
            manifests,
            {Digest.parse(digest): blobs.size(digest) for digest in blobs.document},
            Found.read(document["hanging"]) if "hanging" in document else None,
        )


def _parts(document: Object) -> list[tuple[str, Fields]]:
    listed = document["manifests"]
    if not isinstance(listed, dict):
        raise ContentError("resolved: manifests is no object")
    return [(digest, Fields(part, digest)) for digest, part in listed.items() if isinstance(part, dict)]
