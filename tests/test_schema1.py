"""Docker v2s1 images: kept as they are, or made what containers-image makes of them, down to the image ID."""

import json

import pytest

from support.command import command
from support.peers import ours, skopeo
from support.registry_server import push_blob, put_manifest, running
from support.schema1 import CREATED, EMPTY, entries, make_schema1, write_folder
from transship.pipeline.convert.schema1 import lift
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.media_types import DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED
from transship.pipeline.manifest.views import parse

COMMANDS = ("#(nop) ADD file:1 in /", "#(nop) ENV A=<b> && c", "apt install \u2028 é", '#(nop) CMD ["sh"]')
LOSSES = [
    "history v1Compatibility Size",
    "history v1Compatibility id",
    "history v1Compatibility parent",
    "manifest name",
    "manifest tag",
]


def usual(signed=False):
    return make_schema1(entries(*COMMANDS, empty=(1, 3)), signed=signed)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running(tmp_path_factory.mktemp("registry"), schema1=True) as server:
        image = usual(signed=True)
        for layer in {layer.digest: layer for layer in image.layers}.values():
            push_blob(server, "team/old", layer.packed)
        put_manifest(server, "team/old", "v1", image.raw, DOCKER_SCHEMA1_SIGNED)
        yield server


def config_of(folder):
    manifest = json.loads((folder / "manifest.json").read_bytes())
    return manifest, (folder / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes()


def both(tmp_path, image):
    """Return manifest and config as v2s2, ours and skopeo's."""
    write_folder(tmp_path / "in", image)
    ours(tmp_path, "copy", "--format", "v2s2", "dir:in", "dir:ours")
    skopeo(tmp_path, "copy", "--format", "v2s2", "dir:in", "dir:theirs")
    return config_of(tmp_path / "ours"), config_of(tmp_path / "theirs")


def spelt(**more):
    """Return a history whose top entry has numbers, escapes and white space that another spelling would change."""
    [base, top] = entries("ADD", "RUN a && b")
    text = json.dumps(top | more)
    return [json.dumps(base), '{ "x" : 1.50e1,\t"Y":"\\u00e9\\/\\u003c<\u2028",\n"n": 10000000000000001,' + text[1:]]


@pytest.mark.parametrize(
    "image",
    [
        usual(),
        usual(signed=True),
        make_schema1(entries("one layer")),
        make_schema1(entries("a", "b", empty=(0, 1))),
        make_schema1(spelt()),
        make_schema1(spelt(created="2016-01-02T03:04:05.120000000+02:00", author="", comment="a & b")),
        make_schema1(spelt(created="2016-01-02T03:04:05.000000000+00:00")),
        make_schema1([{**entry, "container_config": None, "created": None} for entry in entries("a", "b")]),
    ],
    ids=["usual", "signed", "one", "all-empty", "spelling", "zone", "utc", "nothing-said"],
)
def test_config_and_layers_are_those_of_skopeo(tmp_path, image):
    (our_manifest, our_config), (their_manifest, their_config) = both(tmp_path, image)
    assert our_config == their_config
    # Of no layers skopeo says null, which the schema does not allow.
    assert our_manifest == their_manifest | {"layers": their_manifest["layers"] or []}


OLD = {
    "docker_version": "1.6.2",
    "container_config": {"Cmd": ["one", "word"], "Memory": 0, "PortSpecs": None, "Cpuset": ""},
    "config": {
        "Memory": 0,
        "Env": ["A=<b>"],
        "Cmd": ["/bin/sh"],
        "Entrypoint": [],
        "Labels": {"b": "&", "a": ""},
        "Volumes": {"/z": {}, "/a": {}},
        "ExposedPorts": {},
        "Tty": True,
        "MacAddress": "",
    },
}


@pytest.mark.parametrize("more", [{}, {"config": None}, {"docker_version": "1.8.3-rc1"}, {"docker_version": "1.10.0"}])
def test_the_config_of_a_docker_before_1_8_3_is_written_anew_as_by_skopeo(tmp_path, more):
    [base, top] = entries("a", "b")
    mine, theirs = both(tmp_path, make_schema1([base, top | OLD | {"Size": 7} | more]))
    assert mine == theirs


@pytest.mark.parametrize(
    "more",
    [{"kernel": "x"}, {"config": {"Memory": 5}}, {"config": {"Labels": {"a": 1}}}, {"container_config": {"x": 1}}],
)
def test_where_that_would_lose_something_all_of_an_old_config_stays(tmp_path, more):
    top = entries("a")[0] | OLD | more
    write_folder(tmp_path / "in", make_schema1([top]))
    ours(tmp_path, "copy", "--format", "v2s2", "dir:in", "dir:ours")
    config = json.loads(config_of(tmp_path / "ours")[1])
    assert {key: config[key] for key in ("config", "container_config")} == {
        key: top[key] for key in ("config", "container_config")
    }
    assert {key: config[key] for key in more} == more


def test_a_command_of_one_word_without_a_list_is_read_where_skopeo_gives_up(tmp_path):
    [base, top] = entries("a", "b")
    write_folder(tmp_path / "in", make_schema1([base | {"container_config": {"Cmd": "word"}}, top]))
    ours(tmp_path, "copy", "--format", "v2s2", "dir:in", "dir:ours")
    assert json.loads(config_of(tmp_path / "ours")[1])["history"][0]["created_by"] == "word"


def test_a_repeated_entry_counts_once_as_in_skopeo(tmp_path):
    history = entries("a", "b", "c")
    mine, theirs = both(tmp_path, make_schema1([history[0], history[1], history[1], history[2]]))
    assert mine == theirs
    assert len(mine[0]["layers"]) == 3


def test_a_registry_is_read_and_each_layer_is_unpacked_for_its_diff_id(registry, tmp_path):
    source = f"docker://{registry.name}/team/old:v1"
    done = command(tmp_path, "copy", "--src-tls-verify=false", source, "oci:out:v1")
    assert done.returncode == 0, done.stderr
    lost = [line.partition("conversion: ")[2] for line in done.stderr.splitlines() if "lost" in line]
    assert lost == sorted([*LOSSES, "manifest signatures"])
    config = json.loads(skopeo(tmp_path, "inspect", "--raw", "--config", "oci:out:v1"))
    kept = [layer for layer in usual().layers if layer is not EMPTY]
    assert config["rootfs"]["diff_ids"] == [str(layer.diff_id) for layer in kept]
    assert [step.get("empty_layer", False) for step in config["history"]] == [False, True, False, True]
    assert config["history"][1]["created_by"] == f"/bin/sh -c {COMMANDS[1]}"
    assert config["config"]["Healthcheck"] == {"Test": ["NONE"]}


def test_a_mirror_of_registries_conf_says_how_large_its_layers_are(registry, tmp_path):
    place = f'location = "{registry.name}/team"\ninsecure = true\n'
    conf = f'[[registry]]\nprefix = "registry.example/t"\n{place}[[registry.mirror]]\n{place}'
    (tmp_path / "conf").write_text(conf)
    ours(tmp_path, "--registries-conf", "conf", "copy", "docker://registry.example/t/old:v1", "oci:out:v1")
    assert "verified" in ours(tmp_path, "verify", "oci:out:v1")


def test_kept_it_has_the_same_bytes_and_digest_everywhere(registry, tmp_path):
    there = f"docker://{registry.name}/team/old"
    digest = str(usual(signed=True).digest)
    ours(tmp_path, "copy", "--src-tls-verify=false", "--preserve-digests", f"{there}:v1", "dir:kept")
    # This registry signs anew each time it is asked; what is signed stays.
    assert skopeo(tmp_path, "manifest-digest", "kept/manifest.json").decode().strip() == digest
    assert b'"signatures"' in (tmp_path / "kept" / "manifest.json").read_bytes()
    assert "verified" in ours(tmp_path, "verify", "dir:kept")
    ours(tmp_path, "copy", "--dest-tls-verify=false", "dir:kept", f"{there}:again")
    for program in (lambda *words: skopeo(tmp_path, *words).decode(), lambda *words: ours(tmp_path, *words)):
        said = program("inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"{there}:again")
        assert said.strip() == digest


def test_in_a_folder_it_keeps_its_very_bytes(tmp_path):
    image = usual(signed=True)
    write_folder(tmp_path / "in", image)
    ours(tmp_path, "copy", "dir:in", "dir:out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == image.raw


def test_a_batch_converts_it_to_every_destination(registry, tmp_path):
    targets = ["oci:out:v1", "dir:flat", "docker-archive:old.tar:team/old:v1", "oci-archive:old.oci:v1"]
    batch = {
        "version": 1,
        "images": [
            {"from": f"docker://{registry.name}/team/old:v1", "to": targets, "manifests": "keep", "platforms": "host"}
        ],
        "registries": {registry.name: {"tls-verify": False}},
    }
    (tmp_path / "batch.yaml").write_text(json.dumps(batch))
    ours(tmp_path, "run", "batch.yaml", "--progress", "none")
    flat = skopeo(tmp_path, "manifest-digest", "flat/manifest.json").decode().strip()
    assert flat == str(usual(signed=True).digest)
    archived = skopeo(tmp_path, "inspect", "--raw", "--config", "docker-archive:old.tar:team/old:v1")
    assert archived == skopeo(tmp_path, "inspect", "--raw", "--config", "oci:out:v1")
    assert archived == skopeo(tmp_path, "inspect", "--raw", "--config", "oci-archive:old.oci:v1")
    report = json.loads(ours(tmp_path, "report", "runs/batch", "--json"))
    by_place = {image["destination"]: image["losses"] for image in report["images"]}
    assert [losses == [] for losses in by_place.values()].count(True) == 1


@pytest.mark.parametrize("words", [("--fail-on-loss",), ("--preserve-digests",)])
def test_where_nothing_may_change_it_is_not_converted(tmp_path, words):
    write_folder(tmp_path / "in", usual())
    done = command(tmp_path, "copy", *words, "dir:in", "oci:out:v1")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_layers_are_repacked_as_asked(tmp_path):
    write_folder(tmp_path / "in", usual())
    for form in ("zstd", "gzip"):
        ours(tmp_path, "copy", "--dest-compress-format", form, "dir:in", f"oci:out:{form}")
    ours(tmp_path, "copy", "--dest-decompress", "dir:in", "oci:out:plain")
    views = [json.loads(skopeo(tmp_path, "inspect", "--raw", f"oci:out:{n}")) for n in ("zstd", "gzip", "plain")]
    assert len({view["config"]["digest"] for view in views}) == 1
    assert [view["layers"][0]["mediaType"].rpartition(".")[2] for view in views] == ["tar+zstd", "tar+gzip", "tar"]


def changed(number, **fields):
    history = entries("a", "b", "c")
    history[number] |= fields
    return history


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (changed(1, parent="0" * 64), "its parent is '0000"),
        (changed(0, parent="0" * 64), "its parent is"),
        (changed(0, id="no hex"), "'no hex' is no image ID"),
        (changed(2, id=None), "id is a NoneType, expected a string"),
        (changed(1, created="yesterday"), "'yesterday' is no time of RFC 3339"),
        (changed(1, container_config={"Cmd": [1]}), "Cmd is not a list of strings"),
        (changed(1, Author="x", ThrowAway=True), "'Author' is 'author' in another spelling"),
        ([*entries("a", "b"), entries("a")[0] | {"parent": entries("a", "b")[1]["id"]}], "stands there twice"),
    ],
)
def test_a_history_that_does_not_hold_together_is_a_clear_error(history, message):
    with pytest.raises(ContentError, match=message):
        lift(parse(make_schema1(history).raw), {})


@pytest.mark.parametrize("text", ["[]", "{", '{"id": "a", "id": "a"}', '"\\ud800"', "\ud800"])
def test_a_history_entry_that_is_no_json_object_is_a_clear_error(text):
    document = json.loads(usual().raw)
    document["history"][0]["v1Compatibility"] = text
    with pytest.raises(ContentError):
        lift(parse(json.dumps(document).encode()), {})


def test_more_layers_than_history_is_said_before_anything_is_fetched(tmp_path):
    document = json.loads(usual().raw)
    document["history"].pop()
    with pytest.raises(ContentError, match="4 fsLayers but 3 history entries"):
        parse(json.dumps(document).encode(), DOCKER_SCHEMA1)


def test_a_layer_that_is_not_there_or_damaged_leaves_the_destination_alone(tmp_path):
    image = usual()
    write_folder(tmp_path / "in", image)
    layer = tmp_path / "in" / image.layers[0].digest.hex
    layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    done = command(tmp_path, "copy", "dir:in", "oci:out:v1")
    assert (done.returncode, "digest does not match" in done.stderr) == (1, True), done.stderr
    layer.unlink()
    done = command(tmp_path, "copy", "dir:in", "oci:out:v1")
    assert done.returncode == 1
    assert str(image.layers[0].digest.hex) in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_entry_without_a_time_was_created_never(tmp_path):
    history = entries("a")
    del history[0]["created"]
    (_, mine), (_, theirs) = both(tmp_path, make_schema1(history))
    assert json.loads(mine)["history"][0]["created"] == "0001-01-01T00:00:00Z"
    assert mine == theirs
    assert CREATED.encode() not in mine


def test_it_is_locked_and_goes_into_a_bundle_as_any_other(registry, tmp_path):
    said = {"version": 1, "name": "old", "registries": {registry.name: {"tls-verify": False}}}
    source = f"docker://{registry.name}/team/old:v1"
    (tmp_path / "b.json").write_text(json.dumps({**said, "images": [{"from": source, "to": ["oci:out:v1"]}]}))
    for words in (
        ("lock", "b.json", "-o", "l.json"),
        ("lock", "b.json", "--check", "l.json"),
        ("run", "l.json"),
        ("bundle", "create", "l.json", "-o", "b.tar"),
        ("bundle", "create", "b.json", "-o", "since.tar", "--since", "l.json"),
        ("bundle", "verify", "b.tar", "since.tar"),
    ):
        done = command(tmp_path, *words)
        assert done.returncode == 0, (words, done.stderr)
    locked = json.loads((tmp_path / "l.json").read_bytes())["images"][0]["resolved"]
    assert locked["media-type"] == DOCKER_SCHEMA1_SIGNED
    inside = command(tmp_path, "inspect", "--raw", f"bundle:b.tar:{source.removeprefix('docker://')}").stdout
    assert inside == command(tmp_path, "inspect", "--raw", "oci:out:v1").stdout
