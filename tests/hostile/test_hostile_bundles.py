"""Bundles that nobody vouches for, with checksums that fit: bundle.json, index.json and the tar around them."""

import json
import shutil
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from support.bundles import create, write_batch
from support.hostile import Reply, serving
from support.hostile_bundles import IMAGES, Member, Said, changed, members, sound, spelt, written
from support.hostile_place import Place, bundle_words
from support.hostile_world import OBEYED

NAME = "org.opencontainers.image.ref.name"
NONE = "sha256:" + "0" * 64


def put(*path: str | int, value: Any) -> Callable[[Said], object]:
    """Return what puts a value at a place of bundle.json."""

    def change(said: Any) -> None:
        for key in path[:-1]:
            said = said[key]
        said[path[-1]] = value

    return change


def spoiled(place: Place, change: Callable[[Said], object]) -> None:
    written(place.folder / "in.tar", members(changed(change)))


def test_what_the_tests_spoil_is_sound_before(place: Place) -> None:
    written(place.folder / "in.tar", members())
    for words in (("verify", "in.tar"), ("list", "in.tar"), ("load", "in.tar", "--to", "oci:out")):
        done = place.run("bundle", *words, may_change=("out", "runs"))
        assert (done.code, done.err) == (0, "")


def test_an_image_that_a_bundle_has_not_is_said_in_a_line(place: Place) -> None:
    written(place.folder / "in.tar", members())
    for words in (("copy", "bundle:in.tar:none:v1", "dir:out"), ("inspect", "bundle:in.tar:none:v1")):
        done = place.run(*words)
        assert done.code == 2
        assert done.err == "transship: in.tar: no image 'none:v1'; it has: team/app:v1, tool:v2\n"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{nonsense", "not JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b'{"bundle":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested deeper than 64"),
        (b'{"bundle":1,"x":' + b"9" * 5000 + b"}", "number of 5000 digits"),
        (b'{"bundle":1,"bundle":1}', "'bundle' stands twice"),
        (b'{"bundle":1,"x":[' + b"1," * 5_000_000 + b"1]}", "too many values"),
        (spelt(sound())[:-1] + b"{}\n", "not JSON: Extra data"),
        (spelt(sound()).replace(b"transship 1.0", b"\\ud800"), "half a surrogate pair"),
        (spelt(changed(put("Images", value=[]))), "differ in case alone"),
        (spelt(changed(put("bundle", value=2))), "of version 2, only 1"),
        (spelt(changed(put("bundle", value=True))), "of version True, only 1"),
        (spelt(changed(put("bundle", value=1.0))), "of version 1.0, only 1"),
        (spelt(changed(lambda said: said.pop("blobs"))), "blobs is missing"),
        (spelt(changed(lambda said: said["images"].append(said["images"][0]))), "'team/app:v1' stands twice"),
        (spelt(changed(lambda said: said["blobs"].append(said["blobs"][0]))), "stands twice"),
        (spelt(changed(put("blobs", 0, "size", value="5"))), "size is a str"),
        (spelt(changed(put("lock", value=[]))), "lock is a list"),
    ],
)
def test_row_57_a_bundle_json_is_read_as_strictly_as_a_manifest(place: Place, raw: bytes, says: str) -> None:
    """Rows 56 and 57."""
    written(place.folder / "in.tar", members(raw))
    place.bundle_refused(says, says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("extra", value=1), "not spelt as transship does"),
        (put("images", value=[]), "should be non-empty"),
        (put("images", 0, "media-type", value="x/y"), "is a application/vnd.oci.image.manifest.v1+json"),
        (put("images", 0, "size", value=5), "is not in the bundle"),
        (put("lock", value={"lock": 1}), "are missing"),
        (put("base", value={"digest": NONE, "blobs": [{"digest": NONE, "size": 1, "image": "a"}]}), "is of no image"),
        (lambda said: said["blobs"].reverse(), "damaged"),
    ],
)
def test_row_57_what_a_bundle_json_says_and_is_not_so_is_found(place: Place, change: Any, says: str) -> None:
    spoiled(place, change)
    place.bundle_refused(says)


def left(*digests: str) -> Callable[[Said], object]:
    blobs = [{"digest": digest, "size": 1, "image": "a:v1"} for digest in digests]
    return put("base", value={"digest": NONE, "blobs": blobs})


