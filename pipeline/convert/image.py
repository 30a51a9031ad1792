"""The plan for one image manifest: new media types, which layers to repack, what is lost.

Sources: OCI image-spec manifest.md; Docker "Image Manifest Version 2, Schema 2".
"""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from transship.pipeline.chunked.annotations import carried, table_of
from transship.pipeline.compression import Compression
from transship.pipeline.convert import original
from transship.pipeline.convert.beyond import BLOB_FIELDS, IMAGE_FIELDS, OF_BYTES, beyond_image, losses, stale
from transship.pipeline.convert.layers import counterpart, no_zstd, packed_so, packed_type
from transship.pipeline.convert.shape import Manifests, Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json, Object, dump
from transship.pipeline.manifest.media_types import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    FOREIGN,
    LAYERS,
    OCI_CONFIG,
    OCI_MANIFEST,
    UNCOMPRESSED,
    ZSTD,
    MediaType,
    decrypted,
    encrypted,
    is_encrypted,
)
from transship.pipeline.manifest.views import Image


class LayerPlan(NamedTuple):
    """What becomes of one layer; ``repack`` None keeps its packing, ``crypt`` empty its bytes too."""

    source: Descriptor
    media_type: MediaType
    repack: Compression | None
    crypt: Literal["", "encrypt", "decrypt"] = ""

    @property
    def remade(self) -> bool:
        """Whether it becomes other bytes."""
        return bool(self.repack or self.crypt)


class ImagePlan(NamedTuple):
    """What becomes of one image; with `unchanged` its raw manifest is kept to the byte.

    ``restored`` is the Docker manifest that it was before, and is again; with ``reversible`` it is kept for that.
    """

    image: Image
    media_type: MediaType
    config_media_type: MediaType
    strict_config: bool
    layers: tuple[LayerPlan, ...]
    losses: tuple[str, ...]
    restored: Image | None = None
    reversible: bool = False

    @property
    def unchanged(self) -> bool:
        """True where nothing at all changes."""
        return (
            self.media_type == self.image.media_type
            and not self.strict_config
            and self.config_media_type == self.image.config.media_type
            and all(not layer.remade and layer.media_type == layer.source.media_type for layer in self.layers)
        )

    def remade(self, diff_ids: tuple[Digest, ...]) -> Iterator[tuple[LayerPlan, Digest]]:
        """Yield each layer that becomes other bytes, and its diff ID.

        Raises:
            ContentError: one that is there twice is to have two diff IDs: its tar can have but one.
        """
        said: dict[Digest, Digest] = {}
        for layer, diff_id in zip(self.layers, diff_ids, strict=False):
            if layer.remade:
                digest = layer.source.digest
                other = said.setdefault(digest, diff_id)
                if other != diff_id:
                    raise ContentError(f"layer {digest}: the config gives it two diff IDs, {other} and {diff_id}")
                yield layer, diff_id

    def stale(self, config: Descriptor, layers: tuple[Descriptor, ...]) -> tuple[str, ...]:
        """Return what `build_manifest` drops with ``config`` and ``layers``, as it spoke of the bytes of before."""
        lost = stale("config descriptor", self.image.config, config)
        for n, (old, new) in enumerate(zip(self.image.layers, layers, strict=True)):
            lost += stale(f"layers[{n}]", old, new)
        return lost


def plan_image(image: Image, shape: Shape) -> ImagePlan:
    """Return what must change for ``image`` to have ``shape``; an artifact never changes.

    Raises:
        ContentError: ``image`` holds something that the target format has no media type for, or a
            foreign layer whose bytes the target must hold; or it must change and may not.
    """
    plan = _plan(image, shape)
    lowered = shape.manifests == "v2s1" and not image.foreign_type
    if shape.preserve and (lowered or not plan.unchanged):
        raise digest_lost(image.digest, image.media_type, plan.media_type)
    return plan


def digest_lost(digest: Digest, have: MediaType, target: MediaType) -> ContentError:
    """Return the error for a manifest that must change where digests are to be preserved."""
    why = f"it is {have} and the destination takes {target}" if have != target else "what is asked for changes it"
    return ContentError(
        f"manifest {digest}: its digest cannot be preserved: {why}",
        advice="leave out --preserve-digests, or write to dir: or docker://, which hold every format",
    )


