"""The parts of a SIF file that an image is made of; no I/O but reading it.

Source: the Singularity Image Format as sylabs/sif v2 writes it: a header of 128 bytes, descriptors
of 585 each, little-endian, and the objects that they name.
"""

import os
import struct
import uuid
from typing import Final, NamedTuple

from transship.pipeline.errors import ContentError

_HEADER: Final = struct.Struct("<32s10s3s3s16sqqqqqqqq")
_DESCRIPTOR: Final = struct.Struct("<i?IIIqqqqqqq128s384s")
_PARTITION: Final = struct.Struct("<ii3s")
_MAGIC: Final = b"SIF_MAGIC\0"
_VERSION: Final = b"01\0"
_MAX_DESCRIPTORS: Final = 4096
_MAX_DEFINITION: Final = 1 << 20
_DEFINITION: Final = 0x4001
_FILE_SYSTEM: Final = 0x4004
_PRIMARY: Final = 2
_KINDS: Final = {1: "squashfs", 2: "ext3", 3: "an archive", 4: "raw data", 5: "an encrypted squashfs"}
_ARCHITECTURES: Final = (
    *("unknown", "386", "amd64", "arm", "arm64", "ppc64", "ppc64le"),
    *("mips", "mipsle", "mips64", "mips64le", "s390x", "riscv64", "loong64"),
)


class Extent(NamedTuple):
    """Where an object lies in the file, in bytes."""

    offset: int
    size: int


class SifFile(NamedTuple):
    """What a SIF file says: its architecture in Go's words, ``modified`` in seconds since 1970."""

    architecture: str
    id: str
    modified: int
    root: Extent
    definition: str


def read_sif(handle: int, where: str) -> SifFile:
    """Return what the open file ``handle`` says; its root file system is a squashfs.

    Raises:
        ContentError: it is no SIF file, malformed, cut short, or its root file system is another kind or missing.
        OSError: the disk refused.
    """
    size = os.fstat(handle).st_size
    raw = os.pread(handle, _HEADER.size, 0)
    if len(raw) < _HEADER.size or raw[32:42] != _MAGIC:
        raise ContentError(f"{where}: no SIF file")
    _, _, version, arch, name, _, modified, _, total, at, _, _, _ = _HEADER.unpack(raw)
    if version != _VERSION:
        raise ContentError(f"{where}: SIF version {version.rstrip(bytes(1))!r}, expected 01")
    if not 0 <= total <= _MAX_DESCRIPTORS or at < _HEADER.size or at + total * _DESCRIPTOR.size > size:
        raise ContentError(f"{where}: damaged: {total} descriptors at byte {at}, of {size} bytes")
    table = os.pread(handle, total * _DESCRIPTOR.size, at)
    used = [found for found in _DESCRIPTOR.iter_unpack(table) if found[1]]
    return SifFile(
        _architecture(arch),
        str(uuid.UUID(bytes=name)),
        modified,
        _root(used, size, where),
        _definition(used, handle, where),
    )


def _architecture(code: bytes) -> str:
    digits = code.rstrip(b"\0")
    number = int(digits) if len(digits) == 2 and digits.isdigit() else 0
    return _ARCHITECTURES[number] if number < len(_ARCHITECTURES) else "unknown"


def _root(used: "list[tuple[int, ...]]", size: int, where: str) -> Extent:
    found = []
    for entry in used:
        kind, part, _ = _PARTITION.unpack_from(entry[-1])  # type: ignore[arg-type] # the last field is bytes
        if entry[0] == _FILE_SYSTEM and part == _PRIMARY:
            found.append((kind, Extent(entry[5], entry[6])))
    if len(found) != 1:
        raise ContentError(f"{where}: {len(found)} primary system partitions, expected one")
    kind, extent = found[0]
    if kind != 1:
        raise ContentError(
            f"{where}: its root file system is {_KINDS.get(kind, f'of unknown kind {kind}')}",
            advice="only squashfs is read: build the image anew",
        )
    if extent.offset < 0 or extent.size <= 0 or extent.offset + extent.size > size:
        raise ContentError(
            f"{where}: cut short or damaged: {extent.size} bytes of file system at byte {extent.offset} of {size}"
        )
    return extent


def _definition(used: "list[tuple[int, ...]]", handle: int, where: str) -> str:
    """Return the definition file; empty where there is none, or several."""
    found = [Extent(entry[5], entry[6]) for entry in used if entry[0] == _DEFINITION]
    if len(found) != 1 or found[0].offset < 0 or found[0].size < 0:
        return ""
    if found[0].size > _MAX_DEFINITION:
        raise ContentError(f"{where}: a definition file of {found[0].size} bytes, over the limit of {_MAX_DEFINITION}")
    return os.pread(handle, found[0].size, found[0].offset).decode("utf-8", "surrogateescape")


def start_script(definition: str) -> bytes:
    """Return the script that sets a definition's ``%environment`` and does its ``%runscript``; empty without either."""
    environment: list[str] = []
    run: list[str] = []
    section = ""
    lines = definition.split("\n")
    for line in lines if lines[-1] else lines[:-1]:
        text = line.strip()
        if text.startswith("%"):
            section = text
        elif section == "%environment" and text and not text.startswith("#"):
            environment.append(text)
        elif section == "%runscript":
            run.append(text)
    if not environment and not run:
        return b""
    script = "#!/bin/bash\n{}\n{}\n".format("\n".join(environment), "\n".join(run))
    return script.encode("utf-8", "surrogateescape")
