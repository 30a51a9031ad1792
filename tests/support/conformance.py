"""Suites that every file transport passes; a test module subclasses them and says how to open its transport."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from support.images import ImageBytes, make_base, make_image, make_multi
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ConflictError, ContentError, Error, NotFoundError, UsageError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.manifest.views import Image, Index, Manifest, parse
from transship.pipeline.transport import FileBlob, Sink, Source
from transship.pipeline.verify import verify


def read_all(source: Source) -> dict[Digest, bytes]:
    """Return every manifest and blob below a source's root, unverified."""
    found: dict[Digest, bytes] = {}

    def walk(manifest: Manifest) -> None:
        found[manifest.digest] = manifest.raw
        if isinstance(manifest, Index):
            for child in manifest.manifests:
                walk(source.manifest(child.digest))
        elif isinstance(manifest, Image):
            for blob in manifest.blobs:
                with source.blob(blob) as stream:
                    found[blob.digest] = b"".join(iter(lambda: stream.read(1000), b""))

    walk(source.manifest())
    return found


def keep(image: ImageBytes, folder: Path) -> dict[Digest, Path]:
    """Write an image's blobs as read-only files, as a store has them."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for digest, raw in image.blobs.items():
        path = folder / digest.hex
        if not path.exists():
            path.write_bytes(raw)
            path.chmod(0o444)
        paths[digest] = path
    return paths


def put(sink: Sink, image: ImageBytes, name: str | None, store: Path) -> None:
    """Put an image into an entered sink: blobs, children, the root."""
    for child in image.children:
        put(sink, child, None, store)
    manifest = parse(image.manifest_raw, image.media_type)
    if isinstance(manifest, Image):
        paths = keep(image, store)
        for blob in manifest.blobs:
            if not sink.has(blob):
                sink.put_blob(FileBlob(blob, paths[blob.digest]))
            assert sink.has(blob)
    sink.put_manifest(manifest, name)


def tree(path: Path) -> dict[str, str]:
    """Return every file at or below a path with the hash of its bytes, or its link target."""
    paths = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = {}
    for each in paths:
        if each.is_symlink():
            found[str(each)] = f"-> {os.readlink(each)}"
        elif each.is_file():
            found[str(each)] = hashlib.sha256(each.read_bytes()).hexdigest()
    return found


class TransportSuite:
    """What both suites ask of a test module."""

    docker = False
    compressed = True
    indexes = True
    several = True
    any_format = False

    def sink(self, path: Path) -> Sink:
        raise NotImplementedError

    def source(self, path: Path, name: str = "", index: int | None = None) -> Source:
        raise NotImplementedError

    def damage(self, path: Path, image: ImageBytes) -> None:
        """Flip a byte of the image's first layer where it lies."""
        blob = max(image.blobs.values(), key=len) if self.compressed else image.layers[0].tar
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            raw = file.read_bytes() if file.is_file() else b""
            if blob in raw:
                middle = raw.index(blob) + len(blob) // 2
                file.unlink()
                file.write_bytes(raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :])
                return
        raise AssertionError("no layer to damage")

    def make(self, seed: int | str, **options: object) -> ImageBytes:
        return make_image(seed, docker=self.docker, compressed=self.compressed, **options)  # type: ignore[arg-type]

    def name(self, number: int) -> str:
        return f"example.com/app:v{number}" if self.docker else f"v{number}"

    def written(self, path: Path, *images: ImageBytes) -> Path:
        with self.sink(path) as sink:
            for number, image in enumerate(images):
                put(sink, image, self.name(number), path.with_name("store"))
        return path

    def fail_while_writing(self, path: Path) -> None:
        with contextlib.suppress(ZeroDivisionError), self.sink(path) as sink:
            put(sink, self.make(2), self.name(0), path.with_name("store"))
            raise ZeroDivisionError

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Path]:
        yield tmp_path / "out"
        assert list(tmp_path.rglob("*.partial")) == []


