"""The tables of docs/conversion.md, out of what the code does to documents that have every field.

``PYTHONPATH=tests/path:tests python -m support.conversion_table`` writes them into the page.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.schema1 import entries, make_schema1
from transship.pipeline.convert.image import build_manifest, plan_image
from transship.pipeline.convert.index import rebuild_index
from transship.pipeline.convert.schema1 import Unpacked, layers, lift
from transship.pipeline.convert.shape import Manifests, Shape
from transship.pipeline.convert.strict import strict_config
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest import media_types as types
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.manifest.views import Image, Index, Schema1, parse

PAGE = Path(__file__).parents[2] / "docs" / "conversion.md"
BEGIN, END = "<!-- generated from the code; tests/test_conversion_page.py holds it current -->\n", "<!-- end -->\n"
_LOST, _KEPT = "lost, named", "kept"
_DOCKER = {
    types.OCI_MANIFEST: types.DOCKER_MANIFEST,
    types.OCI_INDEX: types.DOCKER_LIST,
    types.OCI_CONFIG: types.DOCKER_CONFIG,
    types.OCI_LAYER_GZIP: types.DOCKER_LAYER_GZIP,
    types.OCI_FOREIGN_GZIP: types.DOCKER_FOREIGN_GZIP,
}
_RUN = [
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
    "Healthcheck",
    "OnBuild",
    "Shell",
    "StopTimeout",
    "Hostname",
    "Domainname",
    "Image",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
    "NetworkDisabled",
    "MacAddress",
    "Memory",
    "MemorySwap",
    "CpuShares",
    "(unknown)",
]
_CONFIG = [
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
    "container",
    "container_config",
    "docker_version",
    "comment",
    "parent",
    "id",
    "Size",
    "moby.buildkit.buildinfo.v1",
    "(unknown)",
]
_STEP = ["created", "author", "created_by", "comment", "empty_layer", "(unknown)"]


def page_tables() -> str:
    """Return all tables, each under its heading."""
    parts = (
        ("Fields of an image manifest", _manifest_table()),
        ("Fields of an index or list", _index_table()),
        ("Media types", _type_table()),
        ("Fields of a config with `config: strict`", _config_table()),
        ("Fields of a v2s1 manifest, towards v2s2 and OCI", _schema1_table()),
    )
    return "\n".join(f"### {title}\n\n{table}" for title, table in parts)


def replaced(page: str) -> str:
    """Return the page with its tables made anew."""
    head, _, rest = page.partition(BEGIN)
    return f"{head}{BEGIN}\n{page_tables()}\n{END}{rest.partition(END)[2]}"


def _docker(document: Any) -> Any:
    """Return an OCI document with Docker's types."""
    text = json.dumps(document)
    for oci, docker in sorted(_DOCKER.items(), key=lambda pair: -len(pair[0])):
        text = text.replace(f'"{oci}"', f'"{docker}"')
    return json.loads(text)


def _pointer(media_type: str, **more: object) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": str(Digest.of(media_type.encode())),
        "size": 1,
        "annotations": {"a": "b"},
        "data": "eA==",
        "artifactType": "application/x",
        "(unknown)": 1,
        **more,
    }


def _manifest() -> dict[str, object]:
    return {
        "schemaVersion": 2,
        "mediaType": types.OCI_MANIFEST,
        "artifactType": "application/x",
        "config": _pointer(types.OCI_CONFIG),
        "layers": [_pointer(types.OCI_LAYER_GZIP, urls=["https://r.example/x"])],
        "subject": {"mediaType": types.OCI_MANIFEST, "digest": str(Digest.of(b"s")), "size": 1},
        "annotations": {"a": "b"},
        "(unknown)": 1,
    }


def _index() -> dict[str, object]:
    names = ("os", "architecture", "variant", "os.version", "(unknown)")
    platform = dict.fromkeys(names, "x") | {"os.features": ["x"], "features": ["x"]}
    return _manifest() | {
        "mediaType": types.OCI_INDEX,
        "manifests": [_pointer(types.OCI_MANIFEST, urls=["https://r.example/x"], platform=platform)],
    }


def _manifest_table() -> str:
    def turned(document: Any, manifests: Manifests) -> tuple[Any, tuple[str, ...]]:
        image = parse(json.dumps(document).encode())
        assert isinstance(image, Image)
        plan = plan_image(image, Shape(manifests))
        config = Descriptor(plan.config_media_type, image.config.digest, image.config.size)
        made = tuple(Descriptor(layer.media_type, layer.source.digest, layer.source.size) for layer in plan.layers)
        return json.loads(build_manifest(plan, config, made)), plan.losses

    document = _manifest()
    return _both(document, turned)


def _index_table() -> str:
    def turned(document: Any, manifests: Manifests) -> tuple[Any, tuple[str, ...]]:
        index = parse(json.dumps(document).encode())
        assert isinstance(index, Index)
        entry = index.manifests[0]
        kind = MediaType(_DOCKER[types.OCI_MANIFEST] if manifests == "docker" else types.OCI_MANIFEST)
        changed = {entry.digest: Descriptor(kind, entry.digest, entry.size)}
        raw, _, losses = rebuild_index(index, index.manifests, changed, Shape(manifests))
        return json.loads(raw), losses

    document = {key: value for key, value in _index().items() if key not in ("config", "layers")}
    return _both(document, turned)


