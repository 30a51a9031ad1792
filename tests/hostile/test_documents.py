"""Documents that a registry should not send: rows 1, 3, 16, 18, 52, 56 and 57, cases 33 and 35.

A row is one of the past bugs listed in docs/threat-model.md.
"""

import json
import time
from typing import Any

import pytest

from hostile.conftest import Build
from support.figures import figure
from support.hostile import Reply, Seen
from support.hostile_world import ASK, COMMANDS, IMAGE, Script, changed, digest
from support.images import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST

LAYER: Any = json.loads(IMAGE.manifest_raw)["layers"][0]
RAW = IMAGE.manifest_raw
DIGESTS = [
    "sha256:../../../../x/pwned",
    "../../../x/manifests/latest",
    "abcd",
    "sha256:abcd",
    "sha256:" + "A" * 64,
    "md5:" + "a" * 32,
    "sha256:" + "a" * 64 + "/../../x",
    "sha256:" + "a" * 63 + "\u0661",
]
SIZES = {"2^62": 1 << 62, "-1": -1, "7": 7, "12.5": 12.5, "10^23": 10**23, "text": "9", "true": True}


@pytest.mark.parametrize("where", ["config", "layers"])
@pytest.mark.parametrize("text", DIGESTS)
def test_row_01_a_digest_is_checked_before_it_is_part_of_a_path_or_url(build: Build, where: str, text: str) -> None:
    def spoil(document: Any) -> None:
        (document["layers"][0] if where == "layers" else document["config"])["digest"] = text

    world = build(Script(manifest=changed(spoil)))
    for command in ASK:
        world.refused(command, f"{where}[0]: digest: not a digest" if where == "layers" else "config: digest: not a")
    assert not [seen for seen in world.registry.seen if "/blobs/" in seen.path]
    assert not [seen for seen in world.registry.seen if "pwned" in seen.target or ".." in seen.target]


def test_row_01_a_digest_in_a_header_is_checked_too(build: Build) -> None:
    world = build(Script(headers={"Docker-Content-Digest": "sha256:../../x"}))
    for command in (*ASK, "delete"):
        world.refused(command, "Docker-Content-Digest: not a digest")


