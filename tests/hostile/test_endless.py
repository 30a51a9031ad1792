"""What does not end: rows 2, 15, 17, 20 and 24, case 33. Each command ends, with a bound on bytes and memory."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hostile.conftest import Build
from support.command import tree
from support.hostile import Reply, Seen
from support.hostile_world import ASK, COMMANDS, IMAGE, READ, Script, digest
from support.images import OCI_INDEX, OCI_MANIFEST, make_image, write_layout
from support.serving import Reply as Answered
from support.serving import served

CONFIG = json.loads(IMAGE.manifest_raw)["config"]["digest"]
ENDLESS = Reply(200, endless=True, headers={"Content-Type": OCI_MANIFEST})


def only(path: str, reply: Reply) -> Callable[[Seen], Reply | None]:
    return lambda seen: reply if path in seen.path and seen.method != "HEAD" else None


@pytest.mark.parametrize("command", [*ASK, "delete"])
def test_row_02_a_manifest_without_end(build: Build, command: str) -> None:
    world = build(Script(instead=only("/manifests/", ENDLESS), headers={}))
    if command == "delete":
        # Asked by HEAD, which says no digest: then by GET.
        bare = Reply(200, headers={"Content-Type": OCI_MANIFEST, "Content-Length": "9"})
        world.registry.script = Script(instead=lambda seen: bare if seen.method == "HEAD" else ENDLESS)
    world.refused(command, "more than the limit of 4194304 bytes")


@pytest.mark.parametrize("command", READ)
@pytest.mark.parametrize("sized", [True, False])
def test_row_02_a_config_without_end(build: Build, command: str, sized: bool) -> None:
    headers = {"Content-Length": str(1 << 30)} if sized else {}
    world = build(Script(instead=only(CONFIG, Reply(200, endless=True, headers=headers))))
    world.refused(command, "Content-Length" if sized else "longer than")


@pytest.mark.parametrize("command", ["list-tags", "inspect", "sync"])
def test_row_02_a_list_of_tags_without_end(build: Build, command: str) -> None:
    world = build(Script(instead=only("/tags/", Reply(200, b'{"tags":["', endless=True))))
    world.refused(command, "more than the limit of 4194304 bytes")


@pytest.mark.parametrize("status", [400, 403, 404, 405, 418])
def test_row_17_an_error_without_end(build: Build, status: int) -> None:
    world = build(Script(instead=lambda _: Reply(status, b'{"errors":[{"code":"X"', endless=True)))
    for command in COMMANDS if status == 403 else ("copy", "list-tags", "delete"):
        world.refused(command, f": {status}")
    assert world.registry.sent < MOST_OF_AN_ERROR


MOST_OF_AN_ERROR = 8 << 20
"""Bytes: 64 KiB are read, the rest is what the kernel had taken in by then."""


def test_row_17_a_refusal_to_log_in_without_end(build: Build) -> None:
    challenge = {"WWW-Authenticate": 'Basic realm="x"'}
    world = build(lambda _: Reply(401, endless=True, headers=challenge))
    for command in COMMANDS:
        world.refused(command, "login refused for user")


def test_row_17_a_transient_error_without_end(build: Build) -> None:
    world = build(Script(instead=lambda _: Reply(503, endless=True)))
    for command in ("copy", "inspect", "list-tags", "delete"):
        world.refused(command, "503")


def test_row_02_a_token_without_end(build: Build) -> None:
    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            return Reply(200, b'{"token":"', endless=True)
        return Reply(401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token"'})

    world = build(script)
    for command in COMMANDS:
        world.refused(command, "more than the limit of 1048576 bytes")


@pytest.mark.parametrize("filler", [b"\0", b"\n", b"\x1b[2J"])
def test_row_24_one_line_of_64_mib_is_cut_and_its_controls_shown(build: Build, filler: bytes) -> None:
    world = build(Script(instead=lambda _: Reply(403, filler * 4000, endless=True, filler=filler * 16384)))
    for command in ("copy", "list-tags", "delete", "run"):
        done = world.refused(command, "403")
        assert max(map(len, done.err.splitlines())) < 1200


def test_row_24_controls_in_what_a_registry_says_are_shown_escaped(build: Build) -> None:
    said = "\x1b[2J\r\nok: \u202e\x9b2J"
    body = json.dumps({"errors": [{"code": said, "message": said}]}).encode()
    world = build(Script(instead=lambda _: Reply(404, body)))
    for command in COMMANDS:
        # A HEAD has no body to say it in.
        world.refused(command, "404" if command == "delete" else "\\x1b[2J\\r\\nok: \\u202e\\x9b2J")


def test_row_24_controls_in_an_image_are_shown_escaped(build: Build) -> None:
    said = "\x1b[2J\u202e\x9b2J\r"
    config = json.dumps({**json.loads(IMAGE.config), "architecture": said, "config": {"Labels": {said: said}}}).encode()
    document = json.loads(IMAGE.manifest_raw)
    document["config"] = {**document["config"], "digest": digest(config), "size": len(config)}
    document["layers"][0]["annotations"] = {said: said}
    world = build(Script(manifest=json.dumps(document).encode(), blobs={digest(config): config}))
    for extra in ((), ("--config",), ("--format", "{{.Architecture}} {{.Labels}} {{json .LayersData}}")):
        done = world.run("inspect", extra=extra)
        assert done.code == 0
        assert "2J" in done.out
    document["config"]["mediaType"] = said
    world.registry.script = Script(manifest=json.dumps(document).encode(), blobs={digest(config): config})
    world.refused("inspect", "\\x1b[2J")


@pytest.mark.parametrize("tag", ["../../x", "a/b", "", ".hidden", "x" * 129, "a\nb", "\x1b[2J", "-", 7, None, ["v1"]])
def test_row_36_what_is_no_tag_is_never_a_path(build: Build, tag: object) -> None:
    world = build(Script(tags=("v1", tag)))
    for command in ("list-tags", "sync", "inspect"):
        world.refused(command, "tags[1] is no tag")


@pytest.mark.parametrize("of", ["itself", "two", "numbers"])
def test_row_15_pages_that_do_not_end(build: Build, of: str) -> None:
    counted = itertools.count()
    pages = {"itself": lambda: "same", "two": lambda: next(counted) % 2, "numbers": lambda: next(counted)}

    def instead(seen: Seen) -> Reply | None:
        link = f'</v2/app/tags/list?last={pages[of]()}>; rel="next"'
        return Reply(200, b'{"tags":["v1"]}', {"Link": link}) if "/tags/" in seen.path else None

    world = build(Script(instead=instead))
    for command in ("list-tags", "sync", "inspect") if of != "numbers" else ("list-tags",):
        world.refused(command, "its pages (Link) do not end")
    assert len(world.registry.seen) <= 2010


def test_row_15_tags_that_do_not_end(build: Build) -> None:
    counted = itertools.count()

    def instead(seen: Seen) -> Reply | None:
        if "/tags/" not in seen.path:
            return None
        number = next(counted)
        tags = [f"{number}-{each}" for each in range(60_000)]
        return Reply(200, json.dumps({"tags": tags}).encode(), {"Link": f'</v2/app/tags/list?n={number}>; rel="next"'})

    world = build(Script(instead=instead))
    world.refused("list-tags", "its tags do not end")


def index(*entries: bytes) -> bytes:
    kind = {0: OCI_MANIFEST, 1: OCI_INDEX}
    listed = [
        {
            "mediaType": kind[b'"manifests"' in raw],
            "digest": digest(raw),
            "size": len(raw),
            "platform": {"os": "linux", "architecture": "amd64"},
        }
        for raw in entries
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).encode()


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_row_15_indexes_in_indexes_end(build: Build, shape: str) -> None:
    """Two hundred levels; and nine levels that each name the next a hundred times, ten to the eighteenth in all."""
    levels = [IMAGE.manifest_raw]
    for _ in range(200 if shape == "deep" else 9):
        levels.append(index(*[levels[-1]] * (1 if shape == "deep" else 100)))
    world = build(Script(manifest=levels[-1], blobs={digest(raw): raw for raw in levels[:-1]}))
    words = "nested too deep" if shape == "deep" else "nested"
    world.refused("inspect", "another index")
    world.refused("verify", words)
    world.refused("run", "nested deeper than 8")
    done = world.run("copy", extra=("--all",))
    assert done.code == 1
    assert "nested deeper than 8" in done.err
    assert len(world.registry.seen) < 100


def test_row_15_an_index_of_many_large_manifests_takes_their_bytes_of_disk_and_not_of_memory(build: Build) -> None:
    children = []
    for number in range(60):
        document = json.loads(make_image(number, layers=1, docker=False).manifest_raw)
        filler = [{"a": 1} for _ in range(6000)]
        children.append(json.dumps({**document, "filler": filler, "number": number}).encode())
    raw = index(*children)
    world = build(Script(manifest=raw, blobs={digest(child): child for child in children}))
    done = world.run("copy", extra=("--all",))
    assert done.code == 1
    assert "404" in done.err


def test_row_20_a_page_of_a_thousand_million_is_not_made(tmp_path: Path) -> None:

    folder = tmp_path / "layout"
    write_layout(folder, {"app:v1": IMAGE})
    with served(folder) as port:
        for target in ("/v2/_catalog?n=1000000000", "/v2/app/tags/list?n=1000000000"):
            answer = Answered(port, target)
            assert answer.status in (200, 400)
            assert len(answer.body) < 10_000


def test_row_22_a_read_only_registry_deletes_nothing_by_any_path(tmp_path: Path) -> None:

    folder = tmp_path / "layout"
    write_layout(folder, {"app:v1": IMAGE})
    before = tree(folder)
    with served(folder) as port:
        for method in ("DELETE", "PUT", "PATCH", "POST"):
            for target in ("manifests/v1", f"manifests/{IMAGE.digest}", f"blobs/{CONFIG}", "blobs/uploads/"):
                assert Answered(port, f"/v2/app/{target}", method).status in (404, 405)
    assert tree(folder) == before


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_row_54_an_encoded_body_is_refused_unread(build: Build, encoding: str) -> None:
    world = build(Script(instead=lambda _: Reply(200, b"", {"Content-Encoding": encoding}, endless=True)))
    for command in (*ASK, "list-tags", "delete"):
        world.refused(command, "answers an encoded body")