def refuse_unnamed(image: Image, shape: Shape, config: Callable[[], ImageConfig]) -> None:
    """Raise `ContentError` where an artifact is an image after all, with layers that the format asked for cannot name.

    What hangs on images (signatures, attestations) has the config of an image too, of one that runs nowhere.
    """
    target = _target(image, shape.manifests)
    if not image.foreign_type or not image.is_image or image.artifact_type or image.subject:
        return
    if target == image.media_type or {"", "unknown"} & set(_runs_on(config)):
        return
    for layer in image.layers:
        counterpart(layer, target == OCI_MANIFEST)


def _runs_on(config: Callable[[], ImageConfig]) -> tuple[str, str]:
    try:
        platform = config().platform
    except ContentError:
        # Whatever it is, no image.
        return "", ""
    return platform.os, platform.architecture


def _plan(image: Image, shape: Shape) -> ImagePlan:
    if image.foreign_type:
        return _artifact(image, image.foreign_type, shape)
    image.refuse_large_config()
    elsewhere = [(n, layer) for n, layer in enumerate(image.layers) if layer.is_elsewhere and not shape.downloads]
    # Not fetched, as registries do not hold them: whoever runs the image needs those URLs.
    lost = tuple(f"layers[{n}] content: foreign, only at {shown(layer.urls[0])}" for n, layer in elsewhere)
    target = _target(image, shape.manifests)
    oci, same_format = target == OCI_MANIFEST, target == image.media_type
    strict = shape.config == "strict"
    if not oci and not same_format and not strict and _stay(image, shape):
        found = original.original_image(image, image.config, image.layers)
        if found:
            back = tuple(
                LayerPlan(new, old.media_type, None) for old, new in zip(found.layers, image.layers, strict=True)
            )
            lost += losses(beyond_image(image), beyond_image(found))
            return ImagePlan(image, target, found.config.media_type, False, back, lost, found)
    chosen = _to_encrypt(image, shape)
    layers = tuple(
        _plan_layer(layer, shape, oci, same_format, encrypt=number in chosen)
        for number, layer in enumerate(image.layers)
    )
    lost += tuple(
        f"layers[{n}] table of contents: {table_of(plan.source.annotations)}"
        for n, plan in enumerate(layers)
        if plan.remade and table_of(plan.source.annotations)
    )
    if not oci and not same_format:
        lost += losses(beyond_image(image), {})
    reversible = shape.reversible and oci and not same_format
    if reversible:
        lost += original.too_large(image.raw, "manifest")
    if (reversible or (oci and original.ORIGINAL in image.annotations)) and any(layer.remade for layer in layers):
        lost += ("manifest bytes: its layers are made anew, so that no way leads back to them",)
    # A manifest that keeps its format keeps what it calls its config, were it the other format's word.
    config_type = image.config.media_type if same_format else OCI_CONFIG if oci else DOCKER_CONFIG
    return ImagePlan(image, target, config_type, strict, layers, lost, reversible=reversible)


def _stay(image: Image, shape: Shape) -> bool:
    """Say whether no layer of ``image`` is repacked for ``shape``, by what their descriptors say."""
    wanted = shape.layers
    if any(is_encrypted(layer.media_type) for layer in image.layers):
        return False
    if wanted is None:
        return True
    packed = all(layer.media_type in LAYERS and packed_so(layer, wanted) for layer in image.layers)
    return packed and not shape.force


def _artifact(image: Image, foreign: MediaType, shape: Shape) -> ImagePlan:
    """Return the plan for what is no image (chart, signature, SBOM): to the byte, whatever was asked for."""
    if shape.encrypt:
        raise ContentError(
            f"manifest {image.digest}: not an image but {shown(foreign)}, of which nothing can be encrypted",
            advice="name the platforms that are to be copied",
        )
    if shape.single:
        raise ContentError(
            f"manifest {image.digest}: not an image but {shown(foreign)}; the destination holds images",
            advice="copy it to oci:, oci-archive:, dir: or docker://",
        )
    layers = tuple(LayerPlan(layer, layer.media_type, None) for layer in image.layers)
    return ImagePlan(image, image.media_type, image.config.media_type, False, layers, ())


def build_manifest(plan: ImagePlan, config: Descriptor, layers: tuple[Descriptor, ...]) -> bytes:
    """Return the bytes of the planned manifest with its new ``config`` and ``layers`` (digests and sizes)."""
    if plan.restored:
        return plan.restored.raw
    image = plan.image
    # What stands in a Docker manifest beyond its format stays there as long as that stays one.
    all_fields = plan.media_type in (OCI_MANIFEST, image.media_type)
    made: Object = {"schemaVersion": 2, "mediaType": plan.media_type}
    if all_fields and image.artifact_type:
        made["artifactType"] = image.artifact_type
    made["config"] = _pointing(image.config, config, all_fields)
    made["layers"] = [_pointing(old, new, all_fields) for old, new in zip(image.layers, layers, strict=True)]
    if all_fields:
        rest = {key: value for key, value in image.document.items() if key not in IMAGE_FIELDS | made.keys()}
        made |= {key: rest.pop(key) for key in ("subject", "annotations") if rest.get(key)} | rest
        same = all(old.digest == new.digest for old, new in zip(image.blobs, (config, *layers), strict=True))
        original.annotate(made, image.raw if plan.reversible else b"", same=same)
    return dump(made)


