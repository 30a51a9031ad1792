"""Writing one stream into files: hashed on the way, each beside its name until all are whole, then renamed."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from transship.pipeline.compression.codecs import DEFAULT_LEVELS, Compression
from transship.pipeline.disk import WriteBack, at_disk, remove_file, sync_directory, write_all
from transship.pipeline.durable import scratch_folder, write_durably
from transship.pipeline.errors import ConflictError, UsageError
from transship.pipeline.overlap import InOrder
from transship.pipeline.transports.checksums import Checksums, Volume, signatures_of, sums_of
from transship.pipeline.transports.frames import encode_table
from transship.pipeline.transports.tar_writer import refuse_foreign
from transship.pipeline.transports.volumes import MAX_VOLUMES, numbers, stem_of, volume

FRAME: Final = 1 << 20
"""Bytes of tar in each frame: what a reader unpacks at once to read one of them. The bundle's bytes depend on it."""


class VolumeWriter:
    """Writes the files of a bundle. A context manager: what is not committed leaves nothing."""

    def __init__(self, path: Path, split: int) -> None:
        """Write to ``path``; to volumes of ``split`` bytes where that is not 0."""
        self._path = path
        self._split = split
        self._written: list[Volume] = []
        self._scratch = ExitStack()
        self._folder = path.parent
        self._handle = -1
        self._hasher = hashlib.sha256()
        self._size = 0
        self._write_back = WriteBack(self._handle)

    def __enter__(self) -> Self:
        """Refuse to replace what is no bundle; remove what killed writers left.

        Raises:
            ConflictError: what is there is no archive, or is in volumes where this is not, or the other way.
            NotFoundError: the folder is not there.
        """
        refuse_unfit(self._path, split=bool(self._split))
        self._folder = self._scratch.enter_context(scratch_folder(self._path.parent))
        return self

    def write(self, data: "bytes | memoryview") -> None:
        """Take the next bytes; raises `TransportError` where the disk refuses."""
        rest = memoryview(data)
        while rest:
            if self._handle < 0:
                self._begin()
            some = rest[: self._split - self._size] if self._split else rest
            with at_disk(self._path):
                write_all(self._handle, some)
            self._size += len(some)
            self._write_back.reached(self._size)
            self._hasher.update(some)
            rest = rest[len(some) :]
            if self._size == self._split:
                self._end()

    def commit(self, document: Checksums) -> Checksums:
        """Give all files their names, then write their checksums; durable on return.

        Killed on the way it leaves no checksums, by which everybody knows that it is not whole.
        ``document`` has the digest of bundle.json; returned with the volumes.
        """
        self._end()
        found = document._replace(volumes=tuple(self._written))
        with at_disk(self._path):
            # Signatures first: beside other checksums they would be of something else.
            for gone in (*signatures_of(self._path), sums_of(self._path)):
                remove_file(gone)
            for one in self._written:
                os.rename(self._folder / one.name, self._path.with_name(one.name))
            for number in numbers(self._path) if self._split else ():
                # Of what was here before, and had more of them.
                if number > len(self._written):
                    volume(self._path, number).unlink()
            sync_directory(self._path.parent)
        write_durably(sums_of(self._path), found.raw())
        return found

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Remove what was not committed."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        self._scratch.close()

    def _name(self) -> str:
        return volume(self._path, len(self._written) + 1).name if self._split else self._path.name

    def _begin(self) -> None:
        if len(self._written) >= MAX_VOLUMES:
            raise UsageError(
                f"{self._path}: over {MAX_VOLUMES} volumes of {self._split} bytes", advice="say a larger --split"
            )
        with at_disk(self._path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._handle = os.open(self._folder / self._name(), flags, 0o666)
        self._hasher = hashlib.sha256()
        self._size = 0
        self._write_back = WriteBack(self._handle)

    def _end(self) -> None:
        if self._handle < 0:
            return
        with at_disk(self._path):
            os.fsync(self._handle)
        self._written.append(Volume(self._name(), self._size, self._hasher.hexdigest()))
        os.close(self._handle)
        self._handle = -1


def refuse_unfit(path: Path, *, split: bool) -> None:
    """Raise as `VolumeWriter.__enter__` says."""
    if not path.name.isprintable() or "\\" in path.name or stem_of(path) != path:
        raise UsageError(f"{path}: not fit for the name of a bundle", advice="name it FILE.tar or FILE.tar.zst")
    refuse_foreign(volume(path, 1) if split else path)
    if split and os.path.lexists(path):
        raise ConflictError(f"{path} is there, beside which nobody would read volumes of it", advice="remove it first")
    if not split and numbers(path):
        raise ConflictError(f"{path} is there in volumes", advice="remove them first, or say --split")


def framed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield ``pieces`` packed by zstd in frames of `FRAME` bytes, on all cores, and their table at the end."""
    packing: InOrder[bytes, tuple[bytes, int]] = InOrder(_frame)
    sizes: list[tuple[int, int]] = []

    def noted(done: Iterator[tuple[bytes, int]]) -> Iterator[bytes]:
        for packed, plain in done:
            sizes.append((len(packed), plain))
            yield packed

    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= FRAME:
            yield from noted(packing.add(bytes(waiting[:FRAME])))
            del waiting[:FRAME]
    if waiting:
        yield from noted(packing.add(bytes(waiting)))
    yield from noted(packing.rest())
    yield encode_table(sizes)


def _frame(plain: bytes) -> tuple[bytes, int]:
    from pyzstd import CParameter, compress  # noqa: PLC0415 - few bundles are packed

    options: dict[int, int] = {
        CParameter.compressionLevel: DEFAULT_LEVELS[Compression.ZSTD],
        CParameter.checksumFlag: 1,
    }
    return compress(plain, options), len(plain)
