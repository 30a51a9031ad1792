"""Docker's v2s1 made v2s2: its config is put together of the history, as Docker and containers-image do.

Sources: Docker "Image Manifest Version 2, Schema 1"; containers-image ``manifest/docker_schema1.go``, whose config this
equals to the byte, and so its image ID.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from transship.pipeline.convert.old_config import is_old, renewed
from transship.pipeline.convert.spelling import joined, members, quoted, time
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.document import Json, Object, dump, load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import DOCKER_CONFIG, DOCKER_MANIFEST, MediaType
from transship.pipeline.manifest.views import Image, Schema1, parse

_ID: Final = re.compile(r"[0-9a-f]{64}")
_NOT_IN_CONFIG: Final = ("id", "parent", "parent_id", "layer_id", "throwaway", "Size")
"""Of the top entry, whose other fields are the config."""
_IN_HISTORY: Final = frozenset({"created", "author", "comment", "throwaway"})
_READ: Final = ("id", "parent", "created", "author", "comment", "throwaway", "container_config")
_KNOWN: Final = {name.casefold(): name for name in _READ}
_TOP: Final = frozenset({"schemaVersion", "mediaType", "fsLayers", "history"})


class Unpacked(NamedTuple):
    """A layer as it was found: its size in bytes, the digest of its tar, and how it is packed."""

    size: int
    diff_id: Digest
    media_type: MediaType


class Lifted(NamedTuple):
    """The v2s2 manifest that a v2s1 one becomes, its config's bytes, and what has no place in either."""

    image: Image
    config: bytes
    losses: tuple[str, ...]


class _Entry(NamedTuple):
    layer: Digest
    text: str
    fields: Fields
    step: str
    """Its JSON in the history of the config."""

    @property
    def id(self) -> str:
        return self.fields.text("id")

    @property
    def empty(self) -> bool:
        return self.fields.document.get("throwaway") is True


def layers(manifest: Schema1) -> tuple[Digest, ...]:
    """Return the layers that the image has as v2s2, base first: not those that are thrown away.

    Raises:
        ContentError: the history is malformed, or its parts are not each the parent of the next.
    """
    return tuple(entry.layer for entry in _entries(manifest) if not entry.empty)


def lift(manifest: Schema1, unpacked: Mapping[Digest, Unpacked]) -> Lifted:
    """Return what ``manifest`` becomes, ``unpacked`` being all of its `layers`.

    Raises:
        ContentError: as `layers` does.
    """
    entries = _entries(manifest)
    kept = [entry.layer for entry in entries if not entry.empty]
    config = _config(entries, [unpacked[layer].diff_id for layer in kept])
    described: list[Json] = [
        {"mediaType": unpacked[layer].media_type, "size": unpacked[layer].size, "digest": str(layer)} for layer in kept
    ]
    made: Object = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": DOCKER_CONFIG, "size": len(config), "digest": str(Digest.of(config))},
        "layers": described,
    }
    view = parse(dump(made), DOCKER_MANIFEST, f"manifest {manifest.digest} as v2s2")
    if not isinstance(view, Image):
        raise TypeError("what was made is an image")
    return Lifted(view, config, _losses(manifest, entries))


def _entries(manifest: Schema1) -> list[_Entry]:
    """Return layers with their history, base first, checked as containers-image checks them."""
    what = f"manifest {manifest.digest}"
    found: list[_Entry] = []
    seen: set[str] = set()
    for number, layer in enumerate(manifest.layers):
        entry = _entry(layer.digest, layer.v1_compatibility, f"{what} history of layer {number}")
        if not _ID.fullmatch(entry.id):
            raise ContentError(f"{entry.fields.where}: {shown(entry.id)!r} is no image ID")
        if found and entry.id == found[-1].id:
            # The same twice in a row; docker once pushed such.
            continue
        parent = entry.fields.optional_text("parent")
        if parent != (found[-1].id if found else ""):
            raise ContentError(f"{entry.fields.where}: its parent is {shown(parent)!r}, which is not what lies below")
        if entry.id in seen:
            raise ContentError(f"{entry.fields.where}: ID {entry.id} stands there twice")
        seen.add(entry.id)
        found.append(entry)
    if not found:
        raise ContentError(f"{what}: a v2s1 manifest without layers")
    return found


def _entry(layer: Digest, text: str, where: str) -> _Entry:
    fields = Fields(load(text.encode(), where), where)
    fields.refuse_misspelt(_KNOWN)
    return _Entry(layer, text, fields, _step(fields))


def _config(entries: list[_Entry], diff_ids: list[Digest]) -> bytes:
    top = entries[-1]
    old = is_old(top.fields.optional_text("docker_version"))
    said = (renewed(top.fields) if old else None) or members(top.text)
    parts = {key: value for key, value in said.items() if key not in _NOT_IN_CONFIG}
    rootfs = {"type": quoted("layers")}
    if diff_ids:
        rootfs["diff_ids"] = "[" + ",".join(quoted(str(diff_id)) for diff_id in diff_ids) + "]"
    parts["rootfs"] = joined(rootfs)
    parts["history"] = "[" + ",".join(entry.step for entry in entries) + "]"
    return joined(dict(sorted(parts.items()))).encode()


def _step(fields: Fields) -> str:
    parts = {"created": quoted(time(fields, "created"))}
    said = {"author": fields.optional_text("author"), "created_by": " ".join(_command(fields))}
    said["comment"] = fields.optional_text("comment")
    parts |= {key: quoted(value) for key, value in said.items() if value}
    if fields.document.get("throwaway") is True:
        parts["empty_layer"] = "true"
    return joined(parts)


def _command(fields: Fields) -> tuple[str, ...]:
    run = fields.optional_object("container_config")
    if run is None:
        return ()
    # Docker's first versions wrote a command of one word without a list.
    said = run.document.get("Cmd")
    return (said,) if isinstance(said, str) else run.texts("Cmd")


def _losses(manifest: Schema1, entries: list[_Entry]) -> tuple[str, ...]:
    top = entries[-1].fields.document
    lost = {f"manifest {key}" for key, value in manifest.document.items() if key not in _TOP and value}
    if manifest.document.get("architecture") == top.get("architecture"):
        lost.discard("manifest architecture")
    lost |= {f"history v1Compatibility {key}" for key in _NOT_IN_CONFIG if key in top and key != "throwaway"}
    for entry in entries[:-1]:
        for key, value in entry.fields.document.items():
            told = key in _IN_HISTORY or (key == "container_config" and isinstance(value, dict) and {*value} <= {"Cmd"})
            lost |= set() if told else {f"history v1Compatibility {key}"}
    return tuple(sorted(lost))