def test_row_57_what_is_left_out_stands_once_and_is_not_there_too(place: Place) -> None:
    for change in (left(NONE, NONE), left(sound()["blobs"][0]["digest"])):
        spoiled(place, change)
        place.bundle_refused("stands twice", "stands twice")


def index(change: Callable[[list[Any]], object]) -> bytes:
    document = json.loads(members()[1].content)
    change(document["manifests"])
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("change", "reads"),
    [
        (
            lambda entries: entries[0].update(digest=entries[1]["digest"], size=entries[1]["size"]),
            "is one image by its",
        ),
        (lambda entries: entries[0].update(annotations={NAME: "tool:v2"}), ""),
        (lambda entries: entries.append({**entries[1], "annotations": {NAME: "team/app:v1"}}), "team/app:v1"),
        (lambda entries: entries.append({**entries[1], "annotations": {NAME: "more:v1"}}), ""),
        (lambda entries: entries.pop(), ""),
    ],
    ids=["another image", "another name", "two of a name", "one more", "one less"],
)
def test_row_57_an_index_that_says_otherwise_than_the_bundle_is_no_index(place: Place, change: Any, reads: str) -> None:
    raw = index(change)
    written(place.folder / "in.tar", members(None, raw))
    for name in ("bundle verify", "bundle load", "bundle apply"):
        done = place.run(*bundle_words()[name])
        assert done.code == 1
        assert "index.json in in.tar: not what the images make of it" in done.err
        assert not (place.folder / "out").exists()
    if reads:
        done = place.run("copy", "bundle:in.tar:team/app:v1", "dir:out")
        assert (done.code, reads in done.err) == (1, True)


@pytest.mark.parametrize(
    "digest", ["sha256:../../../../sentinel/letter", "../x:" + "0" * 64, "sha256:" + "A" * 64, "md5:0"]
)
def test_row_01_a_digest_in_a_bundle_is_checked_before_it_is_part_of_a_path(place: Place, digest: str) -> None:
    """Rows 1 and 25."""
    for path in (("blobs", 0, "digest"), ("images", 0, "digest"), ("images", 0, "pinned")):
        spoiled(place, put(*path, value=digest))
        place.bundle_refused("not a digest", "not a digest")


@pytest.mark.parametrize(
    "name", ["../../sentinel", "@1", "/etc/passwd", "a/../b:v1", "", "a:v1\nb:v1", "\x1b[2J", "-o:v1"]
)
def test_row_36_a_name_in_a_bundle_is_never_a_path_or_a_place(place: Place, name: str) -> None:
    """The name stands in index.json and in bundle.json, alike; rows 24, 36 and 43."""
    raw = index(lambda entries: entries[0].update(annotations={NAME: name}))
    written(place.folder / "in.tar", members(changed(put("images", 0, "name", value=name)), raw))
    place.bundle_refused("is no name for an image", "i")
    for change in (
        put("images", 0, "referrers", value=[{**referrer(), "tag": name or "\n"}]),
        put("base", value={"digest": NONE, "blobs": [{"digest": NONE, "size": 1, "image": name}]}),
    ):
        spoiled(place, change)
        done = place.run("bundle", "verify", "in.tar")
        assert done.code == 1
        assert "is no " in done.err


def referrer() -> Said:
    one = IMAGES["team/app:v1"]
    described = {"mediaType": one.media_type, "digest": str(one.digest), "size": len(one.manifest_raw)}
    return {"subject": str(IMAGES["tool:v2"].digest), "manifest": described}


def test_row_36_a_name_that_no_layout_has_is_refused_before_anything_is_loaded(place: Place) -> None:
    raw = index(lambda entries: entries[1].update(annotations={NAME: "tool__x:v2"}))
    written(place.folder / "in.tar", members(changed(put("images", 1, "name", value="tool__x:v2")), raw))
    assert place.run("bundle", "verify", "in.tar").code == 0
    for command in ("load", "apply"):
        done = place.run("bundle", command, "in.tar", "--to", "oci:out")
        assert done.code == 2
        assert done.err.startswith("transship: tool__x:v2: has no name there: ")
        assert done.err.count("\n") == 1
        assert not (place.folder / "out").exists()