def _both(document: dict[str, object], turned: Any) -> str:
    docker = _docker(document)
    there, lost_there = turned(docker, "oci")
    back, lost_back = turned(document, "docker")
    rows = [
        (f"`{name}`", _fate(docker, there, path, lost_there), _fate(document, back, path, lost_back))
        for name, path in _places(document)
    ]
    return _table(("field", "Docker to OCI", "OCI to Docker"), rows)


def _places(
    document: Any, name: str = "", path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for key, value in document.items():
        here = f"{name}.{key}" if name else key
        if key in ("config", "layers", "manifests", "platform"):
            inner = value[0] if isinstance(value, list) else value
            way = (*path, key, 0) if isinstance(value, list) else (*path, key)
            yield from _places(inner, f"{here}[]" if isinstance(value, list) else here, way)
        else:
            yield here, (*path, key)


def _fate(before: Any, after: Any, path: tuple[str | int, ...], losses: tuple[str, ...]) -> str:
    old, new = _at(before, path), _at(after, path)
    if new == old:
        return _KEPT
    if new is None:
        named = any(loss.endswith(f" {path[-1]}") for loss in losses)
        return _LOST if named else "dropped without a word"
    if "mediaType" in path:
        return "that of the other format"
    return f"becomes `{new}`"


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        if isinstance(document, dict) and step not in document:
            return None
        document = document[step]
    return document


def _type_table() -> str:
    known = sorted(types.LAYERS | types.IMAGES | types.INDEXES | types.IMAGE_CONFIGS)
    return _table(("media type", "in OCI", "in Docker's formats"), [(f"`{kind}`", *_mapped(kind)) for kind in known])


def _mapped(kind: MediaType) -> tuple[str, str]:
    found = []
    for turn in (types.to_oci, types.to_docker):
        try:
            made = turn(kind)
        except ContentError:
            found.append("an error")
            continue
        zstd = made in types.ZSTD and turn is types.to_docker
        found.append("repacked if `layers:` says so, else an error" if zstd else _KEPT if made == kind else f"`{made}`")
    return found[0], found[1]


def _config_table() -> str:
    document: dict[str, object] = dict.fromkeys(_CONFIG, "x")
    document |= {
        "config": dict.fromkeys(_RUN, "x"),
        "rootfs": {"type": "layers", "diff_ids": [], "(unknown)": "x"},
        "history": [dict.fromkeys(_STEP, "x")],
        "os.features": ["x"],
    }
    raw, dropped = strict_config(ImageConfig.parse(json.dumps(document).encode()))
    made = json.loads(raw)
    rows = [
        (
            place,
            ", ".join(f"`{key}`" for key in said if key in kept),
            ", ".join(f"`{key}`" for key in said if key not in kept),
        )
        for place, said, kept in (
            ("the config", _CONFIG, made),
            ("its `config`", _RUN, made["config"]),
            ("its `rootfs`", ["type", "diff_ids", "(unknown)"], made["rootfs"]),
            ("each `history`", _STEP, made["history"][0]),
        )
    ]
    assert len(dropped) == sum(len(row[2].split(", ")) for row in rows), "something is dropped and not named"
    return _table(("place", "kept", _LOST), rows)


def _schema1_table() -> str:
    history = entries("base", "top")
    for entry in history:
        entry |= {"author": "A", "comment": "C", "container": "c", "config": {}, "docker_version": "1.10.3", "Size": 5}
        entry |= {"parent_id": "p", "layer_id": "l", "architecture": "amd64", "os": "linux", "(unknown)": 1}
        entry["container_config"] = {"Cmd": ["c"], "Image": "i"}
    found = parse(make_schema1(history, signed=True).raw)
    assert isinstance(found, Schema1)
    unpacked = {digest: Unpacked(1, Digest.of(b"x"), types.DOCKER_LAYER_GZIP) for digest in layers(found)}
    made = lift(found, unpacked)
    config = json.loads(made.config)
    moved = {"container_config": "`Cmd` joined is `created_by`, the rest lost, named", "parent": _LOST}
    rows = []
    for key in history[-1]:
        top = "the config" if key in config else _LOST
        step = f"`history.{key}`" if key in config["history"][0] else moved.get(key, _LOST)
        assert key in config or f"history v1Compatibility {key}" in made.losses, key
        rows.append((f"`{key}`", top, step))
    rows.append(("`throwaway`", "no layer; `history.empty_layer`", "no layer; `history.empty_layer`"))
    manifest = [f"`{loss.removeprefix('manifest ')}`" for loss in made.losses if loss.startswith("manifest ")]
    above = f"Of the manifest {', '.join(manifest)} are lost and named; `architecture` if the top entry says another.\n"
    return f"{above}\n{_table(('in v1Compatibility', 'of the top entry', 'of the others'), rows)}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(re.sub(r"\|.*\n", "", page_tables()))
