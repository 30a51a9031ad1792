"""``sif:``: the root file system of a Singularity image as one plain layer, as containers-image's ``sif`` makes it.

Its config is the same but for the layer's digest: entries here are sorted, and of no time but their own.
"""

import io
import os
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from transship.pipeline.disk import at_disk, write_all
from transship.pipeline.errors import ContentError, TransportError, shown
from transship.pipeline.manifest.document import Json
from transship.pipeline.transports.makeshift import Layer, MadeSource, measured, timestamp
from transship.pipeline.transports.medium import identity
from transship.pipeline.transports.sif_file import SifFile, read_sif, start_script
from transship.pipeline.transports.spool import Spools
from transship.pipeline.transports.squashfs import squashfs_tar
from transship.pipeline.transports.tar import BLOCK

_FOLDER: Final = "podman"
_SCRIPT: Final = "podman/runscript"
_BARE: Final = frozenset(
    {tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE}
)
"""Types of entries that no data follows, whatever size they say."""
_unpacked_lately: Final = Spools(2)


def open_sif(path: Path) -> MadeSource:
    """Return the image that a SIF file holds; its command is the definition's, or ``bash``.

    Raises:
        NotFoundError: there is no such file.
        ContentError: it is no SIF file, or damaged, its root file system is no squashfs, or a bomb.
        TransportError: sqfs2tar is not installed, or the disk refused.
    """
    where = f"sif:{shown(str(path), 400)}"
    with ExitStack() as opened, at_disk(path):
        stream = opened.enter_context(io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC)))
        if not stream.seekable():
            raise TransportError(f"{where} is no regular file")
        said = read_sif(stream.fileno(), where)
        script = start_script(said.definition)
        tar = _unpacked_lately.get(identity(stream.fileno()), lambda: _tar(stream, said, script, where))
        layer = measured(opened.enter_context(tar), where)
        made = MadeSource(where, [layer], _config(said, layer, script, where), typed=True)
        stream.close()
        opened.pop_all()
    return made


def _tar(stream: io.FileIO, said: SifFile, script: bytes, where: str) -> io.FileIO:
    made = squashfs_tar(stream, said.root, where)
    if script:
        try:
            _add_script(made, script, said.modified, where)
        except BaseException:
            made.close()
            raise
    return made


def _add_script(tar: io.FileIO, script: bytes, modified: int, where: str) -> None:
    """Write the script behind the last entry of a tar; what had its name before loses it to this one."""
    end, folder = _look_through(tar.fileno(), where)
    if folder not in (b"", tarfile.DIRTYPE):
        raise ContentError(f"{where}: /{_FOLDER} is no folder in it, where the start script belongs")
    file = _entry(f"./{_SCRIPT}", modified)
    file.size = len(script)
    written = file.tobuf(tarfile.GNU_FORMAT) + script + bytes(-len(script) % BLOCK) + bytes(2 * BLOCK)
    if not folder:
        parent = _entry(f"./{_FOLDER}/", modified)
        parent.type = tarfile.DIRTYPE
        written = parent.tobuf(tarfile.GNU_FORMAT) + written
    os.ftruncate(tar.fileno(), end)
    os.lseek(tar.fileno(), end, os.SEEK_SET)
    write_all(tar.fileno(), written)


def _entry(name: str, modified: int) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.mode = 0o755
    made.mtime = max(modified, 0)
    return made


def _look_through(handle: int, where: str) -> tuple[int, bytes]:
    """Return where the entries of a tar end, and the type of /podman in it, empty where there is none."""
    position = 0
    folder = b""
    while (block := os.pread(handle, BLOCK, position)).strip(b"\0"):
        try:
            entry = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ContentError(f"{where}: sqfs2tar wrote no tar header at byte {position}: {error}") from error
        if entry.name.removeprefix("./").rstrip("/") == _FOLDER:
            folder = entry.type
        position += BLOCK + (0 if entry.type in _BARE else -(-entry.size // BLOCK) * BLOCK)
    return position, folder


def _config(said: SifFile, layer: Layer, script: bytes, where: str) -> dict[str, Json]:
    created = timestamp(said.modified * 10**9, where)
    command = f"/{_SCRIPT}" if script else "bash"
    return {
        "created": created,
        "architecture": said.architecture,
        "os": "linux",
        "config": {"Cmd": [command]},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id)]},
        "history": [
            {
                "created": created,
                "created_by": f"/bin/sh -c #(nop) ADD file:{layer.diff_id.hex} in /",
                "comment": f"imported from SIF, uuid: {said.id}",
            },
            {"created": created, "created_by": '/bin/sh -c #(nop) CMD ["bash"]', "empty_layer": True},
        ],
    }
