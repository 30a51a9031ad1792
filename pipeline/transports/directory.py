"""``dir:``, one image as plain files in a folder: the layout of containers-image's "Directory Transport"."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from transship.pipeline.digest import Digest, check
from transship.pipeline.disk import at_disk, has_file, make_folder, remove_folder, sync_directory
from transship.pipeline.durable import claim, link_or_copy, scratch_beside, sweep, write_durably
from transship.pipeline.errors import ConflictError, ContentError, NotFoundError, UsageError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.views import Manifest, Schema1, parse
from transship.pipeline.signature import MAX_SIGNATURE, MAX_SIGNATURES, Signature, from_file, refuse_more, to_file
from transship.pipeline.transport import StoredBlob
from transship.pipeline.transports.exchange import exchange
from transship.pipeline.transports.files import open_regular, read_regular

VERSION: Final = "version"
ROOT: Final = "manifest.json"
VERSION_RAW: Final = b"Directory Transport Version: 1.1\n"
_VERSION_RAW_ANY_DIGEST: Final = b"Directory Transport Version: 1.2\n"
_OURS: Final = (
    r"version|manifest\.json|signature-[0-9]+|([a-z0-9]+-)?[0-9a-f]{64,128}(\.manifest\.json|\.signature-[0-9]+)?"
)


class DirectorySource:
    """The image of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return a manifest, as `Source.manifest` says."""
        if instance is not None:
            path = self._path / f"{file_name(instance)}.manifest.json"
            with suppress(NotFoundError):
                return _instance(read_regular(path, MAX_DOCUMENT), instance, str(path))
        path = self._path / ROOT
        try:
            root = parse(read_regular(path, MAX_DOCUMENT), what=str(path))
        except NotFoundError as error:
            raise NotFoundError(f"{self._path} holds no image: {error}") from error
        if instance is not None and root.digest != instance:
            raise NotFoundError(f"{self._path}: no manifest {instance}")
        return root

    def blob(self, wanted: Descriptor, start: int = 0) -> BinaryIO:
        """Open a blob, as `Source.blob` says."""
        return open_regular(self._path / file_name(wanted.digest), start)

    def signatures(self, manifest: Digest, *, instance: bool) -> list[Signature]:
        """Read the files that hold signatures, as `Signed.signatures` says."""
        found: list[Signature] = []
        size = 0
        while len(found) <= MAX_SIGNATURES:
            path = self._path / _signature_name(len(found) + 1, manifest if instance else None)
            try:
                raw = read_regular(path, MAX_SIGNATURE)
            except NotFoundError:
                return found
            size += len(raw)
            refuse_more(size, str(self._path))
            found.append(from_file(raw, str(path)))
        raise ContentError(f"{self._path}: over {MAX_SIGNATURES} signatures")

    def blob_size(self, digest: Digest) -> int:
        """Return the size of a blob's file, as `SizesBlobs.blob_size` says."""
        with open_regular(self._path / file_name(digest)) as stream:
            return os.fstat(stream.fileno()).st_size

    def close(self) -> None:
        """Nothing is kept open."""


def _instance(raw: bytes, wanted: Digest, what: str) -> Manifest:
    try:
        check(raw, wanted, what)
    except ContentError:
        # A signed v2s1 manifest is named by its payload, not by all its bytes.
        view = parse(raw, what=what) if b'"signatures"' in raw else None
        if not isinstance(view, Schema1) or view.digest != wanted:
            raise
        return view
    return parse(raw, what=what)


class DirectorySink:
    """Writes one image aside and swaps it in on commit; an image there before is replaced then."""

    accepts = MANIFESTS

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made = path
        self._handle = -1
        self._root: Digest | None = None
        self._version = VERSION_RAW

    def __enter__(self) -> Self:
        """Make the folder aside.

        Raises:
            ConflictError: the destination has files in it that are not of a ``dir:`` image.
        """
        self._path = self._path.resolve()
        _refuse_foreign(self._path)
        with at_disk(self._path):
            make_folder(self._path.parent)
            sweep(self._path)
            self._made = scratch_beside(self._path)
            self._made.mkdir()
            self._handle = os.open(self._made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            claim(self._handle)
        return self

    def has(self, wanted: Descriptor) -> bool:
        """Say whether the blob was put already."""
        return has_file(self._made / file_name(wanted.digest), wanted.size)

    def put_blob(self, content: StoredBlob) -> None:
        """Link or copy a blob in, as `Sink.put_blob` says."""
        link_or_copy(content.path, self._made / self._named(content.descriptor.digest))

    def discard(self, digest: Digest) -> None:
        """Do nothing: the whole is written anew each time."""

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Add a manifest, as `Sink.put_manifest` says; the name itself is not kept, ``dir:`` has none.

        Raises:
            UsageError: a second image, for which there is no room.
        """
        digest = manifest.digest
        if name is None:
            write_durably(self._made / f"{self._named(digest)}.manifest.json", manifest.raw)
            return
        if self._root not in {None, digest}:
            raise UsageError(f"dir:{self._path} holds one image, and a second was put", advice="name another folder")
        self._root = digest
        write_durably(self._made / ROOT, manifest.raw)

    def signatures_refused(self, *, sigstore: bool = False) -> str:
        """Say that there is a place for them, as `KeepsSignatures.signatures_refused` has it."""
        return ""

    def put_signatures(self, manifest: Digest, signatures: Sequence[Signature], *, instance: bool) -> None:
        """Add files for the signatures of a manifest, as `KeepsSignatures.put_signatures` says."""
        if instance and manifest.algorithm != "sha256":
            self._version = _VERSION_RAW_ANY_DIGEST
        for number, signature in enumerate(signatures, 1):
            name = _signature_name(number, manifest if instance else None)
            write_durably(self._made / name, to_file(signature))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Swap the folder in where ``kind`` is None, durable on return."""
        try:
            if kind is None:
                write_durably(self._made / VERSION, self._version)
                _refuse_foreign(self._path)
                with at_disk(self._path):
                    exchange(self._made, self._path)
                    sync_directory(self._path.parent)
        finally:
            os.close(self._handle)
            remove_folder(self._made)

    def _named(self, digest: Digest) -> str:
        if digest.algorithm != "sha256":
            self._version = _VERSION_RAW_ANY_DIGEST
        return file_name(digest)


def _signature_name(number: int, instance: Digest | None) -> str:
    return f"{file_name(instance)}.signature-{number}" if instance else f"signature-{number}"


def file_name(digest: Digest) -> str:
    """Return what the file of a blob is called."""
    return digest.hex if digest.algorithm == "sha256" else f"{digest.algorithm}-{digest.hex}"


def _refuse_foreign(path: Path) -> None:
    try:
        with at_disk(path), os.scandir(path) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except NotFoundError:
        if os.path.lexists(path):
            raise ConflictError(f"{path} is no folder", advice="name another one") from None
        return
    names = {name for name, _ in found}
    strange = sorted(name for name, is_folder in found if is_folder or not re.fullmatch(_OURS, name))
    if strange or (names and VERSION not in names):
        raise ConflictError(
            f"{path} is there and is no image folder ({shown((strange or sorted(names))[0])!r} is in it); "
            "it is left as it is",
            advice="name another folder, or empty it",
        )
