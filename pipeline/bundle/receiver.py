"""Whether the receiver of a differential bundle has what its base brought; where it lies in another place, it is taken.

A registry shows a blob only in the repositories that it was put into; what the base put elsewhere below the prefix is
mounted from there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from transship.pipeline.batch.model import Target
from transship.pipeline.bundle.trees import Trees
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, UsageError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import OCI_LAYER
from transship.pipeline.reference import PathReference
from transship.pipeline.transport import Sink, Taking
from transship.pipeline.transports import Pushing, open_sink
from transship.pipeline.transports.bundle_file import BaseBlob

if TYPE_CHECKING:
    from concurrent.futures import Executor

_SHOWN = 3


class Need(NamedTuple):
    """A blob that an image needs at ``place``; by the base it may also be ``elsewhere`` in the same registry."""

    blob: BaseBlob
    place: Target
    elsewhere: Target | None


def needs(
    trees: Trees, left: Mapping[Digest, BaseBlob], places: Mapping[str, Target], base: Mapping[str, Target]
) -> list[Need]:
    """Return what the images that go to ``places`` need of what is ``left`` out, each once a repository or layout.

    ``base`` says where the images of the base went; raises `ContentError` where a manifest is malformed.
    """
    found: dict[tuple[str, Digest], Need] = {}
    for image in trees.said.images:
        place = places.get(image.name)
        for digest in trees.below(image) if place is not None else ():
            blob = left.get(digest)
            if blob is not None and place is not None:
                found.setdefault((_room(place), digest), Need(blob, place, base.get(blob.image)))
    return list(found.values())


def take(wanted: Sequence[Need], pushing: Pushing, pool: "Executor", base: Digest) -> None:
    """Have all of it at its place; nothing is sent or written where something is not there.

    Raises:
        UsageError: what a destination has cannot be asked for.
        ContentError: something is missing; all of that is counted, and some named.
        TransportError: a registry says neither.
    """
    for need in wanted:
        if not isinstance(need.place, PathReference | DockerReference):
            raise UsageError(
                f"{need.place}: an engine keeps no layer as it was packed, so nothing that the base brought is there",
                advice="say --base and the file of that bundle",
            )
    sinks = _Sinks(pushing)
    there = pool.map(lambda need: sinks.of(need, need.place).has(_descriptor(need.blob)), wanted)
    absent = [need for need, has in zip(wanted, there, strict=True) if not has]
    found = pool.map(lambda need: _elsewhere(need, sinks), absent)
    missing = [need for need, has in zip(absent, found, strict=True) if not has]
    if not missing:
        missing = [need for need in absent if not _taken(need, sinks)]
    if missing:
        raise _lacking(missing, base)


class _Sinks:
    """The sinks to ask, one for each pair of places; none is entered."""

    def __init__(self, pushing: Pushing) -> None:
        self._pushing = pushing
        self._made: dict[tuple[str, str], Sink] = {}

    def of(self, need: Need, place: Target) -> Sink:
        source = need.elsewhere
        key = _room(place), _room(source) if source else ""
        if key not in self._made:
            self._made[key] = open_sink(place, self._pushing._replace(sources=(source,) if source else ()))
        return self._made[key]


def _elsewhere(need: Need, sinks: _Sinks) -> bool:
    other = need.elsewhere
    if not isinstance(other, DockerReference) or _room(other) == _room(need.place):
        return False
    return sinks.of(need, other).has(_descriptor(need.blob))


def _taken(need: Need, sinks: _Sinks) -> bool:
    sink = sinks.of(need, need.place)
    return isinstance(sink, Taking) and sink.takes(_descriptor(need.blob))


def _descriptor(blob: BaseBlob) -> Descriptor:
    # Asked for by digest and size alone.
    return Descriptor(OCI_LAYER, blob.digest, blob.size)


def _room(place: Target) -> str:
    """Return what holds blobs together: the repository, or the layout."""
    if isinstance(place, DockerReference):
        return place.name
    return str(place._replace(name="")) if isinstance(place, PathReference) else str(place)


def _lacking(missing: Sequence[Need], base: Digest) -> ContentError:
    blobs = sorted({need.blob for need in missing})
    images = sorted({blob.image for blob in blobs})
    more = f" and {len(blobs) - 1} more" if len(blobs) > 1 else ""
    return ContentError(
        f"{shown(_room(missing[0].place), 200)}: lacks {blobs[0].digest}{more} of the base {base}, "
        f"{sum(blob.size for blob in blobs)} bytes, which came with {_few(images)}",
        advice="load or apply that bundle there first, or say --base and its file",
    )


def _few(names: Iterable[str]) -> str:
    listed = [shown(name) for name in names]
    more = f" and {len(listed) - _SHOWN} more images" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more
