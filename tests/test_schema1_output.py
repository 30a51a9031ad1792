"""``--format v2s1``: the payload that skopeo would sign, under a signature that a registry takes."""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from support.command import command
from support.images import make_image, write_layout
from support.kinds import ARTIFACTS, KINDS, with_config, write_folder
from support.peers import ours, skopeo, upload
from support.registry_server import RegistryServer, running
from support.schema1 import entries, make_schema1
from support.schema1 import write_folder as write_schema1
from transship.pipeline.convert.signature import signed
from transship.pipeline.digest import Digest
from transship.pipeline.manifest.schema1 import unsigned
from transship.pipeline.manifest.views import Schema1, parse

SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
TLS = ("--src-tls-verify=false", "--dest-tls-verify=false")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> "RegistryServer":
    with running(tmp_path_factory.mktemp("registry"), schema1=True) as server:
        yield server


def payload(folder: Path) -> bytes:
    view = parse((folder / "manifest.json").read_bytes())
    assert isinstance(view, Schema1)
    return unsigned(view.raw, view.document)


def spelt():
    """Return an image whose history and config have what Go spells in its own way."""
    step = {"created": "2024-01-02T03:04:05.120000000Z", "author": "A <a@b>", "comment": "c & d"}
    return with_config(
        make_image("spelt", 2),
        history=[
            {**step, "created_by": "RUN a && b > c \u2028"},
            {"created_by": "", "empty_layer": True},
            {**step, "created_by": 'é\n\t"', "created": "2024-01-02T03:04:05+02:00"},
        ],
        n=1.5e300,
        parent="sha256:" + "a" * 64,
        author="me",
    )


@pytest.mark.parametrize(
    "image",
    [spelt(), *(KINDS[kind] for kind in ("docker", "oci", "docker-twice", "docker-127", "oci-plain"))],
    ids=["spelt", "docker", "oci", "twice", "127", "plain"],
)
def test_what_is_signed_is_what_skopeo_signs(tmp_path, image):
    write_folder(tmp_path / "in", image)
    ours(tmp_path, "copy", "--format", "v2s1", "dir:in", "dir:ours")
    skopeo(tmp_path, "copy", "--format", "v2s1", "dir:in", "dir:theirs")
    assert payload(tmp_path / "ours") == payload(tmp_path / "theirs")
    names = [{path.name for path in (tmp_path / folder).iterdir()} for folder in ("ours", "theirs")]
    assert names[0] == names[1]


def test_a_registry_takes_it_and_everybody_reads_it(registry, tmp_path):
    there = f"docker://{registry.name}/team/app"
    upload(registry, "team/app", "v2", make_image("pushed", healthcheck=True))
    ours(tmp_path, "copy", *TLS, "--format", "v2s1", f"{there}:v2", f"{there}:v1")
    raw = json.loads(skopeo(tmp_path, "inspect", "--raw", "--tls-verify=false", f"{there}:v1"))
    assert (raw["schemaVersion"], raw["name"], raw["tag"]) == (1, "team/app", "v1")
    for program in (skopeo, ours):
        folder = f"dir:{program.__name__}"
        program(tmp_path, "copy", "--src-tls-verify=false", "--format", "v2s2", f"{there}:v1", folder)
    views = [json.loads((tmp_path / name / "manifest.json").read_bytes()) for name in ("skopeo", "ours")]
    assert views[0] == views[1]
    layers = [layer["digest"] for layer in views[0]["layers"]]
    assert layers == [str(layer.digest) for layer in make_image("pushed").layers]
    assert "verified" in ours(tmp_path, "verify", "--tls-verify=false", f"{there}:v1")


def test_each_image_of_a_sync_says_its_own_name_as_skopeos_does(registry, tmp_path):
    for tag in ("1.0", "1.1"):
        upload(registry, "sync/app", tag, make_image("synced", healthcheck=tag == "1.0"))
    words = ["sync", "--src", "docker", "--dest", "docker", "--format", "v2s1", *TLS, f"{registry.name}/sync/app"]
    for _ in range(2):
        assert "2 images verified" in ours(tmp_path, *words, f"{registry.name}/ours")
    skopeo(tmp_path, *words, f"{registry.name}/theirs")
    for tag in ("1.0", "1.1"):
        places = [f"docker://{registry.name}/{whose}/app:{tag}" for whose in ("ours", "theirs")]
        mine, its = (json.loads(skopeo(tmp_path, "inspect", "--raw", "--tls-verify=false", place)) for place in places)
        assert (mine.pop("name"), its.pop("name"), mine["tag"]) == ("ours/app", "theirs/app", tag)
        assert mine.pop("signatures")
        assert its.pop("signatures")
        assert mine == its


