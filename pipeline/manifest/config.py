"""The view of an image config. Source: OCI image-spec config.md; Docker keeps more fields in it."""

from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.document import Object, load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.platform import Platform

_KNOWN: Final = {key: key for key in ("architecture", "os", "variant", "rootfs", "history", "config", "created")}
_KNOWN_ROOTFS: Final = {"diff_ids": "diff_ids", "type": "type"}


class ImageConfig(NamedTuple):
    """What an image runs as; ``diff_ids`` are the digests of its layers uncompressed, base first."""

    raw: bytes
    platform: Platform
    diff_ids: tuple[Digest, ...]
    empty_layers: tuple[bool, ...]
    document: Object

    @classmethod
    def parse(cls, raw: bytes, what: str = "config") -> "ImageConfig":
        """Return the view of ``raw``.

        Raises:
            ContentError: not strict JSON, or rootfs, diff_ids or history malformed or spelt otherwise.
        """
        fields = config_fields(raw, what)
        rootfs = fields.object("rootfs")
        diff_ids = []
        for text in rootfs.texts("diff_ids"):
            try:
                diff_ids.append(Digest.parse(text))
            except ContentError as error:
                raise ContentError(f"{what} rootfs: diff_ids: {error}") from error
        history = fields.optional_objects("history")
        return cls(
            raw=raw,
            platform=Platform.read(fields),
            diff_ids=tuple(diff_ids),
            empty_layers=tuple(entry.document.get("empty_layer") is True for entry in history),
            document=fields.document,
        )

    def check_layers(self, layers: int, what: str) -> None:
        """Raise `ContentError` unless there is a diff ID for each of so many layers."""
        if len(self.diff_ids) != layers:
            raise ContentError(f"{what}: {len(self.diff_ids)} diff IDs for {layers} layers")

    @property
    def digest(self) -> Digest:
        """The digest of ``raw``: the image ID."""
        return Digest.of(self.raw)


def config_fields(raw: bytes, what: str) -> Fields:
    """Return the fields of a config, of which any may be missing; ``what`` names it in messages.

    Raises:
        ContentError: not strict JSON, or one that is known is spelt otherwise.
    """
    fields = Fields(load(raw, what), what)
    fields.refuse_misspelt(_KNOWN)
    rootfs = fields.optional_object("rootfs")
    if rootfs:
        rootfs.refuse_misspelt(_KNOWN_ROOTFS)
    return fields
