"""The files of a bundle that nobody vouches for: checksums, volumes, frames of zstd."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import pyzstd

from support.bundles import create, write_batch
from support.hostile_bundles import IMAGES, Member, members, packed, sound, sums, written
from support.hostile_place import Place, bundle_words
from support.images import OCI_INDEX, make_base, make_image
from transship.pipeline.bundle import trees
from transship.pipeline.bundle.listing import listed
from transship.pipeline.bundle.opened import opened
from transship.pipeline.bundle.verify import verify_bundle
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.transports.frames import encode_table

M = members()
DOCUMENT = M[2].content
RAW = b"".join(member.raw for member in M) + bytes(1024)
OWN = f"# bundle.json sha256:{hashlib.sha256(DOCUMENT).hexdigest()}"
FRAME = 4096
NAME = "org.opencontainers.image.ref.name"


def volume(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number:03}")


def checksums(place: Place, *lines: str) -> None:
    (place.folder / "in.tar.sums").write_bytes(sums([OWN, *lines]))


@pytest.mark.parametrize(
    "name",
    ["../sentinel/letter", "/etc/passwd", "..", "a\\b", "\x1b[2J", "in.tar.002", "in.tar\r", "x" * 300, "in.tar.sums"],
)
def test_row_25_checksums_name_no_file_but_those_of_the_bundle(place: Place, name: str) -> None:
    """Rows 24, 25 and 33."""
    written(place.folder / "in.tar", M)
    checksums(place, f"# {len(RAW)} bytes", f"{hashlib.sha256(RAW).hexdigest()}  {name}")
    place.bundle_refused("in.tar.sums: ")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 1000,
        sums([OWN]),
        sums([OWN, *["# 5 bytes", f"{'0' * 64}  in.tar"] * 2]),
        sums([OWN, *(line for number in range(1, 1001) for line in ("# 5 bytes", f"{'0' * 64}  in.tar.{number:03}"))]),
        sums([OWN, "# 5 bytes", f"{'0' * 64}  in.tar.002", "# 5 bytes", f"{'0' * 64}  in.tar.001"]),
        sums([OWN, "# 5 bytes", f"{'0' * 64} *in.tar"]),
        sums([OWN, "# 5 bytes", f"{'0' * 64}  in.tar", "more"]),
        sums([OWN, *["# 5 bytes"] * 90_000]),
        b"x" * (1 << 21),
    ],
    ids=["empty", "no text", "of no file", "twice", "1000", "order", "binary", "more", "900 KB", "2 MiB"],
)
def test_row_29_what_is_no_list_of_checksums_is_refused(place: Place, raw: bytes) -> None:
    """Rows 29 and 57."""
    written(place.folder / "in.tar", M)
    (place.folder / "in.tar.sums").write_bytes(raw)
    place.bundle_refused("in.tar.sums: ")


@pytest.mark.parametrize("count", [1, 2, 999])
def test_row_16_a_size_that_checksums_lie_of_takes_neither_memory_nor_time(place: Place, count: int) -> None:
    written(place.folder / "in.tar", M)
    names = ["in.tar"] if count == 1 else [f"in.tar.{number:03}" for number in range(1, count + 1)]
    checksums(place, *(line for name in names for line in (f"# {2**63 - 1} bytes", f"{'0' * 64}  {name}")))
    place.bundle_refused("shorter than it was" if count == 1 else "in.tar.001: missing")


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("make", [fifo, link, device, folder])
@pytest.mark.parametrize("which", ["in.tar.sums", "in.tar.001", "in.tar.003"])
def test_row_38_no_volume_and_no_checksums_are_a_link_or_a_device(
    place: Place, which: str, make: Callable[[Path], None]
) -> None:
    written(place.folder / "in.tar", M, split=FRAME)
    make(place.folder / which)
    place.bundle_refused(f"{which}: ", "" if which.endswith("sums") else which)


def swapped(path: Path) -> None:
    second = volume(path, 2).read_bytes()
    volume(path, 2).write_bytes(volume(path, 3).read_bytes())
    volume(path, 3).write_bytes(second)


@pytest.mark.parametrize(
    ("change", "says", "reads"),
    [
        (lambda path: volume(path, 2).unlink(), "in.tar.002: missing", "in.tar.002: this volume is missing"),
        (lambda path: volume(path, 1).unlink(), "in.tar.001: missing", "in.tar"),
        (lambda path: volume(path, 6).unlink(), "in.tar.006: missing", "in.tar"),
        (lambda path: volume(path, 2).write_bytes(b""), "in.tar.002: 4096 bytes shorter", "in.tar.002: a volume of 0"),
        (
            lambda path: volume(path, 2).write_bytes(b"x" * 5000),
            "in.tar.002: 904 bytes longer",
            "a volume of 5000 bytes",
        ),
        (lambda path: volume(path, 7).write_bytes(b"x" * FRAME), "in.tar.007: would be read", "a volume of 2560 bytes"),
        (swapped, "in.tar.002: holds the bytes of in.tar.003", "in.tar"),
        (lambda path: path.write_bytes(RAW), "in.tar: would be read", ""),
    ],
)
def test_row_46_volumes_that_are_cut_swapped_or_besides_are_named(place: Place, change, says: str, reads: str) -> None:
    change(written(place.folder / "in.tar", M, split=FRAME).with_name("in.tar"))
    place.bundle_refused(says, reads)


def frames(raw: bytes = RAW) -> tuple[list[bytes], list[tuple[int, int]]]:
    parts = [raw[start : start + FRAME] for start in range(0, len(raw), FRAME)]
    made = [pyzstd.compress(part) for part in parts]
    return made, [(len(one), len(part)) for one, part in zip(made, parts, strict=True)]


MADE, SIZES = frames()
BOMB = pyzstd.compress(bytes(16 << 20))
LARGE = pyzstd.compress(bytes(300 << 20))
TINY = pyzstd.compress(b"x")
SKIPPED = struct.pack("<II", 0x184D2A50, 5) + b"hello"
TABLE = "its table of frames does not fit"


def lying(change: Callable[[list[tuple[int, int]]], object]) -> bytes:
    sizes = list(SIZES)
    change(sizes)
    return b"".join(MADE) + encode_table(sizes)


FRAMES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "hundreds of frames of 16 MiB": (lambda: BOMB * 400 + encode_table([(len(BOMB), 16 << 20)] * 400), "bomb", "bomb"),
    "300 MB where 4096 bytes are said": (
        lambda: LARGE + encode_table([(len(LARGE), FRAME)]),
        "frame 0 does not hold the 4096 bytes",
        "frame 0 does not hold",
    ),
    "a million frames of a byte": (
        lambda: TINY * (1 << 20) + encode_table([(len(TINY), 1)] * (1 << 20)),
        "each takes its time",
        "each takes its time",
    ),
    "two millions": (lambda: TINY * (1 << 21) + encode_table([(len(TINY), 1)] * (1 << 21)), TABLE, TABLE),
    "millions that are not there": (lambda: MADE[0] + struct.pack("<IBI", 1 << 20, 0, 0x8F92EAB1), TABLE, TABLE),
    "a frame less": (lambda: lying(lambda sizes: sizes.pop()), TABLE, TABLE),
    "a frame that holds more": (
        lambda: lying(lambda sizes: sizes.__setitem__(0, (SIZES[0][0], 5000))),
        "frame 0",
        "frame",
    ),
    "a frame that holds nothing": (lambda: lying(lambda sizes: sizes.insert(0, (0, 0))), TABLE, TABLE),
    "what others skip, between": (
        lambda: b"".join([MADE[0], SKIPPED, *MADE[1:]]) + encode_table([SIZES[0], (len(SKIPPED), 0), *SIZES[1:]]),
        TABLE,
        TABLE,
    ),
    "what others skip, in a frame": (
        lambda: (
            b"".join([MADE[0], SKIPPED, *MADE[1:]])
            + encode_table([(SIZES[0][0] + len(SKIPPED), SIZES[0][1]), *SIZES[1:]])
        ),
        "frame 0 does not hold",
        "frame 0 does not hold",
    ),
    "frames in another order": (
        lambda: b"".join([MADE[1], MADE[0], *MADE[2:]]) + encode_table([SIZES[1], SIZES[0], *SIZES[2:]]),
        "header is damaged",
        "no tar header",
    ),
    "no table": (lambda: b"".join(MADE), "no table", ""),
    "bytes behind the table": (lambda: lying(lambda _: None) + b"more", "no table", "in.tar.zst: "),
    "a second table": (lambda: lying(lambda _: None) + encode_table([]), TABLE, TABLE),
    "not packed at all": (lambda: RAW, "no table", ""),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_row_28_frames_that_are_bombs_or_lie_are_refused(place: Place, kind: str) -> None:
    """Rows 16, 28 and 46."""
    make, says, reads = FRAMES[kind]
    packed(place.folder / "in.tar.zst", make(), DOCUMENT)
    place.bundle_refused(says, reads, "in.tar.zst")


def many(count: int, layers: int) -> tuple[list[Member], str]:
    """Return a bundle of so many indexes of one manifest of so many layers, and the digest of one of these."""
    said, one = sound(), IMAGES["team/app:v1"]
    lost = [{"mediaType": "x/y", "digest": f"sha256:{number:064x}", "size": 5} for number in range(layers)]
    large = json.dumps({**one.document, "layers": lost}, separators=(",", ":")).encode()
    entry = {"mediaType": one.media_type, "digest": str(Digest.of(large)), "size": len(large)}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}
    roots = [json.dumps({**index, "annotations": {"n": str(number)}}).encode() for number in range(count)]
    more = {str(Digest.of(raw)): raw for raw in (large, *roots)}
    first, last = said["images"]
    said["images"] = [first]
    for number, raw in enumerate(roots):
        named = {"digest": str(Digest.of(raw)), "size": len(raw), "media-type": OCI_INDEX}
        said["images"].append({**first, **named, "name": f"team/many:v{number:03}"})
    said["images"].append(last)
    sizes = {blob["digest"]: blob["size"] for blob in said["blobs"]} | {key: len(raw) for key, raw in more.items()}
    said["blobs"] = [{"digest": digest, "size": size} for digest, size in sorted(sizes.items())]
    entries = [
        {
            "mediaType": image["media-type"],
            "digest": image["digest"],
            "size": image["size"],
            "annotations": {NAME: image["name"]},
        }
        for image in said["images"]
    ]
    return members(said, json.dumps({**index, "manifests": entries}).encode(), more), str(lost[0]["digest"])


def test_row_15_many_images_of_one_large_manifest_take_no_more_memory_than_it(place: Place) -> None:
    parts, lost = many(60, 15_000)
    written(place.folder / "in.tar", parts)
    words = bundle_words()
    done = place.run(*words["bundle list"])
    assert (done.code, done.out.count("\nteam/many:v")) == (0, 60)
    done = place.run(*words["bundle verify"])
    assert done.code == 1
    assert f"team/many:v000: {lost} is not in the bundle" in done.err


def test_row_15_what_images_name_together_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "in.tar", many(20, 100)[0])
    with opened(path) as found:
        assert len(list(listed(found))) == 22
    monkeypatch.setattr(trees, "MAX_NAMED", 1000)
    with opened(path) as found, pytest.raises(ContentError, match=r"in\.tar: its images name over 1000 blobs"):
        list(listed(found))
    assert any("name over 1000 blobs" in fault.why for fault in verify_bundle(path).faults)


def test_row_42_what_the_file_of_a_base_brings_is_hashed_too(place: Place) -> None:
    shared = make_base("shared", layers=1)
    old, new = (make_image(name, docker=False, layers=1, base_layers=shared) for name in ("old", "new"))
    for name, image, words in (("one", old, ()), ("two", new, ("--since", str(place.folder / "one.tar")))):
        (place.folder / name).mkdir()
        create(write_batch(place.folder / name, {"team/app:v1": image}), place.folder / f"{name}.tar", *words)
    raw = (place.folder / "one.tar").read_bytes()
    assert raw.count(shared[0].packed) == 1
    damaged = raw.replace(shared[0].packed, shared[0].packed[::-1])
    for base, says in ((damaged, "damaged bytes"), (RAW, "lacks sha256:")):
        (place.folder / "one.tar").write_bytes(base)
        words = ("bundle", "apply", "two.tar", "--base", "one.tar", "--to", "oci:out", "--progress", "none")
        done = place.run(*words, may_change=("out", "runs"))
        assert (done.code, done.err.count("\n")) == (1, 1), done.err
        assert says in done.err
        assert not (place.folder / "out").exists()
        shutil.rmtree(place.folder / "runs", ignore_errors=True)