def test_it_is_the_same_every_time_and_its_signature_holds():
    raw = signed(b'{"schemaVersion":1}', "2024-01-02T03:04:05Z")
    assert raw == signed(b'{"schemaVersion":1}', "2024-01-02T03:04:05Z")
    [made] = json.loads(raw)["signatures"]
    jwk, both = made["header"]["jwk"], decoded(made["signature"])
    numbers = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1())
    signature = encode_dss_signature(int.from_bytes(both[:32]), int.from_bytes(both[32:]))
    text = encoded(b'{"schemaVersion":1}')
    numbers.public_key().verify(signature, f"{made['protected']}.{text}".encode(), ec.ECDSA(SHA256()))
    assert unsigned(raw, json.loads(raw)) == b'{"schemaVersion":1}'


@pytest.mark.parametrize("length", range(24))
def test_each_payload_has_a_signature_of_its_own_that_holds(length):
    text = json.dumps({"a": hashlib.sha256(bytes(length)).hexdigest()}).encode()
    [made] = json.loads(signed(text, ""))["signatures"]
    jwk, both = made["header"]["jwk"], decoded(made["signature"])
    numbers = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1())
    signature = encode_dss_signature(int.from_bytes(both[:32]), int.from_bytes(both[32:]))
    numbers.public_key().verify(signature, f"{made['protected']}.{encoded(text)}".encode(), ec.ECDSA(SHA256()))


def decoded(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(raw):
    return urlsafe_b64encode(raw).decode().rstrip("=")


def number(text):
    return int.from_bytes(decoded(text))


def test_a_list_of_them_is_a_docker_list(tmp_path):
    write_folder(tmp_path / "in", KINDS["docker-list"])
    ours(tmp_path, "copy", "--all", "--format", "v2s1", "dir:in", "dir:out")
    index = json.loads((tmp_path / "out/manifest.json").read_bytes())
    assert {entry["mediaType"] for entry in index["manifests"]} == {SIGNED}
    assert "verified" in ours(tmp_path, "verify", "dir:out")


def test_what_it_does_not_hold_is_said(tmp_path):
    write_layout(tmp_path / "in", {"v1": spelt()})
    done = command(tmp_path, "copy", "--format", "v2s1", "oci:in:v1", "dir:out")
    assert done.returncode == 0
    lost = [line.partition("conversion: ")[2] for line in done.stderr.splitlines() if "lost" in line]
    assert lost == [
        *(f"config history[2] {key}" for key in ("author", "comment", "created", "created_by")),
        "config parent",
    ]
    assert command(tmp_path, "copy", "--fail-on-loss", "--format", "v2s1", "oci:in:v1", "dir:no").returncode == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("image", "words", "message"),
    [
        (KINDS["docker-history"], ("dir:out",), "history has 1 steps with a layer, the image 3 layers"),
        (with_config(make_image("none"), history=[]), ("dir:out",), "no history, which v2s1 is made of"),
        (KINDS["docker"], ("oci:out:v1",), "holds OCI manifests only"),
        (KINDS["docker"], ("--dest-compress-format", "zstd", "dir:out"), "hold no zstd layers"),
        (KINDS["docker"], ("--preserve-digests", "dir:out"), "its digest cannot be preserved"),
    ],
    ids=["short-history", "no-history", "layout", "zstd", "preserve"],
)
def test_what_cannot_be_v2s1_is_a_clear_error(tmp_path, image, words, message):
    write_folder(tmp_path / "in", image)
    done = command(tmp_path, "copy", "--format", "v2s1", *words[:-1], "dir:in", words[-1])
    assert (done.returncode, done.stderr.count("\n"), message in done.stderr) == (1, 1, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_v2s1_itself_and_what_is_no_image_stay_as_they_are(tmp_path):
    old = make_schema1(entries("a", "b"), signed=True)
    write_schema1(tmp_path / "old", old)
    write_folder(tmp_path / "chart", ARTIFACTS["chart"])
    for name, raw in (("old", old.raw), ("chart", ARTIFACTS["chart"].manifest_raw)):
        ours(tmp_path, "copy", "--format", "v2s1", f"dir:{name}", f"dir:{name}-out")
        assert (tmp_path / f"{name}-out/manifest.json").read_bytes() == raw


def test_there_and_back_only_the_last_steps_words_are_gone(tmp_path):
    image = make_image("round")
    write_folder(tmp_path / "in", image)
    ours(tmp_path, "copy", "--format", "v2s1", "dir:in", "dir:old")
    ours(tmp_path, "copy", "--format", "v2s2", "dir:old", "dir:back")
    manifest = json.loads((tmp_path / "back/manifest.json").read_bytes())
    config = json.loads((tmp_path / "back" / Digest.parse(manifest["config"]["digest"]).hex).read_bytes())
    before = json.loads(image.config)
    assert config["history"].pop() == {"created": before["created"], "empty_layer": True}
    before["history"].pop()
    assert config == before