@pytest.mark.parametrize("path", [("images", 0, "source"), ("images", 0, "losses", 0), ("tool",), ("codecs", 0)])
def test_row_24_controls_in_a_bundle_are_shown_escaped(place: Place, path: tuple[str | int, ...]) -> None:
    said = sound()
    said["images"][0]["losses"], said["codecs"] = ["one"], ["two"]
    put(*path, value="\x1b[2J\nsecond \u202e line\x9b2J" + "x" * 10_000)(said)
    written(place.folder / "in.tar", members(said))
    words = bundle_words()
    for name in ("bundle verify", "bundle list", "bundle diff", "bundle load", "bundle apply", "list --json"):
        done = place.run(*words.get(name, (*words["bundle list"], "--json")), may_change=("out", "runs"))
        assert done.code == 0, done.err
        assert not OBEYED.search(done.out + done.err)
        assert "\nsecond" not in done.out + done.err


@pytest.mark.parametrize("size", [0, 1, 10**6, 2**62, 2**63 - 1])
def test_row_16_a_size_in_a_bundle_that_is_wrong_takes_neither_memory_nor_time(place: Place, size: int) -> None:
    spoiled(place, lambda said: [blob.update(size=size) for blob in said["blobs"]])
    place.bundle_refused("damaged", " bytes, and by its bundle.json ")
    spoiled(place, put("blobs", 3, "size", value=size))
    # A byte takes as much of a tar as what is there.
    place.bundle_refused("damaged", "" if size == 1 else " bytes, and by its bundle.json ")


@pytest.mark.parametrize("size", [-1, 2**63, 10**19, True, 1.5, None])
def test_row_16_what_is_no_size_is_refused(place: Place, size: object) -> None:
    for path in (("blobs", 0, "size"), ("images", 0, "size")):
        spoiled(place, put(*path, value=size))
        place.bundle_refused("size", "size")


def test_row_16_sizes_that_lie_of_thousands_of_blobs_are_told_in_a_line(place: Place) -> None:
    more = [{"digest": f"sha256:{number:064x}", "size": 2**63 - 1} for number in range(20_000)]
    spoiled(place, lambda said: said["blobs"].extend(more))
    place.bundle_refused("damaged", " bytes, and by its bundle.json ")
    done = place.run(*bundle_words()["bundle verify"])
    assert "too early: 19999 blobs should follow" in done.err
    assert done.err.count("\n") < 10


def test_row_29_a_bundle_json_over_the_limit_is_refused_unread(place: Place) -> None:
    written(place.folder / "in.tar", members(bytes((64 << 20) + 1)))
    place.bundle_refused("bundle.json: its header is damaged", "67108865 bytes, over the limit")


def head(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "", mode: int = 0o444) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode = size, kind, target, mode
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def pax(**records: str) -> Member:
    """Return a pax header alone."""
    info = tarfile.TarInfo("file")
    info.pax_headers = records
    return Member("", b"", info.tobuf(tarfile.PAX_FORMAT)[:-512])


