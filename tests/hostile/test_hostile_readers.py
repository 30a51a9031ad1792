"""Every command that reads archives and folders, given the same hostile ones: rows 28, 38, 40, 46, 53, 57, case 34."""

import gzip
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import pyzstd

from hostile.test_bombs import WINDOW
from hostile.test_hostile_archives import saved, write_tar
from support.hostile_place import Place
from support.images import make_image, write_layout
from support.serving import Reply, pack, served, write_directory

IMAGE = make_image("archive", docker=False)
ZEROS = bytes(80 << 20)
ARCHIVES = ("docker-archive", "oci-archive")


def archive(folder: Path, transport: str) -> bytes:
    """Return a sound archive."""
    if transport == "docker-archive":
        return write_tar(folder / "sound.tar", saved()).read_bytes()
    write_layout(folder / "sound", {"x": IMAGE})
    return pack(folder / "sound", folder / "sound.tar").read_bytes()


def empty_member(raw: bytes) -> bytes:
    """Return a block of zeros behind the header of a file of nothing, then ``raw``."""
    return tarfile.TarInfo("nothing").tobuf() + bytes(512) + raw


def pax(records: bytes, name: str = "nothing") -> bytes:
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    return header.tobuf() + records + bytes(-len(records) % 512) + tarfile.TarInfo(name).tobuf()


PACKED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "gzip-then-more": (lambda raw: gzip.compress(raw) + b"more" * 99, "in.tar: not sound gzip"),
    "gzip-then-zeros": (lambda raw: gzip.compress(raw) + bytes(999), "in.tar: not sound gzip"),
    "gzip-cut": (lambda raw: gzip.compress(raw)[:-6], "in.tar: gzip cut short"),
    "gzip-of-other-bytes": (lambda raw: gzip.compress(raw)[:-8] + bytes(8), "in.tar: not sound gzip"),
    "zstd-then-more": (lambda raw: pyzstd.compress(raw) + b"more" * 99, "in.tar: not sound zstd"),
    "zstd-cut": (lambda raw: pyzstd.compress(raw)[:-6], "in.tar: zstd cut short"),
    "window": (lambda _: WINDOW, "in.tar: not sound zstd: "),
    "bomb": (lambda raw: pyzstd.compress(raw + ZEROS, 1), "in.tar: expands to over"),
}
PLAIN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "in.tar: empty, not a tar"),
    "zeros": (lambda _: bytes(10240), "in.tar: empty, not a tar"),
    "xz": (lzma.compress, "in.tar: no tar header at byte 0"),
    "one-block-of-zeros": (empty_member, "in.tar: one block of zeros at byte 512"),
    "long-names": (lambda raw: pax(b"x" * (1 << 20) + b"x") + raw, "in.tar: a name of 1048577 bytes"),
    "pax-length": (lambda raw: pax(b"99 path=x\n") + raw, "in.tar: a damaged pax header"),
}


@pytest.mark.parametrize("transport", ARCHIVES)
@pytest.mark.parametrize("name", PACKED)
def test_row_46_a_packed_archive_is_read_to_its_end_or_refused_by_name(place: Place, transport: str, name: str) -> None:
    """Rows 28, 40, 46 and 53: a stream that is cut, goes on, or is more than it should be."""
    change, says = PACKED[name]
    (place.folder / "in.tar").write_bytes(change(archive(place.folder, transport)))
    besides = ("list-tags",) if transport == "docker-archive" else ()
    place.every_reader_refuses(f"{transport}:in.tar", says, *besides, turn=[*PACKED].index(name))
    done = place.run("serve", "--port=0", "in.tar")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "in.tar: compressed, cannot be served in place" in done.err


@pytest.mark.parametrize("transport", ARCHIVES)
@pytest.mark.parametrize("name", PLAIN)
def test_row_53_what_readers_would_take_differently_is_no_archive(place: Place, transport: str, name: str) -> None:
    change, says = PLAIN[name]
    (place.folder / "in.tar").write_bytes(change(archive(place.folder, transport)))
    besides = ("serve", "list-tags") if transport == "docker-archive" else ("serve",)
    place.every_reader_refuses(f"{transport}:in.tar", says, *besides, turn=[*PLAIN].index(name))


def test_row_53_what_a_pax_header_costs_grows_with_its_length_alone(place: Place) -> None:
    """Quarter of a million records in three headers, where each had cost all that were behind it: half a minute."""
    records = b"12 aa=yyyyy\n" * (1 << 16)
    (place.folder / "in.tar").write_bytes(pax(records, "a") + pax(records, "b") + pax(records, "c") + archive(
        place.folder, "docker-archive"
    ))  # fmt: skip
    assert place.run("inspect", "docker-archive:in.tar").code == 0


