"""The schemas and the parsed views accept and refuse the same documents; messages name the place."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from support.images import make_image, make_index
from transship import schemas
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.views import parse

DOCKER, OCI = make_image(1, healthcheck=True), make_image(2, docker=False)
BLOB = "sha256:" + "a" * 64
SCHEMA1: dict[str, Any] = {
    "schemaVersion": 1,
    "name": "app",
    "tag": "v1",
    "architecture": "amd64",
    "fsLayers": [{"blobSum": BLOB}],
    "history": [{"v1Compatibility": "{}"}],
}
GOOD: dict[str, dict[str, Any]] = {
    "docker-manifest": DOCKER.document,
    "oci-manifest": OCI.document,
    "docker-list": make_index([DOCKER]).document,
    "oci-index": make_index([OCI], docker=False).document,
    "docker-schema1": SCHEMA1,
}
TYPES = {
    "docker-manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "oci-manifest": "application/vnd.oci.image.manifest.v1+json",
    "docker-list": "application/vnd.docker.distribution.manifest.list.v2+json",
    "oci-index": "application/vnd.oci.image.index.v1+json",
    "docker-schema1": "application/vnd.docker.distribution.manifest.v1+json",
}
GONE = object()
IMAGES, INDEXES = ("docker-manifest", "oci-manifest"), ("docker-list", "oci-index")


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    made = copy.deepcopy(document)
    spot: Any = made
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    for step in steps:
        spot = spot[step]
    if value is GONE:
        del spot[last]
    else:
        spot[last] = value
    return made


CHANGES: list[tuple[tuple[str, ...], str, object]] = [
    ((*IMAGES, *INDEXES), "unknown", {"x": 1}),
    ((*IMAGES, *INDEXES), "annotations", None),
    ((*IMAGES, *INDEXES), "annotations", {"a": "b"}),
    ((*IMAGES, *INDEXES), "annotations", {"a": 1}),
    ((*IMAGES, *INDEXES), "schemaVersion", 1),
    ((*IMAGES, *INDEXES), "schemaVersion", GONE),
    ((*IMAGES, *INDEXES), "mediaType", "application/json"),
    ((*IMAGES, *INDEXES), "mediaType", 5),
    ((*IMAGES, *INDEXES), "subject", {"mediaType": "x", "digest": BLOB, "size": 1}),
    ((*IMAGES, *INDEXES), "subject", {"mediaType": "x", "digest": BLOB}),
    (IMAGES, "config", GONE),
    (IMAGES, "config", None),
    (IMAGES, "config/size", -1),
    (IMAGES, "config/size", 1.0),
    (IMAGES, "config/size", True),
    (IMAGES, "config/size", 1 << 63),
    (IMAGES, "config/digest", "sha256:abc"),
    (IMAGES, "config/digest", BLOB + "\n"),
    (IMAGES, "config/digest", BLOB.upper()),
    (IMAGES, "config/mediaType", GONE),
    (IMAGES, "layers", None),
    (IMAGES, "layers", GONE),
    (IMAGES, "layers", {}),
    (IMAGES, "layers/0", "x"),
    (IMAGES, "layers/0/digest", "sha512:" + "b" * 128),
    (IMAGES, "layers/0/urls", ["https://x"]),
    (IMAGES, "layers/0/urls", [1]),
    (IMAGES, "manifests", []),
    (INDEXES, "layers", []),
    (INDEXES, "config", {}),
    (INDEXES, "manifests", GONE),
    (INDEXES, "manifests", []),
    (INDEXES, "manifests", "x"),
    (INDEXES, "manifests/0/platform", GONE),
    (INDEXES, "manifests/0/platform", "linux"),
    (INDEXES, "manifests/0/platform/os", 1),
    (INDEXES, "manifests/0/digest", "x"),
    (("docker-schema1",), "fsLayers", GONE),
    (("docker-schema1",), "fsLayers/0/blobSum", "x"),
    (("docker-schema1",), "history/0/v1Compatibility", {}),
    (("docker-schema1",), "history", None),
    (("docker-schema1",), "layers", []),
]
TABLE = [(name, path, value) for names, path, value in CHANGES for name in names]


@pytest.mark.parametrize("name", GOOD)
def test_good_manifests(name: str) -> None:
    schemas.validate(name, GOOD[name], "manifest")
    parse(json.dumps(GOOD[name]).encode(), TYPES[name])


@pytest.mark.parametrize(("name", "path", "value"), TABLE)
def test_schema_and_view_agree(name: str, path: str, value: object) -> None:
    document = changed(GOOD[name], path, value)
    try:
        parse(json.dumps(document).encode(), TYPES[name])
        taken = True
    except ContentError:
        taken = False
    if taken:
        schemas.validate(name, document, "manifest")
        return
    with pytest.raises(schemas.SchemaError) as caught:
        schemas.validate(name, document, "manifest")
    assert caught.value.message.startswith("manifest: ")
    assert "\n" not in caught.value.message


CONFIG: dict[str, Any] = json.loads(DOCKER.config)


@pytest.mark.parametrize(
    ("path", "value", "good"),
    [
        ("unknown", 1, True),
        ("history", None, True),
        ("os", 5, False),
        ("rootfs", GONE, False),
        ("rootfs/diff_ids", None, True),
        ("rootfs/diff_ids/0", "x", False),
        ("rootfs/diff_ids/0", 1, False),
        ("history", {}, False),
        ("history/0", 1, False),
    ],
)
def test_config(path: str, value: object, good: bool) -> None:
    document = changed(CONFIG, path, value)
    raw = json.dumps(document).encode()
    if good:
        schemas.validate("image-config", document, "config")
        ImageConfig.parse(raw)
        return
    with pytest.raises(schemas.SchemaError):
        schemas.validate("image-config", document, "config")
    with pytest.raises(ContentError):
        ImageConfig.parse(raw)


@pytest.mark.parametrize(
    ("name", "document", "path", "says"),
    [
        ("oci-manifest", {"schemaVersion": 2}, (), "M: 'config' is missing"),
        ("batch", [], (), "M: is a list, expected an object"),
        ("batch", {"version": 1, "images": [{"from": 1}]}, ("images", 0, "from"), "M: images[0].from: is the number 1"),
        ("batch", {"version": 1, "images": [], "x\n": 1}, ("x\n",), r"M: 'x\n': unknown key; known are version"),
        ("batch", {"version": 2, "images": [{"from": "a"}]}, ("version",), "M: version: is 2, expected 1"),
        (
            "batch",
            {"version": 1, "images": [{"from": "a", "tags": "all"}]},
            ("images", 0, "tags"),
            "expected a list of tags, or an object of regex",
        ),
        (
            "batch",
            {"version": 1, "images": [{"from": "a", "layers": "y" * 999}]},
            ("images", 0, "layers"),
            "expected one of keep, gzip",
        ),
    ],
)
def test_messages(name: str, document: object, path: tuple[str | int, ...], says: str) -> None:
    with pytest.raises(schemas.SchemaError) as caught:
        schemas.validate(name, document, "M")
    assert caught.value.path == path
    assert says in caught.value.message
    assert len(caught.value.message) < 400


def test_every_schema_is_one() -> None:
    for path in Path(schemas.__file__).parent.glob("*.schema.json"):
        document = json.loads(path.read_bytes())
        Draft202012Validator.check_schema(document)
        assert document["$id"] == path.name


def test_importing_costs_no_jsonschema_and_no_bare_name() -> None:
    program = "import sys, transship.schemas; assert 'jsonschema' not in sys.modules"
    root = Path(__file__).parent
    subprocess.run([sys.executable, "-c", program], cwd=root / "path", check=True)
    bare = subprocess.run(
        [sys.executable, "-c", "import schemas"], cwd=root.parent, capture_output=True, text=True, check=False
    )
    assert "import transship.schemas" in bare.stderr
