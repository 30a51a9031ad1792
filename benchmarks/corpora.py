"""The images that are moved: made from seeds, the same bytes on every machine with the same zlib."""

import gzip
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

import pyzstd

from support.corpus import Packed, Sample, assembled, pack, sha256
from support.images import OCI_MANIFEST, ImageBytes, write_layout
from transship.pipeline.digest import Digest

_KIB: Final = 1024
_MIB: Final = 1 << 20
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
BASES: Final = 4
"""Base images that the realistic images share."""
_STORED: Final = 0
"""The gzip level that packs nothing: for content that cannot shrink, and must be made by the thousand."""


def tiny(first: int, last: int) -> Iterator[Sample]:
    """Yield images ``first`` to ``last`` - 1, of three layers of 8 to 256 KiB that nothing shares."""
    for n in range(first, last):
        source = random.Random(f"tiny {n}")
        layers = [pack({f"f{k}": source.randbytes(source.randrange(8, 255) * _KIB)}, level=_STORED) for k in range(3)]
        yield assembled(f"tiny/i{n}", "v1", layers, "")


def real(count: int, size: int) -> Iterator[Sample]:
    """Yield images of four layers of mostly text: two of a shared base, then one and a half ``size`` of its own."""
    bases = [[_packed(f"base {n} {k}", size) for k in range(2)] for n in range(min(BASES, count))]
    for n in range(count):
        own = [_packed(f"own {n} {k}", size >> k) for k in range(2)]
        yield assembled(f"real/app{n}", "v1", [*bases[n % len(bases)], *own], "")


def single(size: int) -> Sample:
    """Return an image of five layers, ``size`` bytes together, of mostly text."""
    return assembled("single/app", "v1", [_packed(f"single {k}", size // 5) for k in range(5)], "")


def large(size: int) -> Sample:
    """Return an image of one layer of ``size`` bytes that no compression makes smaller."""
    source = random.Random("large")
    # In pieces: randbytes makes at most 256 MiB at once.
    content = b"".join(source.randbytes(_MIB) for _ in range(size // _MIB))
    return assembled("large/blob", "v1", [pack({"data": content}, level=_STORED)], "")


def write_local(folder: Path, size: int) -> None:
    """Write the single image as layouts ``gzip``, ``zstd``, ``uncompressed`` and as ``archive.tar`` into ``folder``."""
    image = single(size)
    tars = [gzip.decompress(raw) for raw in image.blobs[1:]]
    kinds: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
        "gzip": ("+gzip", lambda tar: gzip.compress(tar, 6, mtime=0)),
        "zstd": ("+zstd", lambda tar: pyzstd.compress(tar, 3)),
        "uncompressed": ("", lambda tar: tar),
    }
    for name, (suffix, shrink) in kinds.items():
        write_layout(folder / name, {"v1": _oci(image.blobs[0], [shrink(tar) for tar in tars], suffix)})
    _write_archive(folder / "archive.tar", image.blobs[0], tars)


def _packed(seed: str, size: int) -> Packed:
    return pack({f"usr/share/{seed.replace(' ', '-')}": _content(seed, size)})


def _content(seed: str, size: int) -> bytes:
    """Return lines of words with random bytes between: gzip takes half off."""
    source = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(source.choices(letters, k=source.randrange(2, 11))) for _ in range(3000)]
    lines = [" ".join(source.choices(words, k=8)) for _ in range(4000)]
    pieces = []
    for _ in range(0, size, 64 * _KIB):
        text = "\n".join(source.choices(lines, k=1400))[: 58 * _KIB].encode()
        pieces.append(text + source.randbytes(64 * _KIB - len(text)))
    return b"".join(pieces)[:size]


def _oci(config: bytes, layers: list[bytes], suffix: str) -> ImageBytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": _CONFIG, "digest": sha256(config), "size": len(config)},
        "layers": [{"mediaType": _LAYER + suffix, "digest": sha256(raw), "size": len(raw)} for raw in layers],
    }
    blobs = {Digest.of(raw): raw for raw in (config, *layers)}
    return ImageBytes(json.dumps(document).encode(), OCI_MANIFEST, blobs)


def _write_archive(path: Path, config: bytes, tars: list[bytes]) -> None:
    names = [f"{n}/layer.tar" for n in range(len(tars))]
    manifest = [{"Config": "config.json", "RepoTags": ["example/app:v1"], "Layers": names}]
    members = {
        **dict(zip(names, tars, strict=True)),
        "config.json": config,
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(path, "w") as out:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            out.addfile(info, BytesIO(raw))
