"""Bundles that were spoiled on purpose, with checksums that fit: who made them made these too."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from support.images import ImageBytes, make_image, make_index
from transship.pipeline.transports.tar_writer import header

IMAGES: dict[str, ImageBytes] = {
    "team/app:v1": make_image("hostile app", docker=False, layers=1),
    "tool:v2": make_index(
        [
            make_image(f"hostile {name}", docker=False, layers=1, platform=name)
            for name in ("linux/amd64", "linux/arm64")
        ],
        docker=False,
    ),
}
Said = dict[str, Any]


class Member(NamedTuple):
    """A member of the tar: its name, its content, and its header where that is not as transship writes it."""

    name: str
    content: bytes
    head: bytes | None = None

    @property
    def raw(self) -> bytes:
        head = header(self.name, len(self.content)) if self.head is None else self.head
        return head + self.content + bytes(-len(self.content) % 512)


def sound() -> Said:
    """Return a bundle.json of `IMAGES`."""
    blobs = {str(digest): raw for image in IMAGES.values() for digest, raw in image.all_blobs.items()}
    return {
        "bundle": 1,
        "tool": "transship 1.0",
        "codecs": [],
        "images": [_image(name, image) for name, image in sorted(IMAGES.items())],
        "blobs": [{"digest": digest, "size": len(raw)} for digest, raw in sorted(blobs.items())],
    }


def _image(name: str, image: ImageBytes) -> Said:
    return {
        "name": name,
        "source": f"docker://registry.example/{name}",
        "pinned": str(image.digest),
        "digest": str(image.digest),
        "media-type": image.media_type,
        "size": len(image.manifest_raw),
        "losses": [],
        "referrers": [],
    }


def spelt(said: object) -> bytes:
    """Return a bundle.json as transship spells it."""
    return json.dumps(said, ensure_ascii=False, indent=1, sort_keys=True).encode(errors="surrogatepass") + b"\n"


def members(
    said: Said | bytes | None = None, index: bytes | None = None, more: Mapping[str, bytes] | None = None
) -> list[Member]:
    """Return the members of a bundle, all in their places, of what bundle.json says and of all blobs there are.

    There are ``more`` where a bundle.json says so, by their digests.
    """
    entries = [
        {
            "mediaType": image.media_type,
            "digest": str(image.digest),
            "size": len(image.manifest_raw),
            "annotations": {"org.opencontainers.image.ref.name": name},
        }
        for name, image in sorted(IMAGES.items())
    ]
    own = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    blobs = {str(digest): raw for image in IMAGES.values() for digest, raw in image.all_blobs.items()} | dict(
        more or {}
    )
    raw = said if isinstance(said, bytes) else spelt(sound() if said is None else said)
    return [
        Member("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        Member("index.json", json.dumps(own, separators=(",", ":")).encode() if index is None else index),
        Member("bundle.json", raw),
        *(Member(f"blobs/{digest.replace(':', '/')}", blobs[digest]) for digest in sorted(blobs)),
    ]


def written(path: Path, parts: Iterable[Member], *, end: bytes = bytes(1024), split: int = 0) -> Path:
    """Write a bundle of these members and its checksums; return its path."""
    found = list(parts)
    document = next((one.content for one in found if one.name == "bundle.json"), b"")
    return packed(path, b"".join(one.raw for one in found) + end, document, split=split)


def packed(path: Path, raw: bytes, document: bytes, *, split: int = 0) -> Path:
    """Write the bytes of a bundle, and checksums that fit; return its path."""
    pieces = [raw[start : start + split] for start in range(0, len(raw), split)] if split else [raw]
    names = [f"{path.name}.{number:03}" for number in range(1, len(pieces) + 1)] if split else [path.name]
    lines = [f"# bundle.json sha256:{hashlib.sha256(document).hexdigest()}"]
    for name, piece in zip(names, pieces, strict=True):
        path.with_name(name).write_bytes(piece)
        lines += [f"# {len(piece)} bytes", f"{hashlib.sha256(piece).hexdigest()}  {name}"]
    path.with_name(f"{path.name}.sums").write_bytes(sums(lines))
    return path


def sums(lines: Iterable[str]) -> bytes:
    """Return a list of checksums of these lines, below a head that fits them."""
    below = "\n".join([*lines, ""]).encode(errors="surrogateescape")
    return (
        f"# transship bundle, version 1\n# the lines below sha256:{hashlib.sha256(below).hexdigest()}\n".encode()
        + below
    )


def changed(change: Callable[[Said], object]) -> Said:
    """Return a bundle.json of `IMAGES` with something changed."""
    said = sound()
    change(said)
    return said
