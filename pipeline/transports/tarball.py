"""``tarball:``: tar files as the layers of an image, made as containers-image's ``tarball`` makes it.

Its manifest and config are the same to the byte for the same files, but for xz and bzip2, which no
layer may have: those are unpacked here.
"""

import io
import os
import tarfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.document import Json
from transship.pipeline.manifest.platform import host
from transship.pipeline.transports.makeshift import Layer, MadeSource, measured, timestamp
from transship.pipeline.transports.older_packing import unpacked_of_old
from transship.pipeline.transports.spool import Spools, spooled
from transship.pipeline.transports.tar import BLOCK

_STDIN: Final = "-"
_YEAR_1: Final = -62135596800 * 10**9
_input: Final = Spools(1)
"""Standard input, which can be read once, and is asked for each time the image is opened."""


def open_tarball(paths: Sequence[str]) -> MadeSource:
    """Return the image whose layers are the files, base first; ``-`` is standard input.

    Same files with same times of change give the same image. What is no file has no such time: 1970.

    Raises:
        NotFoundError: one is not there.
        ContentError: one is no tar, damaged, cut short or a bomb.
        TransportError: one is a folder, or the disk refused.
    """
    with ExitStack() as opened:
        layers: list[Layer] = []
        times: list[int] = []
        for path in paths:
            stream, time = _opened(path)
            opened.enter_context(stream)
            _refuse_other(stream, path)
            layers.append(measured(stream, path))
            times.append(time)
        made = MadeSource(f"tarball:{':'.join(paths)}", layers, _config(layers, times, paths), typed=False)
        opened.pop_all()
    return made


def _opened(path: str) -> tuple[io.FileIO, int]:
    """Return a file that is seekable, and packed by gzip or zstd if at all; and when it was changed last, in ns."""
    with at_disk(Path(path)):
        if path == _STDIN:
            return unpacked_of_old(_input.get(_STDIN, lambda: spooled(io.FileIO(os.dup(0)), path)), path), 0
        stream = io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if not stream.seekable():
            return unpacked_of_old(spooled(stream, path), path), 0
        time = os.fstat(stream.fileno()).st_mtime_ns
        return unpacked_of_old(stream, path), time


def _refuse_other(stream: io.FileIO, path: str) -> None:
    """Raise `ContentError` where a plain file does not begin as a tar does."""
    with at_disk(Path(path)):
        block = os.pread(stream.fileno(), BLOCK, 0)
    if block.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")) or not block.strip(b"\0"):
        return
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ContentError(f"tarball: {shown(path, 400)} is no tar: {error}", advice="expected tar files") from error


def _config(layers: Sequence[Layer], times: Sequence[int], paths: Sequence[str]) -> dict[str, Json]:
    here = host()
    history: list[Json] = [
        {
            "created": timestamp(time, path),
            "created_by": f"/bin/sh -c #(nop) ADD file:{layer.diff_id.hex} in /",
            "comment": "imported from tarball",
        }
        for layer, time, path in zip(layers, times, paths, strict=True)
    ]
    return {
        "created": timestamp(max(_YEAR_1, *times), paths[0]),
        "architecture": here.architecture,
        "os": here.os,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        "history": history,
    }