M = members()
BLOB = M[3]
TRICKS: dict[str, tuple[list[Member], str]] = {
    "a pax header that renames a blob": ([*M[:3], pax(path=f"blobs/sha256/{'0' * 64}"), *M[3:]], ", and by its"),
    "a pax header with another size": ([*M[:3], pax(size="5"), *M[3:]], ", and by its"),
    "a pax header that renames index.json": ([M[0], pax(path="other"), *M[1:]], "in.tar: no"),
    "index.json twice": ([*M, Member("index.json", b"{}")], "stands twice"),
    "index.json twice, spelt otherwise": ([*M, Member("./index.json", b"{}")], "stands twice"),
    "one member more": ([*M, Member("more", b"x")], ", and by its"),
    "one that leads outside": ([*M, Member("../../sentinel/letter", b"x")], "leads outside"),
    "a device": ([*M, Member("dev", b"", head("dev", 0, tarfile.CHRTYPE))], "is neither file"),
    "index.json by a link": (
        [M[0], Member("index.json", b"", head("index.json", 0, tarfile.SYMTYPE, "/etc/passwd")), *M[2:]],
        "leads outside",
    ),
    "a blob by a link outside": (
        [*M[:3], Member(BLOB.name, b"", head(BLOB.name, 0, tarfile.SYMTYPE, "../../../sentinel/letter")), *M[4:]],
        "leads outside",
    ),
    "a blob by a link inside": (
        [*M[:3], Member(BLOB.name, b"", head(BLOB.name, 0, tarfile.LNKTYPE, M[4].name)), *M[4:]],
        ", and by its",
    ),
    "a header with a larger size": ([*M[:3], Member(BLOB.name, BLOB.content, head(BLOB.name, 2**40)), *M[4:]], "cut"),
    "a header with another mode": (
        [*M[:3], Member(BLOB.name, BLOB.content, head(BLOB.name, len(BLOB.content), mode=0o777)), *M[4:]],
        "",
    ),
    "blobs in another order": ([*M[:3], *reversed(M[3:])], ""),
    "documents in another order": ([M[0], M[2], M[1], *M[3:]], ""),
    "a blob less": ([*M[:3], *M[4:]], ", and by its"),
    "a blob that is another": ([*M[:3], Member(BLOB.name, BLOB.content[::-1]), *M[4:]], ""),
    "another version of the layout": ([Member("oci-layout", b'{"imageLayoutVersion":"9.0.0"}'), *M[1:]], "'9.0.0'"),
    "nothing": ([], "empty, not a tar"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_row_53_a_tar_that_readers_would_take_differently_is_no_bundle(place: Place, trick: str) -> None:
    """Rows 33, 34, 38, 42 and 53: `bundle verify` goes by bundle.json alone, the others by the headers."""
    parts, reads = TRICKS[trick]
    written(place.folder / "in.tar", parts)
    place.bundle_refused("da" if trick != "nothing" else "header is damaged", reads)


@pytest.mark.parametrize("end", [b"", bytes(512), bytes(1536), bytes(1024) + b"more" * 128, b"x" * 1024])
def test_row_40_a_bundle_ends_where_it_says(place: Place, end: bytes) -> None:
    written(place.folder / "in.tar", members(), end=end)
    place.bundle_refused("the end in in.tar: damaged, or bytes after it", "in.tar: ")


def test_row_25_no_file_without_a_bundle_json_is_a_bundle(place: Place) -> None:
    written(place.folder / "in.tar", [*M[:2], *M[3:]])
    for words in (
        ("list", "in.tar"),
        ("diff", "in.tar", "in.tar"),
        ("create", "x.yaml", "-o", "out.tar", "--since", "in.tar"),
    ):
        done = place.run("bundle", *words)
        assert done.code in (1, 2)
        assert done.err.count("\n") == 1


def test_row_04_nothing_that_the_lock_in_a_bundle_names_is_asked_or_touched(place: Place) -> None:
    """Who made it says where its images came from, and where files of the machine would be: neither counts."""
    (place.folder / "made").mkdir()
    create(write_batch(place.folder / "made", IMAGES), place.folder / "made/b.tar")
    raw = (place.folder / "made/b.tar").read_bytes()
    at = raw.index(b'{\n "blobs"')
    said = json.loads(raw[at : raw.index(b"\0", at)])
    with serving(lambda _: Reply(200, b"{}")) as registry:
        for image, locked in zip(
            said["images"], sorted(said["lock"]["images"], key=lambda one: one["from"]), strict=True
        ):
            locked["from"] = image["source"] = f"docker://{registry.name}/{image['name']}"
            locked["to"] = [f"oci:{place.outside.parent}:x"]
        host = {"authfile": str(place.outside), "cert-dir": str(place.outside.parent), "tls-verify": False}
        said["lock"]["registries"] = {registry.name: host}
        said["lock"]["policy"] = str(place.outside)
        written(place.folder / "in.tar", members(said))
        for name in ("bundle verify", "bundle list", "bundle diff", "bundle load", "bundle apply"):
            done = place.run(*bundle_words()[name], may_change=("out", "runs"))
            assert (done.code, done.err) == (0, ""), name
        assert registry.seen == []
        assert place.run("bundle", "list", "in.tar").out.count(f"from docker://{registry.name}/") == 2
        shutil.rmtree(place.folder / "out")
        said["images"][0]["source"] = "docker://other.example/app:v1"
        written(place.folder / "in.tar", members(said))
        place.bundle_refused("its images are not those of the lock in it")
