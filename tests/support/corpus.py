"""A corpus of images that really run, made of files that are on the machine; and how it gets into a registry.

Nothing here is the product's code.
"""

import gzip
import hashlib
import io
import json
import random
import tarfile
import urllib.parse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from support.images import DOCKER_LIST, DOCKER_MANIFEST

GZIP_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"
LARGEST_FILE = 8 << 20


@dataclass(frozen=True)
class Packed:
    digest: str
    diff_id: str
    raw: bytes


@dataclass(frozen=True)
class Sample:
    """One image: repository, tag, its manifest and what it prints when run."""

    repository: str
    tag: str
    manifest: bytes
    media_type: str
    blobs: tuple[bytes, ...]
    prints: str
    children: tuple[bytes, ...] = ()


def sha256(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def pack(files: dict[str, bytes], modes: dict[str, int] | None = None, level: int = 1) -> Packed:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), (modes or {}).get(name, 0o644)
            archive.addfile(info, io.BytesIO(content))
    tar = buffer.getvalue()
    raw = gzip.compress(tar, level, mtime=0)
    return Packed(sha256(raw), sha256(tar), raw)


def real_files(limit: int, seed: int | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield files of the machine's Python and documentation first, until ``limit`` bytes.

    With ``seed`` it is a choice of its own of all that the machine has, but for what is over 8 MiB.
    """
    roots = (Path(json.__file__).parent.parent, Path("/usr/share/doc"), Path("/usr/lib"))
    found: Iterable[Path] = (path for root in roots for path in sorted(root.rglob("*")))
    if seed is not None:
        found = sorted(Path("/usr/lib").rglob("*"))
        random.Random(seed).shuffle(found)
    total = 0
    for path in found:
        if total >= limit:
            return
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts:
            if seed is not None and path.stat().st_size > LARGEST_FILE:
                continue
            content = path.read_bytes()
            yield f"usr/share/real/{path.name}-{len(content)}", content
            total += len(content)
    raise RuntimeError(f"this machine has {total} bytes of files to build images of, {limit} are needed")


def base_layers(size: int) -> list[Packed]:
    """Return a layer with a shell that runs, and one of ``size`` bytes of real files."""
    shell = Path("/bin/busybox").read_bytes()
    return [
        pack({"bin/sh": shell, "bin/echo": shell}, {"bin/sh": 0o755, "bin/echo": 0o755}),
        pack(dict(real_files(size))),
    ]


def sample(repository: str, tag: str, layers: list[Packed], prints: str, architecture: str = "amd64") -> Sample:
    own = pack({f"app/{repository}-{tag}-{architecture}": f"{prints}\n".encode() * 1000})
    return assembled(repository, tag, [*layers, own], prints, architecture)


def assembled(repository: str, tag: str, stack: list[Packed], prints: str, architecture: str = "amd64") -> Sample:
    """Return an image of just these layers."""
    config = {
        "architecture": architecture,
        "os": "linux",
        "created": "2024-01-02T03:04:05Z",
        "docker_version": "20.10.24",
        "config": {
            "Cmd": ["/bin/echo", prints],
            "Env": ["PATH=/bin"],
            "Labels": {"app": repository},
            "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000},
            "OnBuild": ["RUN true"],
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in stack]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": f"COPY {n}"} for n in range(len(stack))],
    }
    config_raw = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": CONFIG, "size": len(config_raw), "digest": sha256(config_raw)},
        "layers": [{"mediaType": GZIP_LAYER, "size": len(layer.raw), "digest": layer.digest} for layer in stack],
    }
    blobs = (config_raw, *(layer.raw for layer in stack))
    return Sample(repository, tag, json.dumps(manifest, indent=3).encode(), DOCKER_MANIFEST, blobs, prints)


def multi_platform(repository: str, tag: str, layers: list[Packed]) -> Sample:
    """Return a manifest list of amd64 and arm64 (which shares the base: nothing of it is run)."""
    made = [sample(repository, tag, layers, f"{repository} on {arch}", arch) for arch in ("amd64", "arm64")]
    entries = [
        {
            "mediaType": DOCKER_MANIFEST,
            "size": len(one.manifest),
            "digest": sha256(one.manifest),
            "platform": {"architecture": arch, "os": "linux"},
        }
        for one, arch in zip(made, ("amd64", "arm64"), strict=True)
    ]
    document = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}
    return Sample(
        repository,
        tag,
        json.dumps(document).encode(),
        DOCKER_LIST,
        tuple(blob for one in made for blob in one.blobs),
        made[0].prints,
        tuple(one.manifest for one in made),
    )


def corpus(count: int, base_size: int, own_size: int = 0) -> list[Sample]:
    """Return ``count`` images, the last multi-platform: a base that all share, and a layer that none shares.

    Both are real files of about that many bytes uncompressed; without ``own_size`` the base is all but a few bytes.
    """
    base = base_layers(base_size)

    def stack(n: int) -> list[Packed]:
        return [*base, pack(dict(real_files(own_size, n)))] if own_size else base

    made = [sample(f"team/app{n}", "v1", stack(n), f"hello from app{n}") for n in range(count - 1)]
    return [*made, multi_platform("team/multi", "v1", stack(count - 1))]


def push(address: str, image: Sample) -> None:
    """Push ``image`` to a registry at ``host:port`` over plain HTTP, children first."""
    connection = HTTPConnection(address, timeout=60)
    try:
        for blob in dict.fromkeys(image.blobs):
            _push_blob(connection, image.repository, blob)
        for child in image.children:
            _put(connection, f"/v2/{image.repository}/manifests/{sha256(child)}", child, json.loads(child)["mediaType"])
        _put(connection, f"/v2/{image.repository}/manifests/{image.tag}", image.manifest, image.media_type)
    finally:
        connection.close()


def _push_blob(connection: HTTPConnection, repository: str, blob: bytes) -> None:
    connection.request("POST", f"/v2/{repository}/blobs/uploads/")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 202, answer.status
    where = urllib.parse.urlsplit(answer.headers["Location"])
    query = "&".join(part for part in (where.query, f"digest={sha256(blob)}") if part)
    _put(connection, f"{where.path}?{query}", blob, "application/octet-stream")


def _put(connection: HTTPConnection, path: str, body: bytes, media_type: str) -> None:
    connection.request("PUT", path, body, {"Content-Type": media_type})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 201, (answer.status, text)
