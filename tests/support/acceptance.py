"""The corpus that the acceptance tests copy, at the size asked for, and the tools that judge what became of it.

By default it is small. `make acceptance` sets the variables to twenty images of some 40 MB each, compressed.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.corpus import Sample, corpus, sha256
from support.engines import timed, tool
from support.images import OCI_MANIFEST

COUNT = int(os.environ.get("TRANSSHIP_IMAGES", "5"))
BASE = int(os.environ.get("TRANSSHIP_BASE_MIB", "1")) << 20
OWN = int(os.environ.get("TRANSSHIP_OWN_MIB", "0")) << 20
PATIENCE = 300 + COUNT * (BASE + OWN >> 20)
"""Seconds after which a test hangs."""
OCI_LAYERS = "application/vnd.oci.image.layer.v1.tar"
_PATH = Path(__file__).resolve().parents[1] / "path"


@functools.cache
def images() -> list[Sample]:
    """Return the corpus; the last image is multi-platform, the others are not."""
    return corpus(COUNT, BASE, OWN)


def name_of(image: Sample) -> str:
    return f"{image.repository}:{image.tag}"


def flat(image: Sample) -> str:
    return image.repository.replace("/", "-")


def document(raw: bytes) -> Any:
    return json.loads(raw)


def skopeo(*command: str | Path) -> bytes:
    return tool("skopeo", "--insecure-policy", *command, timeout=PATIENCE)


def transship(*command: str | Path) -> str:
    """Run the product's command, which must succeed."""
    words = [sys.executable, "-m", "transship.pipeline.cli.main", *(str(part) for part in command)]
    with timed(f"transship {command[0]}"):
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env={**os.environ, "PYTHONPATH": str(_PATH)},
        )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def instance(reference: str, architecture: str, folder: Path) -> bytes:
    """Return the manifest of one instance of the index ``reference``, which skopeo copies as it is."""
    skopeo("--override-arch", architecture, "copy", "--preserve-digests", reference, f"dir:{folder}")
    return (folder / "manifest.json").read_bytes()


def check_unpacks(layout: str, image: Sample, bundle: Path) -> None:
    """Umoci unpacks ``layout``; the image's own file is there, and its shell runs."""
    tool("umoci", "unpack", "--rootless", "--image", layout, bundle, timeout=PATIENCE)
    rootfs = bundle / "rootfs"
    own = rootfs / "app" / f"{image.repository}-{image.tag}-amd64"
    assert own.read_text() == f"{image.prints}\n" * 1000
    assert tool(rootfs / "bin" / "echo", image.prints).decode().strip() == image.prints


def check_oci(manifest: Any, config: bytes, layers: list[str]) -> None:
    """``manifest`` says only OCI's media types, and names ``config`` and the ``layers``."""
    assert manifest["mediaType"] == OCI_MANIFEST
    assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
    assert manifest["config"]["digest"] == sha256(config)
    assert {layer["mediaType"] for layer in manifest["layers"]} <= {OCI_LAYERS, f"{OCI_LAYERS}+gzip"}
    assert [layer["digest"] for layer in manifest["layers"]] == layers


def sizes(folder: Path) -> str:
    """Say how large the corpus is, and how large what the product wrote; MB are millions of bytes."""
    each = [sum(len(blob) for blob in set(image.blobs)) / 1e6 for image in images()]
    whole = sum(len(blob) for blob in {blob for image in images() for blob in image.blobs}) / 1e6
    made: dict[str, dict[int, int]] = {}
    for one in sorted(folder.iterdir()):
        # Files that are links of one another count once.
        kept = made.setdefault("folders" if one.name.startswith("dir-") else one.name, {})
        kept |= {found.st_ino: found.st_size for path in (one, *one.rglob("*")) if (found := path.lstat())}
    lines = [f"{COUNT} images of {min(each):.1f} to {max(each):.1f} MB compressed, {whole:.1f} MB in all"]
    return "\n".join([*lines, *(f"{name}: {sum(kept.values()) / 1e6:.1f} MB" for name, kept in made.items())])