def _target(image: Image, manifests: Manifests) -> MediaType:
    # v2s1 is made of what v2s2 would be.
    made = {"keep": image.media_type, "oci": OCI_MANIFEST, "docker": DOCKER_MANIFEST, "v2s1": DOCKER_MANIFEST}
    return made[manifests]


def _plan_layer(layer: Descriptor, shape: Shape, oci: bool, same_format: bool, *, encrypt: bool) -> LayerPlan:
    if is_encrypted(layer.media_type):
        return _plan_encrypted(layer, shape, oci, same_format)
    plan = _plan_plain(layer, shape, oci, same_format)
    if not encrypt:
        return plan
    if layer.is_elsewhere and not shape.downloads:
        raise ContentError(
            f"layer {layer.digest} is foreign, and cannot be encrypted where it is", advice="say foreign: download"
        )
    try:
        return plan._replace(media_type=encrypted(plan.media_type), crypt="encrypt")
    except ContentError as error:
        # An attestation beside the image: left as it is it would say what shall not be read.
        advice = "name the platforms or the layers that are to be encrypted"
        raise ContentError(f"layer {layer.digest}: {error.message}", advice=advice) from error


def _plan_encrypted(layer: Descriptor, shape: Shape, oci: bool, same_format: bool) -> LayerPlan:
    """Return the plan for a layer that is encrypted already: it stays so, unless there are keys to decrypt it."""
    if shape.decrypt:
        inner = layer._replace(media_type=decrypted(layer.media_type))
        return _plan_plain(inner, shape, oci, same_format)._replace(source=layer, crypt="decrypt")
    if not oci or shape.single:
        what = "which the destination does not hold" if oci else "which Docker's formats do not hold"
        raise ContentError(
            f"layer {layer.digest} is encrypted, {what}",
            advice="give its key: --decryption-key, in a batch file decrypt:",
        )
    return LayerPlan(layer, layer.media_type, None)


def _to_encrypt(image: Image, shape: Shape) -> frozenset[int]:
    """Return the numbers of the layers of ``image`` that are to be encrypted."""
    count = len(image.layers)
    if not shape.encrypt:
        return frozenset()
    for number in shape.encrypt_layers:
        if not -count <= number < count:
            raise ContentError(
                f"manifest {image.digest}: there is no layer {number} to encrypt, it has {count}",
                advice="the first is 0, the last -1",
            )
    return frozenset(number % count for number in shape.encrypt_layers or range(count))


def _plan_plain(layer: Descriptor, shape: Shape, oci: bool, same_format: bool) -> LayerPlan:
    # Attestations and other artifacts ride in images as layers of types of their own.
    packed_already = shape.plain and layer.media_type not in UNCOMPRESSED
    elsewhere = layer.is_elsewhere and not shape.downloads
    if shape.layers is None or packed_already or elsewhere or layer.media_type not in LAYERS:
        if same_format:
            return LayerPlan(layer, layer.media_type, None)
        if not oci and layer.media_type in ZSTD:
            raise no_zstd(layer)
        return LayerPlan(layer, counterpart(layer, oci), None)
    repack = shape.layers if shape.force or not packed_so(layer, shape.layers) else None
    # Its URLs have other bytes then: it is a layer like any other.
    foreign = layer.media_type in FOREIGN and not (repack and layer.urls)
    return LayerPlan(layer, packed_type(layer, shape.layers, oci, foreign), repack)


def _pointing(old: Descriptor, new: Descriptor, all_fields: bool) -> Json:
    """Return the descriptor object of ``new``, with the fields of ``old`` that the format holds."""
    made: Object = {"mediaType": new.media_type, "digest": str(new.digest), "size": new.size}
    same = new.digest == old.digest
    for key, value in (old.document or {}).items():
        if key not in made and (all_fields or key in BLOB_FIELDS) and (same or key not in OF_BYTES):
            made[key] = value
    if all_fields and not same:
        said: Object = {**carried(old.annotations, new.annotations)}
        made |= {"annotations": said}
        if not said:
            del made["annotations"]
    return made
