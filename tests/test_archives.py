"""Archives as docker of every age writes them, and as an attacker does."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.conformance import put, read_all
from support.images import ImageBytes, make_image, write_layout
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ConflictError, ContentError, Error, NotFoundError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.views import Image, parse
from transship.pipeline.transport import FileBlob, RangeRefusedError
from transship.pipeline.transports.docker_archive import DockerArchiveSink, DockerArchiveSource
from transship.pipeline.transports.oci_archive import OciArchiveSink, OciArchiveSource
from transship.pipeline.transports.tar import Archive
from transship.pipeline.verify import verify

TAG = "docker.io/library/app:v1"
Entry = tuple[str, bytes | str]


def make_tar(path: Path, *entries: Entry, form: int = tarfile.USTAR_FORMAT) -> Path:
    """Write files (bytes) and symlinks (text), in the order given."""
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def saved(image: ImageBytes, layers: list[str], config: str | None = None, tags: tuple[str, ...] = (TAG,)) -> bytes:
    name = config or f"{Digest.of(image.config).hex}.json"
    return json.dumps([{"Config": name, "RepoTags": list(tags) or None, "Layers": layers}]).encode()


def entries_of(image: ImageBytes) -> list[Entry]:
    names = [f"{layer.diff_id.hex}.tar" for layer in image.layers]
    return [
        (f"{Digest.of(image.config).hex}.json", image.config),
        *((name, layer.tar) for name, layer in zip(names, image.layers, strict=True)),
        ("manifest.json", saved(image, names)),
    ]


def old_save(path: Path, image: ImageBytes) -> Path:
    """As docker before 25: a folder a layer, the second a link to the first where they are equal."""
    entries: list[Entry] = []
    seen: dict[Digest, str] = {}
    names = []
    for number, layer in enumerate(image.layers):
        folder = hashlib.sha256(f"{number}".encode()).hexdigest()
        names.append(f"{folder}/layer.tar")
        first = seen.setdefault(layer.diff_id, folder)
        content: bytes | str = layer.tar if first == folder else f"../{first}/layer.tar"
        entries += [(f"{folder}/VERSION", b"1.0"), (f"{folder}/json", b"{}"), (f"{folder}/layer.tar", content)]
    entries += [(f"{Digest.of(image.config).hex}.json", image.config), ("manifest.json", saved(image, names))]
    return make_tar(path, *entries, ("repositories", b"{}"))


def new_save(path: Path, image: ImageBytes, compressed: bool) -> Path:
    """As docker from 25 on: an OCI layout with a manifest.json; with the containerd store its layers are gzip."""
    layout = path.with_name("layout")
    write_layout(layout, {"v1": image})
    blobs = [layer.packed if compressed else layer.tar for layer in image.layers]
    entries: list[Entry] = [
        (str(file.relative_to(layout)), file.read_bytes()) for file in sorted(layout.rglob("*")) if file.is_file()
    ]
    names = [f"blobs/sha256/{Digest.of(blob).hex}" for blob in blobs]
    held = {name for name, _ in entries}
    entries += [(name, blob) for name, blob in zip(names, blobs, strict=True) if name not in held]
    return make_tar(
        path, *entries, ("manifest.json", saved(image, names, f"blobs/sha256/{Digest.of(image.config).hex}"))
    )


@pytest.mark.parametrize(
    "save",
    [
        old_save,
        lambda path, image: new_save(path, image, compressed=True),
        lambda path, image: new_save(path, image, compressed=False),
        lambda path, image: make_tar(path, *entries_of(image), form=tarfile.PAX_FORMAT),
        lambda path, image: make_tar(path, *entries_of(image), form=tarfile.GNU_FORMAT),
    ],
    ids=["old", "containerd store", "docker 25", "pax", "gnu"],
)
def test_every_docker_save(tmp_path: Path, save: Callable[[Path, ImageBytes], Path]) -> None:
    image = make_image(1, 3, docker=False, healthcheck=True)
    path = save(tmp_path / "saved.tar", image)
    for name in ("", TAG, "app:v1"):
        with closing(DockerArchiveSource(path, name)) as source:
            root = source.manifest()
            assert isinstance(root, Image)
            assert [layer.digest for layer in root.layers] == [layer.diff_id for layer in image.layers]
            assert [layer.size for layer in root.layers] == [len(layer.tar) for layer in image.layers]
            assert read_all(source)[root.config.digest] == image.config
            assert verify(source).findings == ()
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    with closing(DockerArchiveSource(path.with_suffix(".gz"))) as source:
        assert source.manifest() == root
        assert verify(source).findings == ()


def test_links_between_equal_layers(tmp_path: Path) -> None:
    one = make_image(1, 1)
    twice = make_image(2, 0, base_layers=one.layers * 2)
    with closing(DockerArchiveSource(old_save(tmp_path / "saved.tar", twice))) as source:
        assert verify(source).findings == ()


def test_a_compressed_archive_is_unpacked_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    unnamed = tempfile.TemporaryFile
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: made.append(how) or unnamed(**how))
    path = tmp_path / "saved.tar.gz"
    for seed in (1, 2):
        image = make_image(seed, compressed=False)
        path.write_bytes(gzip.compress(make_tar(tmp_path / "saved.tar", *entries_of(image)).read_bytes()))
        for _ in range(3):
            with closing(DockerArchiveSource(path)) as source:
                assert set(read_all(source).values()) >= {layer.tar for layer in image.layers}
        assert len(made) == seed


def test_compressed_archives_open_at_once_keep_their_own_bytes(tmp_path: Path) -> None:
    images = [make_image(seed, compressed=False) for seed in range(5)]
    paths = [tmp_path / f"{seed}.tar.gz" for seed in range(5)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(gzip.compress(make_tar(tmp_path / "saved.tar", *entries_of(image)).read_bytes()))
    with ExitStack() as opened:
        sources = [opened.enter_context(closing(DockerArchiveSource(path))) for path in paths]
        for source, image in zip(sources, images, strict=True):
            assert set(read_all(source).values()) >= {layer.tar for layer in image.layers}


def test_compressed_layer_is_read_from_its_start_only(tmp_path: Path) -> None:
    path = new_save(tmp_path / "saved.tar", make_image(1, docker=False), compressed=True)
    with closing(DockerArchiveSource(path)) as source:
        root = source.manifest()
        assert isinstance(root, Image)
        with pytest.raises(RangeRefusedError):
            source.blob(root.layers[0], 1)


def _manifest(config: str, layers: list[str]) -> bytes:
    return json.dumps([{"Config": config, "RepoTags": None, "Layers": layers}]).encode()


_ONE_LAYER = b'{"rootfs":{"diff_ids":["sha256:' + b"0" * 64 + b'"]}}'


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"manifest.json": "config.json", "config.json": "manifest.json"}, "is a link"),
        ({"a": "b", "b": "a", "manifest.json": ("a", [])}, "circle"),
        ({"manifest.json": ("../../etc/passwd", [])}, "outside"),
        ({"manifest.json": ("/etc/passwd", [])}, "outside"),
        ({"evil": "../../etc/passwd"}, "outside"),
        ({"a/../../x": b""}, "outside"),
        ({"/etc/x": b""}, "outside"),
        ({"manifest.json": b" " * (50 << 20)}, "over"),
        ({"manifest.json": b"{}"}, "expected a JSON list"),
        ({"manifest.json": b'[],"images":[]'}, "Extra data"),
        ({"manifest.json": b"[7]"}, r"\[0\] is not an object"),
        ({"manifest.json": b'[{"Config": "c", "repoTags": ["a:b"], "Layers": []}]'}, "another spelling"),
        ({"manifest.json": b"\xff"}, "UTF-8"),
        ({"manifest.json": ("config", ["layer"]), "config": b" " * (50 << 20)}, "over"),
        (
            {"manifest.json": ("config", []), "config": _ONE_LAYER},
            "1 diff",
        ),
        ({"manifest.json": ("config", ["layer"]), "config": b'{"rootfs":{"diff_ids":[]}}'}, "0 diff"),
        ({"manifest.json": (f"{'0' * 64}.json", []), f"{'0' * 64}.json": b'{"rootfs":{}}'}, "does not match"),
    ],
)
def test_hostile_docker_archive(
    tmp_path: Path, changes: dict[str, bytes | str | tuple[str, list[str]]], why: str
) -> None:
    entries: list[Entry] = []
    for name, content in changes.items():
        made = content if not isinstance(content, tuple) else _manifest(*content)
        entries.append((name, made))
    path = make_tar(tmp_path / "hostile.tar", *entries)
    tracemalloc.start()
    with pytest.raises(ContentError, match=why) as caught, closing(DockerArchiveSource(path)) as source:
        source.manifest()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert "\n" not in str(caught.value)


def test_duplicate_member_is_refused(tmp_path: Path) -> None:
    for second in ("manifest.json", "./manifest.json", "x/../manifest.json"):
        path = make_tar(tmp_path / "twice.tar", ("manifest.json", b"[]"), (second, b"[1]"))
        with pytest.raises(ContentError, match=r"twice|outside"):
            Archive(path)


def test_changed_archive_is_indexed_anew(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "x.tar", ("a", b"1"))
    with closing(Archive(path)) as first, closing(Archive(path)) as second:
        assert first.members is second.members
    make_tar(path, ("b", b"1" * 20000))
    with closing(Archive(path)) as third:
        assert list(third.members) == ["b"]


def test_device_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "device.tar", "w") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.type = tarfile.FIFOTYPE
        archive.addfile(member)
    with pytest.raises(ContentError, match="neither file"):
        Archive(tmp_path / "device.tar")


def test_huge_pax_header_is_refused_unread(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "pax.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(ContentError, match="limit"):
        Archive(tmp_path / "pax.tar")


@pytest.mark.parametrize("keep", [0, 700, 5000, -1200])
def test_cut_short(tmp_path: Path, keep: int) -> None:
    path = make_tar(tmp_path / "cut.tar", ("a", b"1" * 3000), ("b", b"2" * 3000))
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[:keep])
    with pytest.raises(ContentError, match=r"cut\.tar: .*(cut short|empty|no tar header)"):
        Archive(path)


def test_gzip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", 9) as stream:
        for _ in range(300):
            stream.write(bytes(1 << 20))
    with pytest.raises(ContentError, match="bomb"):
        Archive(path)


@given(st.binary(max_size=3000), st.integers(0, 4000))
def test_any_bytes_give_an_index_or_an_error(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("noise")
    path = make_tar(folder / "x.tar", ("a" * 120, b"1" * 600), ("b", "a"), form=tarfile.PAX_FORMAT)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + noise + whole[at + len(noise) :])
    try:
        archive = Archive(path)
    except Error:
        return
    for name, member in archive.members.items():
        assert ".." not in name.split("/")
        assert member.offset + member.size <= path.stat().st_size
    archive.close()


def test_link_in_an_oci_archive_is_refused(tmp_path: Path) -> None:
    image = make_image(1, docker=False)
    write_layout(tmp_path / "layout", {"v1": image})
    files = [path for path in sorted((tmp_path / "layout").rglob("*")) if path.is_file()]
    victim = f"blobs/sha256/{image.digest.hex}"
    entries: list[Entry] = [(str(path.relative_to(tmp_path / "layout")), path.read_bytes()) for path in files]
    moved = [("elsewhere" if name == victim else name, content) for name, content in entries]
    path = make_tar(tmp_path / "links.tar", *moved, (victim, "../../elsewhere"))
    with closing(OciArchiveSource(path, "v1")) as source, pytest.raises(ContentError, match="is a link"):
        source.manifest()


def test_layers_that_are_not_the_diff_ids_are_refused(tmp_path: Path) -> None:
    image = make_image(1, compressed=True)
    manifest = parse(image.manifest_raw)
    assert isinstance(manifest, Image)
    with pytest.raises(ContentError, match="diff IDs"), DockerArchiveSink(tmp_path / "x.tar") as sink:
        put(sink, image, TAG, tmp_path / "store")
    assert not (tmp_path / "x.tar").exists()


def test_names_of_one_image_share_an_entry(tmp_path: Path) -> None:
    image = make_image(1, compressed=False)
    with DockerArchiveSink(tmp_path / "x.tar") as sink:
        for name in ("app:v2", "", "docker.io/library/app:v1"):
            put(sink, image, name, tmp_path / "store")
    with tarfile.open(tmp_path / "x.tar") as archive:
        stream = archive.extractfile("manifest.json")
        assert stream
        (entry,) = json.load(stream)
    assert entry["RepoTags"] == ["docker.io/library/app:v1", "docker.io/library/app:v2"]


def test_image_without_a_name(tmp_path: Path) -> None:
    with DockerArchiveSink(tmp_path / "x.tar") as sink:
        put(sink, make_image(1, compressed=False), "", tmp_path / "store")
    with closing(DockerArchiveSource(tmp_path / "x.tar")) as source:
        assert verify(source).findings == ()


def test_blob_that_vanished_from_the_store_fails_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"")
    blob = Descriptor(parse(make_image(1).manifest_raw).media_type, Digest.of(b"x"), 1)
    with pytest.raises(NotFoundError, match=r"x\.tar"), OciArchiveSink(path) as sink:
        sink.put_blob(FileBlob(blob, tmp_path / "gone"))
    assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [path]


def test_archive_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"), OciArchiveSink(tmp_path / "no" / "x.tar"):
        pass
    with pytest.raises(ConflictError, match="regular file"), OciArchiveSink(tmp_path):
        pass


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_archive_comes_through_a_pipe(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    raw = pack(make_tar(tmp_path / "tar", ("a", b"content")).read_bytes())
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(raw,))
    writer.start()
    archive = Archive(tmp_path / "pipe")
    writer.join(30)
    with closing(archive):
        assert archive.read(archive.find("a"), 100) == b"content"
