"""The manifest.json of a docker archive, without I/O: which images it lists, and which one a name means.

Format: Docker "Image Specification v1.2", "Combined Image JSON + Filesystem Changeset Format".
"""

from dataclasses import dataclass
from typing import Final

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, NotFoundError, UsageError, shown
from transship.pipeline.manifest.document import load_objects
from transship.pipeline.manifest.fields import Fields

MANIFEST: Final = "manifest.json"
_LISTED: Final = 10
_KNOWN: Final = {"config": "Config", "repotags": "RepoTags", "layers": "Layers"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of manifest.json: its names, and what its config and layers are called in the archive."""

    config: str
    names: tuple[str, ...]
    layers: tuple[str, ...]


def read_entries(raw: bytes, where: str) -> list[Entry]:
    """Return the images that a manifest.json lists; ``where`` names it in messages.

    Raises:
        ContentError: it is malformed.
    """
    found = [Fields(item, f"{where} [{number}]") for number, item in enumerate(load_objects(raw, where))]
    for fields in found:
        fields.refuse_misspelt(_KNOWN)
    return [Entry(fields.text("Config"), fields.texts("RepoTags"), fields.texts("Layers")) for fields in found]


def qualified(name: str) -> str:
    """Return a Docker name with its registry and tag; an empty one, or one outside the grammar, as it is."""
    try:
        found = DockerReference.parse(name)
    except UsageError:
        return name
    return f"{found.name}:{found.tag}"


def choose(entries: list[Entry], name: str, position: int | None, where: str) -> Entry:
    """Return the image that ``name`` or ``position`` means; with neither, the only one.

    Raises:
        NotFoundError: there is none; the message lists names.
        UsageError: there are several to choose from.
        ContentError: several different images have that name.
    """
    if position is not None:
        if position >= len(entries):
            raise NotFoundError(f"{where}: no image @{position}", advice=f"it has {len(entries)}, from @0 on")
        return entries[position]
    names = sorted({tag for entry in entries for tag in entry.names})
    offer = f"it has: {', '.join(shown(tag) for tag in names[:_LISTED]) or 'none with a name'}"
    if name:
        found = [entry for entry in entries if qualified(name) in {qualified(tag) for tag in entry.names}]
        if len({entry.config for entry in found}) > 1:
            raise ContentError(f"{where}: {len(found)} images are called {shown(name)!r}", advice="choose one by @N")
        if not found:
            raise NotFoundError(f"{where}: no image {shown(name)!r}", advice=offer)
        return found[0]
    if not entries:
        raise NotFoundError(f"{where}: no image at all")
    if len(entries) > 1:
        raise UsageError(f"{where}: {len(entries)} images, and none was named", advice=offer)
    return entries[0]
