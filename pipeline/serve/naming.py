"""How the names of images on disk become repository and tag.

- ``repo:tag``, ``path/repo:tag``, ``host.example/path/repo:tag``: just that. One with a registry
  host is also found without the host, unless another image has that name.
- a bare ``name`` that may be a tag: repository <name of the folder or file>, tag ``name``; and, unless another image
  has that name, repository ``name``, tag ``latest``. One that may not: the latter alone.
- no name at all: reachable by digest; if it is the only image, also as <folder or file>:latest.

Of several files a name that two say of different images is refused, but for a bundle and its base.

Grammar: OCI distribution-spec, "Pulling manifests".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.transports.volumes import stem_of

_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
MAX_REPOSITORY: Final = 255

Names = dict[str, dict[str, Descriptor]]
_Place = tuple[str, str]


def repository_of(path: Path) -> str:
    """Return the repository name that a folder or archive gives: its name in lower case, mended where need be."""
    name = stem_of(path.resolve()).name.lower().removesuffix(".zst").removesuffix(".tar")
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "images"


@dataclass(frozen=True, slots=True)
class Group:
    """The images of one file or folder, by the names that it gives them; ``own`` is the repository of bare names.

    ``base`` is the digest of the base of a differential bundle, and ``known`` has the digests by which a bundle could
    be the base of another.
    """

    where: str
    own: str
    images: Sequence[tuple[str, Descriptor]]
    base: Digest | None = None
    known: frozenset[Digest] = frozenset()


class _Said(NamedTuple):
    manifest: Descriptor
    group: Group


def table(groups: Sequence[Group]) -> Names:
    """Return repository -> tag -> manifest.

    Of two images with one name in one file the last wins, as in an OCI layout's index; of those in two files that of
    the bundle that was made on the other as its base, and else nobody could say. Names that no registry could have are
    left out; the repositories of bare names are always there, so that digests can be pulled.

    Raises:
        UsageError: two files have one name for different images.
    """
    said: dict[_Place, _Said] = {}
    guesses: dict[_Place, dict[Digest, Descriptor]] = {}
    for group in groups:
        sure, guessed = _within(group)
        for place, manifest in sure.items():
            other = said.get(place)
            if other is None or _is_newer(group, other, place, manifest, groups):
                said[place] = _Said(manifest, group)
        for place, manifest in guessed:
            guesses.setdefault(place, {})[manifest.digest] = manifest
    found: Names = {group.own: {} for group in groups}
    for (repository, tag), one in said.items():
        found.setdefault(repository, {})[tag] = one.manifest
    for (repository, tag), manifests in guesses.items():
        if len(manifests) == 1:
            found.setdefault(repository, {}).setdefault(tag, *manifests.values())
    return found


def _is_newer(group: Group, other: _Said, place: _Place, manifest: Descriptor, groups: Sequence[Group]) -> bool:
    """Say whether the name is ``group``'s, where another has it too; raises as `table`."""
    if other.manifest.digest == manifest.digest:
        return False
    newer, older = _is_above(group, other.group, groups), _is_above(other.group, group, groups)
    if newer != older:
        return newer
    raise UsageError(
        f"{':'.join(place)} is one image in {shown(other.group.where, 400)} and another in {shown(group.where, 400)}",
        advice="serve them apart, or leave the older one out",
    )


def _is_above(group: Group, other: Group, groups: Sequence[Group]) -> bool:
    """Say whether ``group`` was made on ``other``, or on one that was."""
    above, todo = {id(group)}, [group]
    while todo:
        base = todo.pop().base
        for one in groups if base is not None else ():
            if base in one.known and id(one) not in above:
                above.add(id(one))
                todo.append(one)
    return group is not other and id(other) in above


def _within(group: Group) -> tuple[dict[_Place, Descriptor], list[tuple[_Place, Descriptor]]]:
    """Return the names that the images of a file have for sure, and those that they have if no other image has."""
    sure: dict[_Place, Descriptor] = {}
    named: dict[str, Descriptor] = {}
    for name, manifest in group.images:
        named[name] = manifest
        place = _place(name, group.own)
        if place is not None:
            sure[place] = manifest
    guessed = [(place, manifest) for name, manifest in named.items() for place in _besides(name)]
    if len(group.images) == 1:
        place, manifest = (group.own, "latest"), group.images[0][1]
        if not sure:
            sure[place] = manifest
        elif not any(repository == group.own for repository, _ in sure):
            guessed.append((place, manifest))
    return sure, guessed


def _place(name: str, own: str) -> _Place | None:
    """Return repository and tag that a name says, None where no registry could have them."""
    repository, colon, tag = name.rpartition(":")
    if colon:
        return (repository, tag) if _is_repository(repository) and TAG.fullmatch(tag) else None
    if TAG.fullmatch(name):
        return own, name
    return (name, "latest") if _is_repository(name) else None


def _besides(name: str) -> Iterator[_Place]:
    """Yield what an image of that name may be called besides."""
    if ":" not in name and TAG.fullmatch(name) and _is_repository(name):
        yield name, "latest"
    yield from _without_host(name)


def _without_host(name: str) -> Iterator[tuple[str, str]]:
    host, slash, rest = name.partition("/")
    repository, colon, tag = rest.rpartition(":")
    is_host = "." in host or ":" in host or host == "localhost"
    if slash and is_host and colon and _is_repository(repository) and TAG.fullmatch(tag):
        yield repository, tag


def _is_repository(name: str) -> bool:
    return len(name) <= MAX_REPOSITORY and REPOSITORY.fullmatch(name) is not None