AMBIGUOUS = {
    "ambig": (changed(lambda document: document.update(manifests=[])), None),
    "ambig-untyped": (
        changed(lambda document: [document.pop("mediaType"), document.update(manifests=[])]),
        OCI_MANIFEST,
    ),
    "said-index": (changed(lambda document: document.update(mediaType=OCI_INDEX)), OCI_MANIFEST),
    "sent-as-index": (RAW, OCI_INDEX),
    "sent-as-docker": (RAW, DOCKER_MANIFEST),
    "shape": (changed(lambda document: [document.pop("config"), document.pop("layers")]), None),
    "v1-and-v2": (changed(lambda document: document.update(fsLayers=[])), None),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_row_03_media_type_content_type_and_shape_must_agree(build: Build, name: str) -> None:
    manifest, media_type = AMBIGUOUS[name]
    world = build(Script(manifest=manifest, media_type=media_type))
    for command in ASK:
        world.refused(command, "manifest")
    assert not [seen for seen in world.registry.seen if "/blobs/" in seen.path]


@pytest.mark.parametrize("name", SIZES)
def test_row_16_nothing_is_allocated_by_a_declared_size(build: Build, name: str) -> None:
    def spoil(document: Any) -> None:
        document["layers"][0]["size"] = SIZES[name]

    world = build(Script(manifest=changed(spoil)))
    says = "by its descriptor it is" if name in ("2^62", "7") else "digits" if name == "10^23" else "layers[0]: size"
    for command in ("copy", "verify", "run", "sync", "layers"):
        world.refused(command, says)


def test_row_16_a_blob_that_never_says_how_long_it_is_ends_where_it_ends(build: Build) -> None:
    def spoil(document: Any) -> None:
        document["layers"][0]["size"] = 1 << 62

    def instead(seen: Any) -> Reply | None:
        return Reply(200, b"short", unsized=True) if seen.path.endswith(LAYER["digest"]) else None

    world = build(Script(manifest=changed(spoil), instead=instead))
    world.refused("copy", LAYER["digest"])


@pytest.mark.parametrize("claimed", ["asked", "sent", ""])
def test_row_18_the_digest_asked_for_is_the_one_that_counts(build: Build, claimed: str) -> None:
    said = {"asked": str(IMAGE.digest), "sent": digest(OTHER), "": ""}[claimed]
    headers = {"Docker-Content-Digest": said} if said else {}
    world = build(Script(manifest=OTHER, headers=headers))
    for command in ("copy", "inspect", "verify", "run", "layers"):
        world.refused(command, "digest does not match", f"app@{IMAGE.digest}")


OTHER = changed(lambda document: document.update(annotations={"other": "yes"}))
TWICE = b'{"schemaVersion":2,' + RAW.strip()[1:]
BROKEN = {
    "twice": (TWICE, "key 'schemaVersion' stands twice"),
    "case": (changed(lambda document: document.update(Layers=[])), "'Layers'"),
    "case-inside": (changed(lambda document: document["config"].update(Digest="x")), "differ in case alone"),
    "folds": (changed(lambda document: document.update({"layer\u017f": []})), "differ in case alone"),
    "nan": (changed(lambda document: document.update(extra=float("nan"))), "NaN is not JSON"),
    "infinity": (changed(lambda document: document.update(extra=float("-inf"))), "-Infinity is not JSON"),
    "huge-int": (RAW.replace(b"{", b'{"x":' + b"9" * 5000 + b",", 1), "number of 5000 digits"),
    "huge-float": (RAW.replace(b"{", b'{"x":1e400,', 1), "number out of range"),
    "trailing": (RAW + b"{}", "Extra data"),
    "trailing-nul": (RAW + b"\0", "Extra data"),
    "bom": (b"\xef\xbb\xbf" + RAW, "not JSON"),
    "utf-16": (RAW.decode().encode("utf-16"), "not UTF-8"),
    "deep": (RAW.replace(b"{", b'{"x":' + b"[" * 65 + b"]" * 65 + b",", 1), "nested deeper than 64"),
    "deepest": (RAW.replace(b"{", b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b",", 1), "nested deeper than 64"),
    "null": (b"null", "expected a JSON object"),
    "empty": (b"", "not JSON"),
    "half-a-pair": (RAW.replace(b"{", b'{"x":"\\ud800",', 1), "half a surrogate pair"),
    "brackets": (RAW.replace(b"{", b'{"x":[' + b"[]," * 1_000_000 + b"[]],", 1), "too many values"),
    "objects": (RAW.replace(b"{", b'{"x":[' + b'{"a":1},' * 500_000 + b"1],", 1), "too many values"),
    "just-under": (RAW.replace(b"{", b'{"layers2":[' + b'{"a":1},' * 87_000 + b"1],", 1), ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_row_57_json_with_more_than_one_meaning_is_refused(build: Build, name: str) -> None:
    """Rows 52, 56 and 57, and 35: what a document may cost."""
    raw, says = BROKEN[name]
    world = build(Script(manifest=raw, media_type=OCI_MANIFEST))
    for command in ASK if name in ("twice", "case", "deepest", "brackets") else ("copy", "inspect"):
        if says:
            world.refused(command, says)
        else:
            world.run(command)


@pytest.mark.parametrize("name", ["twice", "nan", "trailing", "deep", "brackets"])
def test_row_57_a_config_is_read_as_strictly_as_a_manifest(build: Build, name: str) -> None:
    config = IMAGE.config.rstrip()
    spoilt = {
        "twice": b'{"os":"linux",' + config[1:],
        "nan": b'{"x":NaN,' + config[1:],
        "trailing": config + b"{}",
        "deep": b'{"x":' + b"[" * 65 + b"]" * 65 + b"," + config[1:],
        "brackets": b'{"x":[' + b"[]," * 1_000_000 + b"[]]," + config[1:],
    }[name]
    world = build(Script(manifest=with_config(spoilt), blobs={digest(spoilt): spoilt}))
    world.refused("inspect", f"config {digest(spoilt)}: ")


def with_config(raw: bytes) -> bytes:
    return changed(lambda document: document["config"].update(digest=digest(raw), size=len(raw)))  # type: ignore[attr-defined]


def test_case_35_twenty_thousand_layers_cost_no_more_than_they_must(build: Build) -> None:
    def spoil(document: Any) -> None:
        document["layers"] = [{**LAYER, "digest": f"sha256:{number:064x}"} for number in range(20_000)]

    raw = changed(spoil)
    assert len(raw) > 3 << 20
    world = build(Script(manifest=raw))
    begun = time.monotonic()
    read = world.run("inspect")
    assert read.code == 0
    above = (read.memory - world.zygote.idle) >> 20
    figure(35, f"inspect: exit 0 in {time.monotonic() - begun:.1f} s, {above} MiB above an idle process")
    world.refused("copy", "404")
    asked = len([seen for seen in world.registry.seen if "/blobs/" in seen.path])
    figure(35, f"copy, of layers that are not there: ends after {asked} requests for blobs")
    assert asked < 20


@pytest.mark.parametrize("change", [-1, 1])
def test_row_41_counts_that_do_not_fit_are_refused_before_anything_is_unpacked(build: Build, change: int) -> None:
    config = json.loads(IMAGE.config)
    ids = config["rootfs"]["diff_ids"]
    made = json.dumps({**config, "rootfs": {"diff_ids": ids[:-1] if change < 0 else [*ids, ids[0]]}}).encode()
    world = build(Script(manifest=with_config(made), blobs={digest(made): made}))
    done = world.zygote.run(
        world.folder / "work", "copy", "--src-tls-verify=false", "--authfile=../auth.json",
        f"docker://{world.registry.name}/app:v1", "docker-archive:out.tar:x",
    )  # fmt: skip
    world.check(done)
    assert done.code == 1
    assert f"{len(ids) + change} diff IDs for {len(ids)} layers" in done.err
    assert not (world.folder / "work/out.tar").exists()


def spoilt(raw: bytes, key: str) -> dict[str, tuple[bytes, str]]:
    """Return ``raw``, an object with ``key``, in ways that readers disagree about, and what is said of each."""
    first = f'{{"{key}":[],'.encode()
    return {
        "twice": (first + raw[1:], f"key '{key}' stands twice"),
        "case": (first.replace(key.encode(), key.upper().encode()) + raw[1:], "differ in case alone"),
        "nan": (b'{"x":NaN,' + raw[1:], "NaN is not JSON"),
        "huge": (b'{"x":' + b"9" * 5000 + b"," + raw[1:], "number of 5000 digits"),
        "deep": (b'{"x":' + b"[" * 70 + b"]" * 70 + b"," + raw[1:], "nested deeper than 64"),
        "deepest": (b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"," + raw[1:], "nested deeper than 64"),
        "trailing": (raw + b"{}", "Extra data"),
        "bom": (b"\xef\xbb\xbf" + raw, "not JSON"),
        "utf-16": (raw.decode().encode("utf-16"), "not UTF-8"),
        "null": (b"null", "expected a JSON object, got NoneType"),
        "list": (b"[]", "expected a JSON object, got list"),
        "empty": (b"", "not JSON"),
    }


TAGS = b'{"name":"app","tags":["v1"]}'
TOKEN = b'{"token":"canary-pa55word","expires_in":60}'
REFERRERS = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()


def test_row_57_a_list_of_tags_is_read_as_strictly_as_a_manifest(build: Build) -> None:
    """By `list-tags`, and by `inspect` and `sync` in turn; a list in another spelling would be none at all."""
    script = Script()
    world = build(script)
    ways = {**spoilt(TAGS, "tags"), "spelling": (TAGS.replace(b"tags", b"Tags"), "another spelling")}
    for turn, (raw, says) in enumerate(ways.values()):
        script.instead = lambda seen, raw=raw: Reply(200, raw) if "/tags/" in seen.path else None  # type: ignore[misc]
        world.refused("list-tags", says)
        world.refused(("inspect", "sync")[turn % 2], says)


def test_row_57_a_token_servers_answer_is_read_as_strictly_and_not_shown(build: Build) -> None:
    sent = [b""]

    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            return Reply(200, sent[0])
        return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token"'})

    world = build(script)
    for turn, (raw, says) in enumerate(spoilt(TOKEN, "token").values()):
        sent[0] = raw
        # The token is the password, which no command may say.
        done = world.refused(COMMANDS[turn % len(COMMANDS)], "/token: the token server's answer: ")
        assert says in done.err


def test_row_57_a_list_of_referrers_is_read_as_strictly_as_a_manifest(build: Build) -> None:
    script = Script()
    world = build(script)
    for raw, says in spoilt(REFERRERS, "manifests").values():
        answers = {"/referrers/": Reply(200, raw, {"Content-Type": OCI_INDEX}), "/manifests/sha256-": Reply(404)}
        script.instead = lambda seen, answers=answers: next(  # type: ignore[misc]
            (reply for part, reply in answers.items() if part in seen.path), None
        )
        done = world.zygote.run(
            world.folder / "work", "copy", "--retry-times=0", "--referrers", "--src-tls-verify=false",
            "--authfile=../auth.json", f"docker://{world.registry.name}/app:v1", "oci:out:x",
        )  # fmt: skip
        world.check(done)
        assert (done.code, done.err.count("\n")) == (1, 1), done.err
        assert says in done.err
        assert "/referrers/" in done.err


@pytest.mark.parametrize("key", ["RootFS", "Architecture", "diff_IDs"])
def test_row_57_a_config_in_another_spelling_is_refused(build: Build, key: str) -> None:
    """Go takes it; who does not would say that there is nothing."""
    said = IMAGE.config.replace(f'"{key.lower()}"'.encode(), f'"{key}"'.encode(), 1)
    world = build(Script(manifest=with_config(said), blobs={digest(said): said}))
    world.refused("inspect", f"key {key!r} is {key.lower()!r} in another spelling")
