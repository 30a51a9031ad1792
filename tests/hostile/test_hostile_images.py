"""The images of hostile registries on disk, in each form, for all commands that read it: rows 1, 3, 16, 29, 41, 42, 57.

A case gives every form the same image; each form of it gets a third of the commands, in turn.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hostile.test_documents import DIGESTS, spoilt
from hostile.test_hostile_archives import saved, write_tar
from support.command import command
from support.hostile_place import MOVERS, Place
from support.hostile_world import OBEYED
from support.images import OCI_INDEX, ImageBytes, make_image, write_layout
from support.serving import Reply, pack, served, write_directory
from transship.pipeline.digest import Digest

IMAGE = make_image("archive", docker=False)
DOCUMENT: Any = json.loads(IMAGE.manifest_raw)
CONFIG = Digest.parse(DOCUMENT["config"]["digest"])
LAYER = IMAGE.layers[1]
FORMS = ("oci", "oci-archive", "dir")


def write(folder: Path, form: str, image: ImageBytes, file: str = "", raw: bytes | None = None) -> str:
    """Write ``image``, ``file`` of it replaced by ``raw``, or gone where that is None; return its reference."""
    if form == "docker-archive":
        write_tar(
            folder / "in",
            [
                (name, raw if raw is not None and name == file else was)
                for name, was in saved()
                if raw is not None or name != file
            ],
        )
        return "docker-archive:in"
    target = folder / ("in" if form != "oci-archive" else "unpacked")
    if form == "dir":
        write_directory(target, image)
    else:
        write_layout(target, {"x": image})
    if file and raw is None:
        (target / file).unlink()
    elif raw is not None:
        (target / file).write_bytes(raw)
    if form == "oci-archive":
        pack(target, folder / "in")
    return f"{form}:in"


DOCUMENTS: dict[tuple[str, str], tuple[bytes, str]] = {
    ("oci", "index.json"): (b'{"schemaVersion": 2, "manifests": []}', "schemaVersion"),
    ("oci-archive", "index.json"): (b'{"schemaVersion": 2, "manifests": []}', "schemaVersion"),
    ("oci", "oci-layout"): (b'{"imageLayoutVersion":"1.0.0"}', "imageLayoutVersion"),
    ("oci-archive", "oci-layout"): (b'{"imageLayoutVersion":"1.0.0"}', "imageLayoutVersion"),
    ("dir", "manifest.json"): (IMAGE.manifest_raw.strip(), "schemaVersion"),
    ("docker-archive", "config.json"): (IMAGE.config, "architecture"),
}
"""What a form has at its root, and a key of it."""


@pytest.mark.parametrize(("form", "file"), DOCUMENTS)
def test_row_57_each_document_of_a_form_is_read_strictly_by_all_who_read_it(
    tmp_path: Path, forks: Any, form: str, file: str
) -> None:
    raw, key = DOCUMENTS[form, file]
    # Every other way: the archive of a layout gets what the folder does not.
    half = [*spoilt(raw, key).items()][form.endswith("archive") :: 2]
    for turn, (name, (bad, says)) in enumerate(half):
        folder = tmp_path / name
        folder.mkdir()
        short = file != "oci-layout" or len(bad) <= 4096
        besides = ("serve", "delete") if form == "oci" else ("serve",)
        source = write(folder, form, IMAGE, file, bad)
        Place(folder, forks).every_reader_refuses(
            source, says if short else "over the limit of 4096", *besides, turn=turn
        )


@pytest.mark.parametrize("name", ["twice", "case", "nan", "deepest", "trailing", "bom", "empty"])
def test_row_57_the_list_of_a_docker_archive_is_read_strictly_by_all_who_read_it(place: Place, name: str) -> None:
    """A list, of objects that are read as strictly."""
    raw = saved()[-1][1]
    assert isinstance(raw, bytes)
    one, says = spoilt(raw[1:-1], "Config")[name]
    source = write(place.folder, "docker-archive", IMAGE, "manifest.json", b"[" + one + b"]")
    says = {"trailing": "not JSON", "empty": "no image at all"}.get(name, says)
    besides = () if name == "empty" else ("serve", "list-tags")
    place.every_reader_refuses(source, says, *besides, turn=[*spoilt(raw, "x")].index(name))


def rebuilt(change: Callable[[Any], object], config: Callable[[Any], object] = lambda _: None) -> ImageBytes:
    """Return the image with another manifest and config, under the digests that they have then."""
    document, inner = json.loads(IMAGE.manifest_raw), json.loads(IMAGE.config)
    config(inner)
    raw = json.dumps(inner).encode()
    document["config"] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    change(document)
    blobs = {digest: blob for digest, blob in IMAGE.blobs.items() if digest != CONFIG} | {Digest.of(raw): raw}
    return ImageBytes(json.dumps(document).encode(), IMAGE.media_type, blobs, layers=IMAGE.layers)


CASES: dict[str, tuple[Callable[[Any], object], str]] = {
    **{
        f"row-01-{text[:30]}": (lambda d, t=text: d["layers"][0].update(digest=t), "not a digest")
        for text in DIGESTS[::3]
    },  # type: ignore[misc]
    "row-03-index": (lambda d: d.update(manifests=[]), "an image and an index at once"),
    "row-03-said": (lambda d: d.update(mediaType=OCI_INDEX), OCI_INDEX),
    "row-16-negative": (lambda d: d["layers"][0].update(size=-1), "layers[0]: size"),
    "row-16-fraction": (lambda d: d["layers"][0].update(size=12.5), "layers[0]: size"),
    "row-56-digits": (lambda d: d["layers"][0].update(size=10**23), "digits"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_row_01_a_hostile_manifest_on_disk_is_refused_by_all_who_read_it(place: Place, form: str, name: str) -> None:
    """Rows 1, 3, 16 and 56; in a layout also by who serves it, to whom there is no such manifest."""
    change, says = CASES[name]
    image = rebuilt(change)
    source = write(place.folder, form, image)
    turn = [*CASES].index(name) + FORMS.index(form)
    place.every_reader_refuses(source, says, *(("serve",) if form == "dir" else ()), turn=turn)
    if form != "dir":
        with served(place.folder / "in") as port:
            assert Reply(port, "/v2/x/manifests/latest").status == 404


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [7, 1 << 62])
def test_row_16_a_size_that_is_wrong_is_refused_by_all_who_move_the_layer(place: Place, form: str, size: int) -> None:
    source = write(place.folder, form, rebuilt(lambda document: document["layers"][1].update(size=size)))
    says = "longer than the 7 bytes" if size == 7 else f"of {size} bytes"
    place.every_reader_refuses(source, says, turn=FORMS.index(form), readers=("copy", "copy --all", "layers"))
    assert str(LAYER.digest) in place.run("verify", source).err


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", [-1, 0, 1])
def test_row_41_diff_ids_are_counted_and_are_digests_wherever_layers_change(
    place: Place, form: str, change: int
) -> None:
    def spoil(config: Any) -> None:
        ids = config["rootfs"]["diff_ids"]
        config["rootfs"]["diff_ids"] = {-1: ids[:-1], 0: ["../x"] * 3, 1: [*ids, ids[0]]}[change]

    source = write(place.folder, form, rebuilt(lambda _: None, spoil))
    says = "not a digest" if change == 0 else f"{3 + change} diff IDs for 3 layers"
    for words in (("docker-archive:out",), ("oci:out:x", "--dest-decompress"), ("dir:out", "--format=v2s1")):
        place.copy_refused(source, words[0], says, *words[1:])
    (place.folder / "b.yaml").write_text(
        f"version: 1\ndefaults: {{layers: zstd}}\nimages: [{{from: '{source}', to: ['oci:out:x']}}]\n"
    )
    done = place.run("run", "b.yaml", may_change=("runs", "out"))
    assert (done.code, done.err.count(says)) == (1, 1)
    assert not (place.folder / "out/index.json").exists()


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda _: b"",
    "cut": lambda raw: raw[:-5],
    "flipped": lambda raw: raw[:20] + bytes([raw[20] ^ 1]) + raw[21:],
    "longer": lambda raw: raw + b"x",
    "gone": lambda _: None,
}


@pytest.mark.parametrize("form", [*FORMS, "docker-archive"])
@pytest.mark.parametrize("name", DAMAGE)
def test_row_42_a_damaged_layer_is_refused_by_all_who_move_it(place: Place, form: str, name: str) -> None:
    files = {"dir": LAYER.digest.hex, "docker-archive": "1/layer.tar"}
    file = files.get(form, f"blobs/sha256/{LAYER.digest.hex}")
    raw = DAMAGE[name](LAYER.tar if form == "docker-archive" else LAYER.packed)
    source = write(place.folder, form, IMAGE, file, raw)
    # What ends early is taken for what may come whole the next time, and waited for: by one command each.
    readers = {"empty": ("layers",), "cut": ("verify",)}.get(name, MOVERS)
    place.every_reader_refuses(source, "", turn=None if len(readers) == 1 else [*DAMAGE].index(name), readers=readers)


@pytest.mark.parametrize("form", FORMS)
def test_row_29_a_document_over_the_limit_on_disk_is_refused_unread(place: Place, form: str) -> None:
    """A config, and a manifest: by its descriptor too large, by its file."""
    config, manifest = rebuilt(lambda document: document["config"].update(size=50 << 20)), b" " * (5 << 20)
    place.every_reader_refuses(write(place.folder, form, config), "config has 52428800 bytes", readers=MOVERS)
    (place.folder / "in").rename(place.folder / "before")
    file = "manifest.json" if form == "dir" else f"blobs/sha256/{IMAGE.digest.hex}"
    place.every_reader_refuses(
        write(place.folder, form, IMAGE, file, manifest), "5242880 bytes, over the limit of", turn=0
    )


def sif(definition: int = 0, partition: int = 64) -> bytes:
    """Return a SIF file of zeros with a definition file and a squashfs of these sizes, as its header says."""
    header = struct.pack("<32s10s3s3s16sqqqqqqqq", b"", b"SIF_MAGIC\0", b"01\0", b"02\0", b"", 0, 0, 0, 2, 128, 0, 0, 0)
    kinds = ((0x4001, definition, b""), (0x4004, partition, struct.pack("<ii3s", 1, 2, b"02\0")))
    rows = (
        struct.pack("<i?IIIqqqqqqq128s384s", kind, True, 1, 1, 0, 2048, size, size, 0, 0, 0, 0, b"", extra)
        for kind, size, extra in kinds
    )
    return (header + b"".join(rows)).ljust(4096, b"\0")


OTHERS: dict[str, tuple[str, bytes, str]] = {
    "no-sif": ("sif", b"no SIF file at all" * 20, "in: no SIF file"),
    "definition": ("sif", sif(definition=1 << 40), "in: a definition file of 1099511627776 bytes"),
    "partition": ("sif", sif(partition=1 << 40), "in: cut short or damaged"),
    "squashfs": ("sif", sif(), "in: its squashfs cannot be read"),
    "no-tar": ("tarball", b"no tar at all" * 60, "in is no tar"),
    "cut": ("tarball", b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "in: gzip cut short"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_row_53_what_is_no_sif_or_tar_is_refused_by_all_who_read_it(place: Place, name: str) -> None:
    form, raw, says = OTHERS[name]
    (place.folder / "in").write_bytes(raw)
    place.every_reader_refuses(f"{form}:in", says, turn=[*OTHERS].index(name))


@pytest.mark.parametrize("name", ["twice", "case", "nan", "huge", "deepest", "trailing", "bom", "null", "large"])
def test_row_57_a_manifest_in_a_file_is_read_strictly_by_all_who_read_it(place: Place, name: str) -> None:
    """Rows 3, 29 and 57."""
    ways = {
        **spoilt(IMAGE.manifest_raw.strip(), "layers"),
        "large": (b" " * (5 << 20), "over the limit of 4194304 bytes"),
    }
    raw, says = ways[name]
    (place.folder / "m.json").write_bytes(raw)
    who = ("docker.io/library/x:y", "ABCD" * 10)
    for words in (
        ("manifest-digest", "m.json"),
        ("standalone-sign", "m.json", *who, "-o", "out"),
        ("standalone-verify", "m.json", *who, "m.json"),
    ):
        done = place.run(*words)
        assert (done.code, done.err.count("\n")) == (1, 1)
        assert "m.json: " in done.err
        assert says in done.err
        assert not (place.folder / "out").exists()


def test_what_an_image_calls_its_fields_obeys_no_terminal_in_a_report(tmp_path: Path) -> None:
    image = make_image("named", layers=1)
    config = json.loads(image.config)
    config["config"]["\x9b2J\u202e"] = "x"
    raw, manifest = json.dumps(config).encode(), image.document
    manifest["config"] = {**manifest["config"], "digest": str(Digest.of(raw)), "size": len(raw)}  # type: ignore[dict-item]
    spelt = json.dumps(manifest).encode()
    blobs = {**image.blobs, Digest.of(raw): raw}
    write_layout(tmp_path / "from", {"v1": replace(image, manifest_raw=spelt, blobs=blobs)})
    batch = {"version": 1, "images": [{"from": "oci:from:v1", "config": "strict", "to": ["oci:out:v1"]}]}
    (tmp_path / "batch.json").write_text(json.dumps(batch))
    assert command(tmp_path, "run", "batch.json").returncode == 0
    for words in ((), ("--json",)):
        done = command(tmp_path, "report", "runs/batch", *words)
        assert "\\u202e" in done.stdout
        assert not OBEYED.search(done.stdout + done.stderr)
