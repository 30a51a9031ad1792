"""How the names of images on disk become repository and tag.

- ``repo:tag``, ``path/repo:tag``, ``host.example/path/repo:tag``: just that. One with a registry
  host is also found without the host, unless another image has that name.
- a bare ``name``: repository ``name``, tag ``latest``; and, where ``name`` may be a tag,
  repository <name of the folder or file>, tag ``name``.
- no name at all: reachable by digest; if it is the only image, also as <folder or file>:latest.

Grammar: OCI distribution-spec, "Pulling manifests".
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.transports.volumes import stem_of

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
MAX_REPOSITORY: Final = 255

Names = dict[str, dict[str, Descriptor]]


def repository_of(path: Path) -> str:
    """Return the repository name that a folder or archive gives: its name in lower case, mended where need be."""
    name = stem_of(path.resolve()).name.lower().removesuffix(".zst").removesuffix(".tar")
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "images"


def table(named: Iterable[tuple[str, Descriptor]], own: str) -> Names:
    """Return repository -> tag -> manifest; ``own`` is the repository of bare names.

    Of two images with one name the last wins, as in an OCI layout's index. Names that no
    registry could have are left out; ``own`` is always there, so that digests can be pulled.
    """
    images = list(named)
    found: Names = {own: {}}
    short: dict[tuple[str, str], dict[Digest, Descriptor]] = {}
    for name, manifest in images:
        for repository, tag in _places(name, own):
            found.setdefault(repository, {})[tag] = manifest
        for place in _without_host(name):
            short.setdefault(place, {})[manifest.digest] = manifest
    for (repository, tag), manifests in short.items():
        if len(manifests) == 1:
            found.setdefault(repository, {}).setdefault(tag, *manifests.values())
    if len(images) == 1 and not found[own]:
        found[own]["latest"] = images[0][1]
    return found


def _places(name: str, own: str) -> Iterator[tuple[str, str]]:
    repository, colon, tag = name.rpartition(":")
    if colon:
        if _is_repository(repository) and TAG.fullmatch(tag):
            yield repository, tag
        return
    if _is_repository(name):
        yield name, "latest"
    if TAG.fullmatch(name):
        yield own, name


def _without_host(name: str) -> Iterator[tuple[str, str]]:
    host, slash, rest = name.partition("/")
    repository, colon, tag = rest.rpartition(":")
    is_host = "." in host or ":" in host or host == "localhost"
    if slash and is_host and colon and _is_repository(repository) and TAG.fullmatch(tag):
        yield repository, tag


def _is_repository(name: str) -> bool:
    return len(name) <= MAX_REPOSITORY and REPOSITORY.fullmatch(name) is not None