def test_row_53_names_of_many_members_take_no_more_than_they_may_together(place: Place) -> None:
    """A packed archive of a megabyte could have any number of them."""
    named = (pax(b"4015 path=%s%08d\n" % (b"x" * 3996, number)) for number in range(4300))
    (place.folder / "in.tar").write_bytes(gzip.compress(b"".join(named), 1))
    done = place.run("inspect", "docker-archive:in.tar")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "in.tar: over 16777216 characters of names and links" in done.err


def test_row_28_a_packed_layer_of_a_docker_archive_unpacks_within_the_budget(place: Place) -> None:
    layers = [("0/layer.tar", pyzstd.compress(ZEROS, 1)), *saved()[1:]]
    write_tar(place.folder / "in.tar", layers)
    place.every_reader_refuses("docker-archive:in.tar", "in.tar 0/layer.tar: expands to over")


@pytest.mark.parametrize("times", [1, 2])
def test_row_28_what_is_packed_where_a_plain_tar_belongs_is_in_no_docker_archive(place: Place, times: int) -> None:
    """Who reads one unpacks such a layer, and then it is another."""
    (place.folder / "in.tar").write_bytes(archive(place.folder, "docker-archive"))
    for _ in range(times + 1):
        (place.folder / "in.tar").write_bytes(gzip.compress((place.folder / "in.tar").read_bytes()))
    place.copy_refused("tarball:in.tar", "docker-archive:out", "its tar is packed by gzip")
    (place.folder / "b.yaml").write_text(
        "version: 1\nimages: [{from: 'tarball:in.tar', to: ['docker-archive:out:x']}]\n"
    )
    done = place.run("run", "b.yaml", may_change=("runs",))
    assert (done.code, done.err.count("its tar is packed by gzip")) == (1, 1)


@pytest.mark.parametrize("form", ["oci", "dir"])
@pytest.mark.parametrize("inside", [True, False])
def test_row_38_a_file_that_is_a_link_is_not_served(place: Place, form: str, inside: bool) -> None:
    """Like all who read folders, whether it leads to just the right bytes or not, and also where it comes later."""
    folder = place.folder / "in"
    write = {"oci": lambda: write_layout(folder, {"x": IMAGE}), "dir": lambda: write_directory(folder, IMAGE)}
    write[form]()
    blobs = folder / "blobs/sha256" if form == "oci" else folder
    layers = [layer.digest for layer in IMAGE.layers]

    def link(path: Path) -> None:
        moved = (folder if inside else place.folder) / f"moved-{path.name}"
        path.rename(moved)
        path.symlink_to(moved)

    link(blobs / layers[0].hex)
    os.mkfifo(blobs / ("0" * 64))
    with served(folder) as port:
        assert Reply(port, f"/v2/in/blobs/{layers[0]}").status == 404
        assert Reply(port, f"/v2/in/blobs/sha256:{'0' * 64}").status == 404
        assert Reply(port, f"/v2/in/blobs/{layers[1]}").body == IMAGE.layers[1].packed
        link(blobs / layers[1].hex)
        assert Reply(port, f"/v2/in/blobs/{layers[1]}").status == 404
    link(folder / ("index.json" if form == "oci" else "manifest.json"))
    place.every_reader_refuses(f"{form}:in", "is a symbolic link", "serve")


@pytest.mark.parametrize("form", ["oci", "dir", "docker-archive", "oci-archive"])
def test_row_38_what_the_user_names_may_be_a_link(place: Place, form: str) -> None:
    if "archive" in form:
        (place.folder / "real").write_bytes(archive(place.folder, form))
    elif form == "oci":
        write_layout(place.folder / "real", {"x": IMAGE})
    else:
        write_directory(place.folder / "real", IMAGE)
    (place.folder / "in").symlink_to("real")
    for words in (("copy", f"{form}:in", "dir:out"), ("inspect", f"{form}:in"), ("verify", f"{form}:in")):
        assert place.run(*words).code == 0
    with served(place.folder / "in") as port:
        assert "real" in json.loads(Reply(port, "/v2/_catalog").body)["repositories"]


def test_row_29_a_config_that_many_images_name_is_read_once(place: Place) -> None:
    """In seconds; each image read it anew, all 4 MiB of it."""
    config = json.dumps({"rootfs": {"diff_ids": []}, "x": ["y" * 50] * 70_000}).encode()
    entries = [{"Config": "c.json", "RepoTags": [f"a:b{number}"], "Layers": []} for number in range(5000)]
    write_tar(place.folder / "in.tar", [("c.json", config), ("manifest.json", json.dumps(entries).encode())])
    with served(place.folder / "in.tar") as port:
        assert len(json.loads(Reply(port, "/v2/a/tags/list").body)["tags"]) == 5000


def test_row_57_a_layout_of_another_version_is_left_as_it_is(place: Place) -> None:
    write_layout(place.folder / "in", {"x": IMAGE})
    (place.folder / "in/oci-layout").write_text('{"imageLayoutVersion":"9.0.0"}')
    place.every_reader_refuses("oci:in:x", "OCI layout of version '9.0.0'", "delete", "serve")
