"""The new bytes of an index whose instances were selected or converted. Source: OCI image-spec image-index.md."""

from collections.abc import Mapping, Sequence

from transship.pipeline.convert.image import digest_lost
from transship.pipeline.convert.shape import Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json, Object, dump
from transship.pipeline.manifest.media_types import DOCKER_LIST, OCI_INDEX, MediaType
from transship.pipeline.manifest.views import Index


def rebuild_index(
    index: Index,
    kept: Sequence[Descriptor],
    changed: Mapping[Digest, Descriptor],
    shape: Shape,
    *,
    sparse: bool = False,
) -> tuple[bytes, MediaType, tuple[str, ...]]:
    """Return bytes and type of ``index`` with the entries ``kept``, each pointing at what it became; and the losses.

    Where nothing changes the raw bytes are returned untouched; ``sparse`` where entries that are not kept stay in it.

    Raises:
        ContentError: it must change and may not, or cannot as it is to name what is not there.
    """
    media_type = {"keep": index.media_type, "oci": OCI_INDEX, "docker": DOCKER_LIST}[shape.manifests]
    same = all(changed.get(entry.digest, entry).digest == entry.digest for entry in kept)
    if same and media_type == index.media_type and (sparse or len(kept) == len(index.manifests)):
        return index.raw, media_type, ()
    if sparse:
        raise ContentError(
            f"index {index.digest}: it must change, and so would images that are not copied",
            advice="say --strip-removed-platforms, or write to dir: or docker:// without another format",
        )
    if shape.preserve:
        raise digest_lost(index.digest, index.media_type, media_type)
    oci = media_type == OCI_INDEX
    losses = _losses(index, kept, oci)
    made: Object = {"schemaVersion": 2, "mediaType": media_type}
    if oci and index.artifact_type:
        made["artifactType"] = index.artifact_type
    made["manifests"] = [_entry(entry, changed.get(entry.digest, entry), oci) for entry in kept]
    if oci:
        for key in ("subject", "annotations"):
            if index.document.get(key):
                made[key] = index.document[key]
    return dump(made), media_type, losses


def _entry(old: Descriptor, new: Descriptor, oci: bool) -> Json:
    made: Object = {"mediaType": new.media_type, "digest": str(new.digest), "size": new.size}
    for key, value in (old.document or {}).items():
        if key in made or (key == "data" and new.digest != old.digest):
            continue
        if oci or key in ("platform", "urls"):
            made[key] = value
    return made


def _losses(index: Index, kept: Sequence[Descriptor], oci: bool) -> tuple[str, ...]:
    if oci:
        return ()
    lost = [f"index {key}" for key in ("annotations", "subject", "artifactType") if index.document.get(key)]
    lost += [f"manifests[{entry.digest}] annotations" for entry in kept if entry.annotations]
    return tuple(lost)
