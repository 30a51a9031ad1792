"""What of layers is repacked, what is not, and that the same comes out on any day."""

import gzip
import json
import tarfile

import pytest

from support.images import ImageBytes, make_image, make_layer, write_layout
from support.kinds import with_config
from test_chunked import packed, sample
from transship.pipeline.cli.main import main
from transship.pipeline.digest import Digest


def manifest_of(folder):
    index = json.loads((folder / "index.json").read_text())
    digest = index["manifests"][0]["digest"].removeprefix("sha256:")
    return json.loads((folder / "blobs/sha256" / digest).read_text())


def layers_of(folder):
    return [layer["digest"] for layer in manifest_of(folder)["layers"]]


def copied(*words):
    assert main(["copy", "-q", *map(str, words)]) == 0


@pytest.fixture
def source(tmp_path):
    image = make_image("repacked", docker=False)
    write_layout(tmp_path / "src", {"v1": image})
    return tmp_path / "src"


def test_another_level_touches_no_layer_that_has_the_codec(tmp_path, source):
    wish = ("--dest-compress-format", "gzip", "--dest-compress-level", "1")
    copied(*wish, f"oci:{source}:v1", f"oci:{tmp_path}/kept:v1")
    assert layers_of(tmp_path / "kept") == layers_of(source)
    copied("--dest-compress-again", *wish, f"oci:{source}:v1", f"oci:{tmp_path}/again:v1")
    assert not set(layers_of(tmp_path / "again")) & set(layers_of(source))


def mixed():
    """Return an image whose middle layer is plain, the others gzip."""
    image = make_image("mixed", docker=False)
    document, layer = json.loads(image.manifest_raw), image.layers[1]
    document["layers"][1] |= {
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": str(layer.diff_id),
        "size": len(layer.tar),
    }
    return ImageBytes(json.dumps(document).encode(), image.media_type, {**image.blobs, layer.diff_id: layer.tar})


def test_only_layers_that_must_change_do(tmp_path):
    write_layout(tmp_path / "src", {"v1": mixed()})
    copied("--dest-compress-format", "gzip", f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/out:v1")
    before, after = layers_of(tmp_path / "src"), layers_of(tmp_path / "out")
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("kind", "level", "right"),
    [("gzip", 9, True), ("gzip", 10, False), ("zstd", 20, True), ("zstd", 21, False), ("zstd:chunked", 0, False)],
)
def test_each_codec_has_levels_of_its_own(tmp_path, source, kind, level, right, capsys):
    wish = ("--dest-compress-format", kind, "--dest-compress-level", str(level))
    code = main(["copy", "-q", *wish, f"oci:{source}:v1", f"oci:{tmp_path}/out:v1"])
    assert (code == 0) == right
    assert (f"{kind} has levels 1 to " in capsys.readouterr().err) != right


