"""transship and the installed skopeo beside each other, and images for both."""

import subprocess
from pathlib import Path

from support.command import command
from support.images import ImageBytes
from support.registry_server import RegistryServer, push_blob, put_manifest


def upload(server: RegistryServer, repository: str, name: str, image: ImageBytes) -> None:
    for child in image.children:
        upload(server, repository, str(child.digest), child)
    manifests = {child.digest for child in image.children}
    for digest, blob in image.blobs.items():
        if digest not in manifests:
            push_blob(server, repository, blob)
    put_manifest(server, repository, name, image.manifest_raw, image.media_type)


def skopeo(folder: Path, *words: str) -> bytes:
    done = subprocess.run(["skopeo", *words], cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def ours(folder: Path, *words: str) -> str:
    done = command(folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def skopeo_code(folder: Path, *words: str) -> int:
    """Return skopeo's exit code."""
    words = ("--insecure-policy", *words)
    return subprocess.run(["skopeo", *words], cwd=folder, capture_output=True, timeout=60, check=False).returncode
