"""Which images a sync is about: one, all of a repository, all ``dir:`` images below a folder, those of a file."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline.batch.select import Selector
from transship.pipeline.disk import at_disk
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import Error, NotFoundError, TransportError, UsageError
from transship.pipeline.reference import PathReference, parse_reference
from transship.pipeline.sync.reading import Selection

ListTags: TypeAlias = Callable[[DockerReference], Sequence[str]]
_ROOT: Final = "manifest.json"


class Image(NamedTuple):
    """One image to copy, and its full name: what of it is below the destination where it is scoped."""

    source: DockerReference | PathReference
    name: str


def from_repository(text: str, list_tags: ListTags) -> list[Image]:
    """Return the one image that ``text`` (without ``docker://``) names by tag or digest, else all of the repository.

    Raises:
        UsageError: it is no reference.
        NotFoundError: the repository has no tags.
        TransportError: as ``list_tags`` raises.
    """
    if "@" in text or ":" in text.rpartition("/")[2]:
        return [_image(DockerReference.parse(text))]
    repository = DockerReference.parse_repository(f"docker://{text}")
    found = list(_selected(Selection(repository, selector=Selector()), list_tags))
    if not found:
        raise NotFoundError(f"{repository}: has no images")
    return found


def from_folder(text: str) -> list[Image]:
    """Return all ``dir:`` images at and below a folder, by path.

    Raises:
        NotFoundError: there is no such folder, or no image in it.
    """
    base = Path(text)
    with at_disk(base):
        if not base.is_dir():
            raise NotFoundError(f"{base}: no such folder")
    found: list[Image] = []
    for folder, below, files in os.walk(base):
        below.sort()
        if _ROOT in files:
            below.clear()
            relative = os.path.relpath(folder, base)
            name = base.resolve().name if relative == "." else relative
            found.append(Image(PathReference("dir", os.path.abspath(folder)), name))
    if not found:
        raise NotFoundError(f"{base}: no image in it", advice=f"an image's folder has a {_ROOT}")
    return found


def from_selections(
    selections: Sequence[Selection], list_tags: ListTags, skip: Callable[[Error], None] | None
) -> list[Image]:
    """Return the images of a source file, each once.

    A repository that cannot be listed is told to ``skip`` and left out, or, where that is None, raised.

    Raises:
        TransportError: as ``list_tags`` raises.
    """
    found: dict[Image, None] = {}
    for selection in selections:
        try:
            found.update(dict.fromkeys(_selected(selection, list_tags)))
        except TransportError as error:
            if skip is None:
                raise
            skip(error)
    return list(found)


def _selected(selection: Selection, list_tags: ListTags) -> Iterator[Image]:
    if selection.selector is None:
        yield from map(_image, selection.named)
        return
    for tag in reversed(selection.selector.select(list_tags(selection.repository))):
        reference = parse_reference(f"{selection.repository}:{tag}")
        if not isinstance(reference, DockerReference):
            raise UsageError(f"{reference}: is in no registry")
        yield _image(reference)


def _image(reference: DockerReference) -> Image:
    return Image(reference, str(reference).removeprefix("docker://"))