@pytest.mark.parametrize("kind", ["zstd", "zstd:chunked", "gzip"])
def test_a_layer_that_is_not_what_the_config_says_is_named_with_both_digests(tmp_path, kind, capsys):
    image = make_image("wrong", docker=False)
    document = json.loads(image.manifest_raw)
    config = json.loads(image.blobs[Digest.parse(document["config"]["digest"])])
    right, wrong = config["rootfs"]["diff_ids"][2], "sha256:" + "0" * 64
    config["rootfs"]["diff_ids"][2] = wrong
    raw = json.dumps(config).encode()
    document["config"] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    bad = ImageBytes(json.dumps(document).encode(), image.media_type, {**image.blobs, Digest.of(raw): raw})
    write_layout(tmp_path / "src", {"v1": bad})
    wish = ("--dest-compress-again", "--dest-compress-format", kind)
    assert main(["copy", *wish, f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/out:v1"]) == 1
    said = capsys.readouterr().err
    assert f"layer {image.layers[2].digest}: its tar is {right}, the config's diff ID says {wrong}" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_layer_that_is_there_twice_has_one_diff_id(tmp_path, wrong, capsys):
    layer = make_layer("twice")
    image = make_image("twice", 0, docker=False, base_layers=(layer, layer))
    diff_ids = [str(layer.diff_id)] * 2
    diff_ids[wrong] = "sha256:" + "0" * 64
    write_layout(tmp_path / "src", {"v1": with_config(image, rootfs={"type": "layers", "diff_ids": diff_ids})})
    wish = ("--dest-compress-format", "zstd")
    assert main(["copy", *wish, f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/out:v1"]) == 1
    assert f"layer {layer.digest}: the config gives it two diff IDs, " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("kind", "says"), [("zstd:chunked", "cannot be zstd:chunked: what should be"), ("zstd", "is gzip cut short")]
)
def test_a_layer_that_a_codec_refuses_is_named(tmp_path, kind, says, capsys):
    image = make_image("bad", docker=False)
    document = json.loads(image.manifest_raw)
    raw = gzip.compress(b"x" * 2000) if kind == "zstd:chunked" else image.layers[1].packed[:-20] + bytes(20)
    document["layers"][1] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    bad = ImageBytes(json.dumps(document).encode(), image.media_type, {**image.blobs, Digest.of(raw): raw})
    write_layout(tmp_path / "src", {"v1": bad})
    assert main(["copy", "--dest-compress-format", kind, f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/out:v1"]) == 1
    assert f"layer {Digest.of(raw)} {says}" in capsys.readouterr().err


ESTARGZ = "containerd.io/snapshot/stargz/toc.digest"


def estargz(annotations):
    """Return an image whose first layer ends as eStargz does, in an empty member that says where its table is."""
    image = make_image("estargz", docker=False)
    mark = b"SG" + (22).to_bytes(2, "little") + b"%016xSTARGZ" % len(image.layers[0].packed)
    member = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + len(mark).to_bytes(2, "little") + mark
    raw = image.layers[0].packed + member + b"\x01\0\0\xff\xff" + bytes(8)
    document = json.loads(image.manifest_raw)
    document["layers"][0] |= {"digest": str(Digest.of(raw)), "size": len(raw), "annotations": annotations}
    return ImageBytes(json.dumps(document).encode(), image.media_type, {**image.blobs, Digest.of(raw): raw})


@pytest.mark.parametrize("annotations", [{ESTARGZ: "sha256:" + "a" * 64, "note": "kept"}, {"note": "kept"}])
def test_estargz_is_kept_when_copied_and_named_when_it_goes(tmp_path, annotations, capsys):
    write_layout(tmp_path / "src", {"v1": estargz(annotations)})
    copied("--dest-compress-format", "gzip", f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/kept:v1")
    assert manifest_of(tmp_path / "kept") == manifest_of(tmp_path / "src")
    copied("--dest-compress-format", "zstd", f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/gone:v1")
    said = capsys.readouterr().err
    assert "layers[0] table of contents: eStargz" in said
    assert said.count("layers[") == 1
    assert manifest_of(tmp_path / "gone")["layers"][0]["annotations"] == {"note": "kept"}


def test_zstd_chunked_bytes_are_those_of_every_release():
    """An image converted again, years later or elsewhere, keeps its digest; what changes this is a breaking change."""
    assert Digest.of(packed(sample())[0]).hex == "bd1e421595d0f4bcbb72ac105d6fad50778f602befb213250b4cf79e4b446628"


@pytest.mark.parametrize("destination", ["oci-archive", "docker-archive"])
def test_no_date_is_written_so_that_none_need_be_set(tmp_path, source, destination, monkeypatch):
    for number, epoch in enumerate(("0", "1700000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        copied(f"oci:{source}:v1", f"{destination}:{tmp_path}/{number}.tar:example/app:v1")
    assert (tmp_path / "0.tar").read_bytes() == (tmp_path / "1.tar").read_bytes()
    with tarfile.open(tmp_path / "0.tar") as archive:
        assert {member.mtime for member in archive} == {0}


def test_the_same_layers_come_out_however_they_were_packed_before(tmp_path, source):
    copied("--dest-decompress", f"oci:{source}:v1", f"dir:{tmp_path}/plain")
    found = set()
    for name, there in (("a", f"oci:{source}:v1"), ("b", f"dir:{tmp_path}/plain")):
        copied("--dest-compress-format", "zstd:chunked", there, f"oci:{tmp_path}/{name}:v1")
        found.add(tuple(layers_of(tmp_path / name)))
    assert len(found) == 1
