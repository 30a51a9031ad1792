"""The documents that ``inspect`` shows, from a manifest and its config.

Sources: skopeo-inspect(1); OCI image-spec config.md for the form of ``--config``; Docker "Image
Manifest Version 2, Schema 1" for what its history entries hold.
"""

from collections.abc import Sequence

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.inspection.values import (
    NIL_LIST,
    NIL_MAP,
    NIL_POINTER,
    ZERO_TIME,
    Field,
    Nil,
    Struct,
    Time,
    Value,
)
from transship.pipeline.manifest.config import config_fields
from transship.pipeline.manifest.document import load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import DOCKER_MANIFEST
from transship.pipeline.manifest.schema1 import unsigned
from transship.pipeline.manifest.views import Image, Index, Manifest, Schema1


def digest_of(manifest: Manifest, algorithm: str) -> Digest:
    """Return the digest of a manifest by ``algorithm``; of a signed v2s1 one without its signatures."""
    raw = unsigned(manifest.raw, manifest.document) if isinstance(manifest, Schema1) else manifest.raw
    return Digest.of(raw, algorithm)


def summary(name: str, digest: Digest, tags: Sequence[str] | None, image: Manifest, config: bytes) -> Struct:
    """Return the summary of ``image``; ``tags`` None where the registry does not tell them.

    ``digest`` is of what the reference names, which may be an index that has ``image``.

    Raises:
        ContentError: the config is malformed, or this is no image.
    """
    if isinstance(image, Index):
        raise ContentError(f"index {image.digest}: it stands in another index, where an image is expected")
    layers: tuple[Field, ...]
    if isinstance(image, Schema1):
        said = Fields(load(image.layers[-1].v1_compatibility.encode(), "v1Compatibility"), "v1Compatibility")
        tag = Fields(image.document, "manifest").optional_text("tag")
        described = [_layer("", layer.digest, -1, NIL_MAP) for layer in image.layers]
        zero = True
    else:
        refuse_artifact(image)
        said = config_fields(config, f"config {image.config.digest}")
        tag = ""
        described = [
            _layer(layer.media_type, layer.digest, layer.size, layer.annotations or NIL_MAP) for layer in image.layers
        ]
        zero = image.media_type == DOCKER_MANIFEST
    created = _time(said, "created")
    run = said.optional_object("config")
    layers = (
        _same("Layers", [str(layer.get("Digest")) for layer in described]),
        _same("LayersData", described),
    )
    return Struct(
        (
            Field("Name", "Name", name, True),
            Field("Tag", "Tag", tag, True),
            _same("Digest", str(digest)),
            _same("RepoTags", NIL_LIST if tags is None else list(tags)),
            _same("Created", ZERO_TIME if zero and created is NIL_POINTER else created),
            _same("DockerVersion", said.optional_text("docker_version")),
            _same("Labels", _map(run, "Labels")),
            _same("Architecture", said.optional_text("architecture")),
            _same("Os", said.optional_text("os")),
            *layers,
            _same("Env", _texts(run, "Env")),
        )
    )


def oci_config(raw: bytes, what: str) -> Struct:
    """Return a config with the fields that OCI knows, in their order; raises `ContentError` as `summary` does."""
    said = config_fields(raw, what)
    run = said.optional_object("config")
    rootfs = said.optional_object("rootfs")
    return Struct(
        (
            Field("Created", "created", _time(said, "created"), True),
            _text(said, "Author", "author"),
            Field("Architecture", "architecture", said.optional_text("architecture")),
            Field("OS", "os", said.optional_text("os")),
            _text(said, "OSVersion", "os.version"),
            Field("OSFeatures", "os.features", _texts(said, "os.features"), True),
            _text(said, "Variant", "variant"),
            Field("Config", "config", _run(run or Fields({}, what))),
            Field("RootFS", "rootfs", _rootfs(rootfs or Fields({}, what))),
            Field("History", "history", [_step(step) for step in said.optional_objects("history")], True),
        )
    )


def refuse_artifact(image: Image) -> None:
    """Raise `ContentError` for an artifact, whose config is no image config."""
    if not image.is_image:
        raise ContentError(
            f"manifest {image.digest}: its config is {shown(image.config.media_type)!r}, it is no image",
            advice="--raw shows its manifest",
        )


def _layer(media_type: str, digest: Digest, size: int, annotations: Value) -> Struct:
    return Struct(
        (
            _same("MIMEType", media_type),
            _same("Digest", str(digest)),
            _same("Size", size),
            _same("Annotations", annotations),
        )
    )


def _run(run: Fields) -> Struct:
    return Struct(
        (
            _text(run, "User", "User"),
            Field("ExposedPorts", "ExposedPorts", _set(run, "ExposedPorts"), True),
            *(Field(key, key, _texts(run, key), True) for key in ("Env", "Entrypoint", "Cmd")),
            Field("Volumes", "Volumes", _set(run, "Volumes"), True),
            _text(run, "WorkingDir", "WorkingDir"),
            Field("Labels", "Labels", _map(run, "Labels"), True),
            _text(run, "StopSignal", "StopSignal"),
            Field("ArgsEscaped", "ArgsEscaped", run.document.get("ArgsEscaped") is True, True),
        )
    )


def _rootfs(rootfs: Fields) -> Struct:
    return Struct(
        (
            Field("Type", "type", rootfs.optional_text("type")),
            Field("DiffIDs", "diff_ids", _texts(rootfs, "diff_ids")),
        )
    )


def _step(step: Fields) -> Struct:
    return Struct(
        (
            Field("Created", "created", _time(step, "created"), True),
            _text(step, "CreatedBy", "created_by"),
            _text(step, "Author", "author"),
            _text(step, "Comment", "comment"),
            Field("EmptyLayer", "empty_layer", step.document.get("empty_layer") is True, True),
        )
    )


def _same(name: str, value: Value) -> Field:
    return Field(name, name, value)


def _text(fields: Fields, name: str, key: str) -> Field:
    return Field(name, key, fields.optional_text(key), True)


def _time(fields: Fields, key: str) -> Time | Nil:
    text = fields.optional_text(key)
    return Time.parse(text, f"{fields.where} {key}") if text else NIL_POINTER


def _texts(fields: Fields | None, key: str) -> Value:
    return list(fields.texts(key)) if fields and fields.document.get(key) is not None else NIL_LIST


def _map(fields: Fields | None, key: str) -> Value:
    return fields.text_map(key) if fields and fields.document.get(key) is not None else NIL_MAP


def _set(fields: Fields, key: str) -> Value:
    found = fields.optional_object(key)
    return {name: Struct(()) for name in found.document} if found else NIL_MAP
