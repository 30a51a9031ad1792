"""``bundle verify``: one flipped bit anywhere, a volume that is missing, short, long or doubled; found and located."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.bundles import create, write_batch
from support.images import make_base, make_image
from transship.pipeline.bundle.verify import Verdict, verify_bundle
from transship.pipeline.cli.main import main
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError
from transship.pipeline.transports.checksums import read_checksums
from transship.pipeline.transports.frames import seek_table
from transship.pipeline.transports.spool import open_medium
from transship.pipeline.transports.tar import Archive
from transship.pipeline.transports.volumes import Volumes

SHARED = make_base("shared", layers=1, layer_size=300)
IMAGES = {
    name: make_image(name, docker=False, layers=1, base_layers=SHARED, layer_size=700) for name in ("a:v1", "b:v1")
}
SIZE = 4096


@pytest.fixture(scope="module", params=["b.tar", "b.tar.zst"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "out").mkdir()
    words = ["--split", str(SIZE if request.param == "b.tar" else 1024)]
    create(write_batch(folder, IMAGES), folder / "out" / request.param, *words)
    return folder / "out" / request.param


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(bundle.parent, tmp_path / "out")
    return tmp_path / "out" / bundle.name


def volumes(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.0*"))


def test_what_was_made_is_whole(bundle: Path) -> None:
    found = verify_bundle(bundle)
    assert found.sound
    assert found.bytes == sum(path.stat().st_size for path in volumes(bundle))
    assert verify_bundle(volumes(bundle)[0]).sound


def places(path: Path) -> Iterator[tuple[int, set[str]]]:
    """Yield offsets in a plain bundle all over its members, and the images that each byte belongs to."""
    archive = Archive(path)
    owners = {
        f"blobs/sha256/{digest.hex}": {name for name, image in IMAGES.items() if digest in image.all_blobs}
        for image in IMAGES.values()
        for digest in image.all_blobs
    }
    for member in archive.members.values():
        owned = owners.get(member.name, set())
        header = range(member.offset - 512, member.offset, 131)
        content = range(member.offset, member.offset + member.size, max(1, member.size // 3))
        end = member.offset + member.size
        padding = range(end, end + -member.size % 512, 211)
        yield from ((offset, owned) for part in (header, content, padding) for offset in part)
    yield from ((offset, set()) for offset in range(archive.medium.size - 1024, archive.medium.size, 500))
    archive.close()


def flipped(path: Path, offset: int, bit: int) -> tuple[str, bytes]:
    """Flip a bit of a bundle; return the volume it is in, and what that was before."""
    for one in volumes(path):
        raw = one.read_bytes()
        if offset < len(raw):
            one.write_bytes(raw[:offset] + bytes([raw[offset] ^ 1 << bit]) + raw[offset + 1 :])
            return one.name, raw
        offset -= len(raw)
    raise AssertionError(offset)


def test_a_flipped_bit_anywhere_is_found_and_located(copy: Path) -> None:
    if copy.suffix == ".zst":
        with_owners = [(offset, set()) for offset in range(0, sum(p.stat().st_size for p in volumes(copy)), 61)]
    else:
        with_owners = list(places(copy))
    assert len(with_owners) > 50
    for number, (offset, owners) in enumerate(with_owners):
        name, before = flipped(copy, offset, number % 8)
        found = verify_bundle(copy)
        assert not found.sound
        assert found.faults[0] == (name, "damaged: not what its checksum says"), (offset, found.faults)
        assert owners <= set(found.damaged) or found.said is None
        (copy.parent / name).write_bytes(before)
    assert verify_bundle(copy).sound


@pytest.mark.parametrize("bundle", ["b.tar"], indirect=True)
def test_a_flipped_bit_in_the_checksums_is_found_there_and_not_in_a_file_that_is_whole(copy: Path) -> None:
    sums = copy.parent / f"{copy.name}.sums"
    raw = sums.read_bytes()
    for offset in range(len(raw)):
        sums.write_bytes(raw[:offset] + bytes([raw[offset] ^ 1 << offset % 8]) + raw[offset + 1 :])
        with pytest.raises(ContentError, match="or damaged"):
            read_checksums(copy)
        if offset % 50 == 7:
            found = verify_bundle(copy)
            assert [fault.where for fault in found.faults] == [sums.name]
            assert found.damaged == []


@pytest.mark.parametrize("bundle", ["b.tar"], indirect=True)
def test_without_the_checksums_a_flip_is_found_all_the_same_but_in_what_only_they_know(copy: Path) -> None:
    (copy.parent / f"{copy.name}.sums").unlink()
    before = verify_bundle(copy)
    assert [fault.where for fault in before.faults] == [f"{copy.name}.sums"]
    archive = Archive(copy)
    blob = next(member for name, member in archive.members.items() if name.startswith("blobs/") and member.size > 600)
    archive.close()
    flipped(copy, blob.offset + 3, 2)
    found = verify_bundle(copy)
    assert found.lost
    assert found.damaged


@pytest.mark.parametrize("change", ["missing", "short", "long", "doubled", "empty", "a link"])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_volume_that_is_not_what_it_was_is_named(copy: Path, change: str, place: int) -> None:
    chosen, other = volumes(copy)[place], volumes(copy)[place - 1]
    raw, others = chosen.read_bytes(), other.read_bytes()
    chosen.unlink()
    if change == "a link":
        (copy.parent / "elsewhere").write_bytes(raw)
        chosen.symlink_to(copy.parent / "elsewhere")
    elif change != "missing":
        new = {"short": raw[:-1], "long": raw + b"\0", "doubled": others, "empty": b""}[change]
        chosen.write_bytes(new)
    found = verify_bundle(copy)
    assert not found.sound
    assert found.faults[0].where == chosen.name
    words = {"missing": "missing", "short": "1 bytes shorter", "long": "1 bytes longer", "empty": "shorter"}
    if change == "doubled" and len(others) == len(raw):
        assert found.faults[0].why == f"holds the bytes of {other.name}"
    elif change in words:
        assert words[change] in found.faults[0].why
    assert main(["bundle", "verify", str(copy)]) == 1


@pytest.mark.parametrize("bundle", ["b.tar"], indirect=True)
def test_damage_in_one_image_leaves_the_other_whole(tmp_path, bundle):
    copy = tmp_path / "b.tar"
    shutil.copytree(bundle.parent, tmp_path, dirs_exist_ok=True)
    own = IMAGES["b:v1"].layers[-1]
    archive = Archive(copy)
    member = archive.members[f"blobs/sha256/{own.digest.hex}"]
    archive.close()
    flipped(copy, member.offset, 0)
    found = verify_bundle(copy)
    assert found.damaged == ["b:v1"]
    assert found.lost == [own.digest]


def forged(copy: Path, change) -> Verdict:
    """Return what is said of a bundle that somebody made whole again after he changed it: checksums and all."""
    import hashlib  # noqa: PLC0415

    from transship.pipeline.digest import Digest  # noqa: PLC0415
    from transship.pipeline.transports.checksums import Checksums, Volume, sums_of  # noqa: PLC0415

    medium = open_medium(copy)
    from transship.pipeline.transports.medium import read_at  # noqa: PLC0415

    raw = change(read_at(medium, 0, medium.size))
    medium.close()
    for one in volumes(copy):
        one.unlink()
    one = copy.with_name("b.tar.001")
    one.write_bytes(raw)
    begin = raw.index(b'{\n "blobs"')
    end = raw.index(b"\n}\n", begin) + 3
    said = Checksums(Digest.of(raw[begin:end]), (Volume(one.name, len(raw), hashlib.sha256(raw).hexdigest()),))
    sums_of(copy).write_bytes(said.raw())
    return verify_bundle(copy)


@pytest.mark.parametrize("bundle", ["b.tar"], indirect=True)
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw, ""),
        (lambda raw: raw.replace(b'"name": "a:v1"', b'"name": "c:v1"'), "not what the images make of it"),
        (lambda raw: raw + bytes(512), "bytes after it"),
        (lambda raw: raw.replace(b'"bundle": 1', b'"bundle": 2'), "of version 2, only 1"),
        (lambda raw: raw.replace(b' "bundle": 1', b' "bumble": 1'), "of version None, only 1"),
    ],
)
def test_what_fits_its_checksums_and_not_itself_is_refused(copy, change, why):
    found = forged(copy, change)
    assert found.sound is (why == "")
    assert why in " ".join(map(str, found.faults))


def test_what_would_be_read_is_what_its_checksums_name(copy, tmp_path):
    beside = copy.with_name(f"{copy.name}.{len(volumes(copy)) + 1:03d}")
    for other in (copy, beside):
        other.write_bytes(b"another")
        faults = verify_bundle(copy).faults
        assert (other.name, "would be read, and its checksums do not name it") in faults
        other.unlink()
    assert verify_bundle(copy).sound
    # Sound checksums under another name vouch for the files that they name, not for those of that name.
    copy.with_name("c.tar.sums").write_bytes(copy.with_name(f"{copy.name}.sums").read_bytes())
    for name in ("c.tar", "c.tar.001"):
        copy.with_name(name).write_bytes(b"another")
        found = verify_bundle(copy.with_name(name))
        assert found.faults[0] == ("c.tar.sums", f"names {copy.name}.001, which is no file of c.tar")
        assert main(["bundle", "load", str(copy.with_name(name)), "--to", f"oci:{tmp_path}/loaded"]) == 1
    assert not (tmp_path / "loaded").exists()


def test_what_is_not_there_is_said_so(tmp_path):
    with pytest.raises(NotFoundError, match="no such bundle"):
        verify_bundle(tmp_path / "none.tar")
    (tmp_path / "x.tar").write_bytes(b"x" * 3000)
    assert not verify_bundle(tmp_path / "x.tar").sound
    (tmp_path / "y.tar.zst").write_bytes(b"x" * 3000)
    assert not verify_bundle(tmp_path / "y.tar.zst").sound


@pytest.mark.parametrize("bundle", ["b.tar.zst"], indirect=True)
def test_frames_are_read_by_their_table(bundle):
    medium = Volumes(volumes(bundle))
    table = seek_table(medium, "here")
    medium.close()
    assert table is not None
    assert len(table.packed) > 1


def test_all_files_of_a_bundle_are_one_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    batch = write_batch(tmp_path / "in", IMAGES)
    create(batch, tmp_path / "b.tar", "--split", "2K")
    create(batch, tmp_path / "c.tar")
    files = sorted(str(path) for path in tmp_path.iterdir() if path.is_file())
    assert len(files) > 5
    assert main(["bundle", "verify", *files]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == [f"{tmp_path}/b.tar", f"{tmp_path}/c.tar"]
    places = ("--to", f"oci:{tmp_path}/out", "--runs", f"{tmp_path}/runs", "--progress", "none")
    assert main(["bundle", "load", *files[:3], *places]) == 0
    assert main(["bundle", "list", f"{tmp_path}/b.tar.002"]) == 0
    # What belongs to no bundle is what it is called.
    (tmp_path / "b.tar.sums").unlink()
    assert main(["bundle", "verify", f"{tmp_path}/b.tar.002"]) == 1


@pytest.mark.parametrize("name", ["b.tar", "b.tar.zst"])
def test_a_blob_of_another_algorithm_has_a_long_name_and_is_verified_and_read(tmp_path: Path, name: str) -> None:
    image = IMAGES["a:v1"]
    batch = write_batch(tmp_path, {"a:v1": image})
    blobs = tmp_path / "from/blobs"
    digest = Digest.of(image.layers[0].packed, "sha512")
    (blobs / "sha512").mkdir()
    (blobs / "sha256" / image.layers[0].digest.hex).rename(blobs / "sha512" / digest.hex)
    raw = image.manifest_raw.replace(str(image.layers[0].digest).encode(), str(digest).encode())
    (blobs / "sha256" / Digest.of(raw).hex).write_bytes(raw)
    index = (tmp_path / "from/index.json").read_text().replace(str(image.digest), str(Digest.of(raw)))
    (tmp_path / "from/index.json").write_text(index.replace(f": {len(image.manifest_raw)}", f": {len(raw)}"))
    create(batch, tmp_path / name)
    assert verify_bundle(tmp_path / name).sound
    assert main(["copy", "-q", f"bundle:{tmp_path / name}:a:v1", f"oci:{tmp_path}/out:x"]) == 0
    assert (tmp_path / "out/blobs/sha512" / digest.hex).read_bytes() == image.layers[0].packed
