"""Archives that nobody vouches for: rows 25 to 43 and 53, case 34. Beside each lies a sentinel."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.hostile_place import Place
from support.images import ImageBytes, make_image, write_layout

ROOT = Path(__file__).resolve().parents[2]
IMAGE = make_image("archive", docker=False)
DOCKER = make_image("archive", docker=True)
Members = list[tuple[str, bytes | tarfile.TarInfo]]


def write_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members:
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def saved(image: ImageBytes = DOCKER, **changes: object) -> Members:
    """Return the members of a sound docker save but for ``changes`` to its manifest.json."""
    layers = [(f"{number}/layer.tar", layer.tar) for number, layer in enumerate(image.layers)]
    entry = {
        "Config": "config.json",
        "RepoTags": ["example.com/a:v1"],
        "Layers": [name for name, _ in layers],
        **changes,
    }
    return [*layers, ("config.json", image.config), ("manifest.json", json.dumps([entry]).encode())]


def replaced(name: str, *instead: tuple[str, bytes | tarfile.TarInfo]) -> Members:
    return [*(member for member in saved() if member[0] != name), *instead]


NAMES = ["../../etc/passwd", "/etc/passwd", "../sentinel/letter", "a/../../sentinel/letter", "x\0y"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["Config", "Layers"])
def test_row_25_a_name_in_an_archive_never_leads_outside(place: Place, field: str, name: str) -> None:
    value = name if field == "Config" else [name, "1/layer.tar", "2/layer.tar"]
    write_tar(place.folder / "in.tar", saved(**{field: value}))
    place.refused("docker-archive:in.tar", "leads outside the archive")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../../sentinel/letter", "/etc/passwd", "sentinel/../../../sentinel/letter", ".."])
def test_row_33_a_link_never_leads_outside(place: Place, kind: bytes, target: str) -> None:
    """Rows 30, 31, 33 to 35: a hard link is not looked for in the working folder either."""
    write_tar(place.folder / "in.tar", replaced("0/layer.tar", ("", link("0/layer.tar", target, kind))))
    place.refused("docker-archive:in.tar", "leads outside")


def test_row_34_a_hard_link_to_what_is_in_the_working_folder_is_not_followed(place: Place) -> None:
    write_tar(
        place.folder / "in.tar", replaced("0/layer.tar", ("", link("0/layer.tar", "sentinel/letter", tarfile.LNKTYPE)))
    )
    place.every_reader_refuses("docker-archive:in.tar", "no member 'sentinel/letter'", turn=0)
    place.every_reader_refuses("docker-archive:in.tar", "'0/layer.tar', which is not in", "serve", readers=())


def test_row_35_a_chain_of_links_through_folders_is_not_followed(place: Place) -> None:
    chain: Members = [("", link("a", "b")), ("", link("b", "c")), ("", link("c/d", "../.."))]
    write_tar(place.folder / "in.tar", [*chain, *saved(Config="a/d/letter")])
    place.refused("docker-archive:in.tar", "leads outside")


def test_row_39_links_in_a_circle_end(place: Place) -> None:
    circle: Members = [("", link("0/layer.tar", "../1/layer.tar")), ("", link("1/layer.tar", "../0/layer.tar"))]
    sound = [member for member in saved() if member[0] not in ("0/layer.tar", "1/layer.tar")]
    write_tar(place.folder / "in.tar", [*sound, *circle])
    place.refused("docker-archive:in.tar", "in a circle")
    write_tar(place.folder / "in.tar", replaced("manifest.json", ("", link("manifest.json", "config.json"))))
    place.refused("docker-archive:in.tar", "'manifest.json' is a link")


@pytest.mark.parametrize("name", ["manifest.json", "config.json"])
def test_row_29_a_document_of_50_mb_is_refused_unread(place: Place, name: str) -> None:
    write_tar(place.folder / "in.tar", replaced(name, (name, b" " * (50 << 20))))
    place.refused("docker-archive:in.tar", "52428800 bytes, over")


@pytest.mark.parametrize("change", [-1, 1])
def test_row_41_as_many_diff_ids_as_layers(place: Place, change: int) -> None:
    names = ["0/layer.tar", "1/layer.tar", "2/layer.tar"]
    write_tar(place.folder / "in.tar", saved(Layers=names[:-1] if change < 0 else [*names, names[0]]))
    place.refused("docker-archive:in.tar", f"3 diff IDs for {3 + change} layers")


def test_row_40_a_stream_is_read_to_its_end_before_it_is_trusted(place: Place) -> None:
    """A whole tar with something after it, under the digest of the tar alone, plain and packed."""
    write_tar(place.folder / "in.tar", replaced("0/layer.tar", ("0/layer.tar", DOCKER.layers[0].tar + b"more" * 4096)))
    place.copy_refused("docker-archive:in.tar", "dir:out", "does not match")
    write_layout(place.folder / "in", {"x": IMAGE})
    blob = place.folder / "in/blobs/sha256" / IMAGE.layers[0].digest.hex
    blob.write_bytes(blob.read_bytes() + b"more")
    for destination in ("dir:out", "docker-archive:out", "oci:out:x"):
        place.copy_refused("oci:in:x", destination, "")


def test_row_43_the_names_in_an_archive_name_nothing_at_the_destination(place: Place) -> None:
    write_tar(
        place.folder / "in.tar", saved(RepoTags=["docker.io/library/base:latest", "../../sentinel/letter:x", "\x1b[2J"])
    )
    write_layout(place.folder / "out", {"library/base:latest": IMAGE})
    assert place.run("copy", "docker-archive:in.tar", "oci:out:mine").code == 0
    entries = json.loads((place.folder / "out/index.json").read_bytes())["manifests"]
    names = {entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries}
    assert names == {"library/base:latest", "mine"}
    done = place.run("list-tags", "docker-archive:in.tar")
    assert "\x1b" not in done.out
    done = place.run("copy", "docker-archive:in.tar:example.com/none:v1", "dir:out2", may_change=("out",))
    assert "\x1b" not in done.err
    assert done.code in (1, 2)


def test_row_53_no_archive_is_ever_extracted() -> None:
    for folder in ("pipeline", "tasks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            for word in ("extractall", ".extract(", "extractfile", "unpack_archive"):
                assert word not in text, f"{path}: {word}"


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:100] + b"9" * 400 + raw[500:],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"\xff" * 512 + raw,
        lambda raw: raw[:156] + b"S" + raw[157:],
        lambda raw: raw[:124] + b"\x80" + b"\xff" * 11 + raw[136:],
    ],
)
def test_row_53_a_damaged_tar_is_one_line(place: Place, change: Callable[[bytes], bytes]) -> None:
    write_tar(place.folder / "in.tar", saved())
    raw = (place.folder / "in.tar").read_bytes()
    (place.folder / "in.tar").write_bytes(change(raw))
    for transport in ("docker-archive", "oci-archive"):
        place.copy_refused(f"{transport}:in.tar", "dir:out", "in.tar") if transport == "docker-archive" else place.run(
            "copy", f"{transport}:in.tar", "dir:out"
        )


def test_row_53_names_without_end_are_refused(place: Place) -> None:
    write_tar(place.folder / "in.tar", [("x" * 5000, b""), *saved()])
    place.refused("docker-archive:in.tar", "limit 4096")
