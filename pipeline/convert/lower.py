"""v2s2 made Docker's v2s1: what only clients of before 2016 need.

Sources: Docker "Image Manifest Version 2, Schema 1"; containers-image ``internal/image/docker_schema2.go``, whose
payload this equals to the byte, and so its digest, for the same name and tag.
"""

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from transship.pipeline.convert.signature import signed
from transship.pipeline.convert.spelling import joined, members, quoted, time
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Object
from transship.pipeline.manifest.fields import Fields

EMPTY_LAYER: Final = bytes.fromhex("1f8b080000096e8800ff621805a360148c5800080000ffff2eafb5ef00040000")
"""The layer that every v2s1 image has where nothing was written: a tar of nothing, as Docker packed it."""
_EMPTY: Final = Digest.of(EMPTY_LAYER)
_HELD: Final = frozenset({"created", "created_by", "author", "comment", "empty_layer"})


class Lowered(NamedTuple):
    """A signed v2s1 manifest, the digest of its payload, and what it does not hold."""

    raw: bytes
    digest: Digest
    losses: tuple[str, ...]


def lower(config: ImageConfig, layers: tuple[Descriptor, ...], named: tuple[str, str]) -> Lowered:
    """Return the v2s1 manifest of an image that has these ``layers``, base first; ``named`` is repository and tag.

    It names `EMPTY_LAYER` too, wherever the history has a step without a layer.

    Raises:
        ContentError: the config has no history, or one that does not fit the layers.
    """
    what = f"config {config.digest}"
    fields = Fields(config.document, what)
    history = fields.optional_objects("history")
    if not history:
        raise ContentError(f"{what}: no history, which v2s1 is made of", advice="say v2s2 or oci")
    filled = config.empty_layers.count(False)
    if filled != len(layers):
        raise ContentError(f"{what}: its history has {filled} steps with a layer, the image {len(layers)} layers")
    steps = list(_steps(history, layers))
    top = _top(config, steps[-1], steps[-2].id if len(steps) > 1 else "")
    texts = [step.text for step in steps[:-1]] + [top]
    name, tag = named
    payload = joined(
        {
            "name": quoted(name),
            "tag": quoted(tag),
            "architecture": quoted(fields.optional_text("architecture")),
            "fsLayers": _listed(joined({"blobSum": quoted(str(step.layer))}) for step in reversed(steps)),
            "history": _listed(joined({"v1Compatibility": quoted(text)}) for text in reversed(texts)),
            "schemaVersion": "1",
        }
    ).encode()
    created = time(fields, "created")
    return Lowered(signed(payload, created), Digest.of(payload), _losses(config.document, history))


class _Step(NamedTuple):
    layer: Digest
    id: str
    text: str


def _steps(history: list[Fields], layers: tuple[Descriptor, ...]) -> Iterator[_Step]:
    """Yield each step with the ID that Docker gives it, base first."""
    left = iter(layers)
    parent = ""
    for fields in history:
        empty = fields.document.get("empty_layer") is True
        layer = _EMPTY if empty else next(left).digest
        own = _id(layer, parent)
        command = fields.optional_text("created_by")
        parts = {"id": quoted(own), "parent": quoted(parent) if parent else ""}
        parts["comment"] = _said(fields, "comment")
        parts["created"] = quoted(time(fields, "created"))
        parts["container_config"] = joined({"Cmd": f"[{quoted(command)}]"})
        parts["author"] = _said(fields, "author")
        parts["throwaway"] = "true" if empty else ""
        yield _Step(layer, own, joined({key: value for key, value in parts.items() if value}))
        parent = own


def _top(config: ImageConfig, step: _Step, parent: str) -> str:
    """Return the entry of the uppermost layer, which is the config itself."""
    raw = config.raw.decode()
    parts = {key: value for key, value in members(raw).items() if key not in ("rootfs", "history")}
    parts["id"] = quoted(_id(step.layer, parent, raw))
    if parent:
        parts["parent"] = quoted(parent)
    if config.empty_layers[-1]:
        parts["throwaway"] = "true"
    return joined(dict(sorted(parts.items())))


def _id(layer: Digest, *others: str) -> str:
    return hashlib.sha256(" ".join((layer.hex, *others)).encode()).hexdigest()


def _said(fields: Fields, key: str) -> str:
    text = fields.optional_text(key)
    return quoted(text) if text else ""


def _listed(parts: Iterator[str]) -> str:
    return "[" + ",".join(parts) + "]"


def _losses(document: Object, history: list[Fields]) -> tuple[str, ...]:
    lost = {f"config history {key}" for step in history for key in step.document if key not in _HELD}
    # The uppermost step is told by the config's own fields.
    command = document.get("container_config")
    words = command.get("Cmd") if isinstance(command, dict) else None
    told = {"created": document.get("created"), "author": document.get("author"), "comment": document.get("comment")}
    told["created_by"] = " ".join(map(str, words)) if isinstance(words, list) else None
    for key, value in told.items():
        said = history[-1].document.get(key)
        if said and said != value:
            lost.add(f"config history[{len(history) - 1}] {key}")
    lost |= {f"config {key}" for key in ("id", "parent", "throwaway") if key in document}
    return tuple(sorted(lost))
