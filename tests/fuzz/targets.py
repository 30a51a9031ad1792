"""What is fuzzed: functions of bytes that raise nothing but what their caller expects. No code of a fuzzer.

`tests/fuzz/run.py` runs one under atheris for as long as wanted; `test_fuzz_targets.py` runs each over Hypothesis.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, cast

from transship.pipeline.batch import read_batch
from transship.pipeline.bundle.verify import verify_bundle
from transship.pipeline.compression import Compression
from transship.pipeline.compression.decoding import Budget, decompressed
from transship.pipeline.convert.shape import Shape
from transship.pipeline.digest import Digest
from transship.pipeline.errors import Error, UsageError
from transship.pipeline.jobs import Delivery, ImageJob, Member, Plan
from transship.pipeline.manifest import views
from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.document import dump, load
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.plan_file import read_plan
from transship.pipeline.reference import parse_reference
from transship.pipeline.registry import auth, challenge, pages
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.credentials import AuthFiles, CredentialStore
from transship.pipeline.registry.origin import Url
from transship.pipeline.registry.pace import Pace
from transship.pipeline.registry.response import Headers, RawResponse
from transship.pipeline.registry.settings import HostSettings, Patience
from transship.pipeline.registry.span import check_span
from transship.pipeline.report import report
from transship.pipeline.sync.reading import read_source_file
from transship.pipeline.transports.bundle import BundleSource, names_in
from transship.pipeline.transports.bundle_file import BUNDLE, BundleFile
from transship.pipeline.transports.checksums import Checksums, Volume
from transship.pipeline.transports.docker_archive import DockerArchiveSource
from transship.pipeline.transports.entries import Entries
from transship.pipeline.transports.frames import Frames, seek_table
from transship.pipeline.transports.medium import FileMedium, read_at
from transship.pipeline.transports.oci_archive import OciArchiveSource
from transship.pipeline.transports.tar import Archive
from transship.pipeline.trust.openpgp import read_signatures
from transship.tasks.checkpoint import CheckpointTarget

_BASE: Final = Url.parse("http://registry.example/v2/app/")
_KINDS: Final = ("", *sorted(MANIFESTS))
_FOLDER: Final = Path(tempfile.gettempdir())


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Answer:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    made = Answer("GET", _BASE, status, Headers(pairs))
    made.body = body
    return made


def manifest(data: bytes) -> None:
    with suppress(Error):
        view = views.parse(data[1:], _KINDS[data[0] % len(_KINDS)] if data else "")
        assert view.digest
        assert load(dump(view.document), "again") == view.document


def index(data: bytes) -> None:
    with suppress(Error):
        entries = Entries.empty().read(data, "here")
        raw = entries.raw("here")
        assert Entries.empty().read(raw, "here").raw("here") == raw
        entries.named("v1")


def config(data: bytes) -> None:
    with suppress(Error):
        ImageConfig.parse(data)


def challenges(data: bytes) -> None:
    for found in challenge.parse(data.decode("latin-1")):
        assert found.scheme == found.scheme.lower()


def link(data: bytes) -> None:
    with suppress(Error):
        found = pages.next_page(answer(link=data.decode("latin-1")), _BASE, set())
        assert found is None or not found.startswith("//")


def location(data: bytes) -> None:
    with suppress(Error):
        found = _BASE.join(data.decode("latin-1"), "Location")
        assert found.origin.scheme in ("http", "https")
        assert "@" not in str(found.origin)


def content_range(data: bytes) -> None:
    headers = {"content_range": data[2:].decode("latin-1")}
    with suppress(Error):
        check_span(answer(status=206, **headers), 1000, 1 + (data[0] if data else 0))


def retry_after(data: bytes) -> None:
    pace = Pace(Patience(), 1, cast(Any, None))
    told = pace.told({"Retry-After": data.decode("latin-1")})
    assert told is None or 0 <= told <= Patience().longest_retry_after


def tags(data: bytes) -> None:
    with suppress(Error):
        for tag in pages.read_tags(answer(data)):
            assert "/" not in tag


def token(data: bytes) -> None:
    with suppress(Error):
        auth._read_token(answer(data), 0.0)


def error_body(data: bytes) -> None:
    said = str(answer(data, 404, content_type="application/json").error())
    assert said.isprintable()


class _Wire:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(cast(io.RawIOBase, io.BytesIO(self._data)))

    def gettimeout(self) -> float:
        return 1.0

    def settimeout(self, _: float | None) -> None:
        """There is nothing to wait for."""


def response(data: bytes) -> None:
    found = RawResponse(cast(Any, _Wire(data)), method="GET")
    with suppress(HTTPException, OSError):
        found.begin()
        while found.read1(1000):
            pass


def _stream(data: bytes) -> io.FileIO:
    stream = io.FileIO(os.memfd_create("fuzz"), "r+")
    stream.write(data)
    stream.seek(0)
    return stream


def tar(data: bytes) -> None:
    with suppress(Error):
        archive = Archive(Path("in.tar"), _stream(data))
        try:
            for name, member in archive.members.items():
                assert not name.startswith("/")
                assert ".." not in name.split("/")
                assert ".." not in member.link.split("/")
                with suppress(Error):
                    archive.read(archive.find(name, follow=True), 1000)
        finally:
            archive.close()


def docker_archive(data: bytes) -> None:
    with suppress(Error):
        source = DockerArchiveSource(Path("in.tar"), stream=_stream(data))
        try:
            source.manifest()
        finally:
            source.close()


def oci_archive(data: bytes) -> None:
    stream = _stream(data)
    with stream, suppress(Error):
        OciArchiveSource(Path(f"/proc/self/fd/{stream.fileno()}")).close()


def bundle_json(data: bytes) -> None:
    with suppress(Error):
        found = BundleFile.read(data, "here")
        assert BundleFile.read(found.raw(), "here") == found


def bundle(data: bytes) -> None:
    """Hold that whatever `bundle verify` finds sound all others read alike."""
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        path = Path(name) / "b.tar"
        path.write_bytes(data)
        said = _said(path)
        files = (Volume(path.name, len(data), hashlib.sha256(data).hexdigest()),)
        with suppress(Error):
            found = verify_bundle(path, Checksums(Digest.of(said), files))
            if found.sound and found.said is not None:
                assert found.said.raw() == said
                assert names_in(path) == sorted(image.name for image in found.said.images)
                for image in found.said.images:
                    with closing(BundleSource(path, image.name)) as source:
                        assert source.manifest().digest == image.digest


def _said(path: Path) -> bytes:
    """Return the bundle.json of an archive, or nothing."""
    with suppress(Error), closing(Archive(path)) as archive:
        return archive.read(archive.find(BUNDLE), 1 << 20)
    return b""


def checksums(data: bytes) -> None:
    with suppress(Error):
        assert Checksums.parse(data, "here").raw() == data


def signatures(data: bytes) -> None:
    with suppress(Error):
        found = read_signatures(data, "here")
        assert read_signatures(b"".join(found), "again") == found


def frames(data: bytes) -> None:
    with suppress(Error), closing(FileMedium(_stream(data), "here")) as medium:
        table = seek_table(medium, "here")
        if table is not None:
            packed = Frames(medium, table, "here")
            assert len(read_at(packed, 0, 100_000)) == min(packed.size, 100_000)


def layers(data: bytes) -> None:
    for kind in (Compression.GZIP, Compression.ZSTD):
        with suppress(Error):
            for _ in decompressed(io.BytesIO(data), kind, Budget(1 << 20, 400)):
                pass


_IMAGE: Final = ImageJob("docker://registry.example/app:v1", "all")
_DELIVERY: Final = Delivery("oci", "/out", (Member(_IMAGE.key, Shape(), "v1"),))
_PLAN: Final = Plan("p", "x", {_IMAGE.key: _IMAGE}, {_DELIVERY.key: _DELIVERY})


def checkpoint(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name:
        root = Path(name)
        for key in (_IMAGE.key, _DELIVERY.key):
            folder = root / "checkpoints" / key
            folder.mkdir(parents=True)
            for task in ("FetchManifest", "FetchBlobs", "ResolvePlatform", "WriteImage", "VerifyDigests", "error"):
                (folder / f"{task}.json").write_bytes(data)
        CheckpointTarget(str(folder / "WriteImage.json"), "WriteImage", {}).read()
        dump(report(root, _PLAN))


def plan(data: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as name, suppress(Error):
        (Path(name) / "batch.json").write_bytes(data)
        found = read_plan(Path(name))
        assert found is not None
        report(Path(name), found)


def batch(data: bytes) -> None:
    for suffix in ("yaml", "json"):
        _read(data, f"b.{suffix}", lambda path: read_batch(path, lambda *_: ["v1"]))


def source_file(data: bytes) -> None:
    _read(data, "sync.yaml", lambda path: read_source_file(path, HostSettings()))


def auth_file(data: bytes) -> None:
    def read(path: Path) -> None:
        CredentialStore(AuthFiles((path,), True, {})).find("registry.example", "app")

    _read(data, "auth.json", read)


def _read(data: bytes, name: str, read: Callable[[Path], object]) -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder, suppress(Error):
        path = Path(folder) / name
        path.write_bytes(data)
        read(path)


def reference(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(UsageError):
        found = parse_reference(text)
        assert parse_reference(str(found)) == found
    with suppress(Error):
        Digest.parse(text)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        manifest, index, config, challenges, link, location, content_range, retry_after, tags, token, error_body,
        response, tar, docker_archive, oci_archive, bundle_json, bundle, checksums, signatures,
        frames, layers, checkpoint, plan, batch, source_file, auth_file, reference,
    )
}  # fmt: skip