class SourceSuite(TransportSuite):
    """Reading."""

    def test_every_byte_comes_back(self, place: Path) -> None:
        image = self.make(1, base_layers=make_base(1), healthcheck=True)
        with closing(self.source(self.written(place, image))) as source:
            found = read_all(source)
        assert {digest: found[digest] for digest in image.blobs} == image.blobs

    def test_blob_from_the_middle(self, place: Path) -> None:
        image = self.make(1)
        with closing(self.source(self.written(place, image))) as source:
            manifest = source.manifest()
            assert isinstance(manifest, Image)
            blob = manifest.layers[0]
            with source.blob(blob, 100) as stream:
                assert stream.read() == image.blobs[blob.digest][100:]
            with source.blob(blob, blob.size) as stream:
                assert stream.read() == b""

    def test_index_and_its_instances(self, place: Path) -> None:
        if not self.indexes:
            return
        multi = make_multi(1, docker=self.docker)
        with closing(self.source(self.written(place, multi))) as source:
            assert read_all(source) == multi.all_blobs

    def test_missing_destination(self, place: Path) -> None:
        with pytest.raises(NotFoundError):
            self.source(place).manifest()

    def test_missing_name_and_position(self, place: Path) -> None:
        if not self.several:
            return
        path = self.written(place, self.make(1), self.make(2))
        with pytest.raises(NotFoundError, match="v1"):
            self.source(path, "example.com/other:tag" if self.docker else "other")
        with pytest.raises(NotFoundError, match="2"):
            self.source(path, index=2)
        with pytest.raises(UsageError, match="none was named"):
            self.source(path)

    def test_missing_blob_and_instance(self, place: Path) -> None:
        with closing(self.source(self.written(place, self.make(1)))) as source:
            source.manifest()
            nowhere = Digest.of(b"nowhere")
            with pytest.raises(NotFoundError):
                source.manifest(nowhere)
            with pytest.raises(NotFoundError), source.blob(Descriptor(MediaType("x"), nowhere, 7)):
                pass

    def test_damaged_blob_is_found(self, place: Path) -> None:
        image = self.make(1, layers=1)
        path = self.written(place, image)
        with closing(self.source(path)) as source:
            assert verify(source).findings == ()
        self.damage(path, image)
        with closing(self.source(path)) as source:
            assert [finding.fault for finding in verify(source).findings] == ["damaged"]

    def test_close_twice(self, place: Path) -> None:
        source = self.source(self.written(place, self.make(1)))
        source.close()
        source.close()


class SinkSuite(TransportSuite):
    """Writing."""

    def test_same_bytes_twice_and_in_another_order(self, tmp_path: Path) -> None:
        images = [self.make(n) for n in range(4 if self.several else 1)]
        store = tmp_path / "store"
        for number, order in enumerate((images, images[::-1])):
            with self.sink(tmp_path / f"{number}") as sink:
                for image in order:
                    put(sink, image, self.name(images.index(image)), store)
        first = [(name.partition(f"{tmp_path}/0")[2], value) for name, value in tree(tmp_path / "0").items()]
        second = [(name.partition(f"{tmp_path}/1")[2], value) for name, value in tree(tmp_path / "1").items()]
        assert first == second

    def test_again_changes_nothing(self, place: Path) -> None:
        image = self.make(1)
        before = tree(self.written(place, image))
        assert tree(self.written(place, image)) == before

    def test_several_images_by_name_and_position(self, place: Path) -> None:
        if not self.several:
            return
        images = [self.make(n) for n in range(3)]
        self.written(place, *images)
        for number, image in enumerate(images):
            for source in (self.source(place, self.name(number)), self.source(place, index=number)):
                with closing(source):
                    found = read_all(source)
                assert image.blobs.items() <= found.items()

    def test_failure_leaves_what_was_there(self, place: Path) -> None:
        self.written(place, self.make(1))
        before = tree(place)
        self.fail_while_writing(place)
        assert before.items() <= tree(place).items()
        with closing(self.source(place)) as source:
            assert verify(source).findings == ()

    def test_failure_leaves_no_image(self, place: Path) -> None:
        self.fail_while_writing(place)
        with pytest.raises(NotFoundError):
            self.source(place).manifest()
        self.written(place, self.make(2))

    def test_foreign_folder_is_untouched(self, place: Path) -> None:
        place.mkdir()
        (place / "thesis.txt").write_text("years of work")
        with pytest.raises(ConflictError, match="out"), self.sink(place):
            pass
        assert (place / "thesis.txt").read_text() == "years of work"

    def test_foreign_file_is_untouched(self, place: Path) -> None:
        place.write_text("years of work")
        with pytest.raises(Error, match="out"), self.sink(place):
            pass
        assert place.read_text() == "years of work"

    def test_store_files_are_neither_changed_nor_moved(self, place: Path) -> None:
        image = self.make(1)
        self.written(place, image)
        for digest, raw in image.blobs.items():
            path = place.with_name("store") / digest.hex
            assert path.read_bytes() == raw
            assert path.stat().st_mode & 0o777 == 0o444

    def test_manifest_of_another_format_is_refused(self, place: Path) -> None:
        if self.any_format:
            return
        wrong = make_image(1, docker=not self.docker)
        with pytest.raises(ContentError, match="cannot hold"), self.sink(place) as sink:
            sink.put_manifest(parse(wrong.manifest_raw), "v1")
