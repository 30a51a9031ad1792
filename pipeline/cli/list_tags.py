"""``transship list-tags``: the tags of a repository, or the names in a docker-archive or a bundle."""

import argparse
from pathlib import Path

from transship.pipeline.cli.connect import account_settings, connect
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, once_found, shown
from transship.pipeline.inspection.values import Field, Struct, to_json
from transship.pipeline.reference import PathReference, parse_reference


def perform(options: argparse.Namespace) -> int:
    """Print them; return 0."""
    settings = account_settings(options, "")
    transport = options.repository.partition(":")[0]
    if transport == "docker":
        reference = DockerReference.parse_repository(options.repository)
        with once_found(), connect(options, settings) as registries:
            client, there = registries.at(reference)
            tags = client.list_tags(there.repository)
        repository = (Field("Repository", "Repository", reference.name),)
        found = Struct((*repository, Field("Tags", "Tags", tags)))
    elif transport == "docker-archive":
        found = Struct((Field("Tags", "Tags", _names(options.repository)),))
    elif transport == "bundle":
        found = Struct((Field("Tags", "Tags", _bundled(options.repository)),))
    else:
        raise UsageError(
            f"list-tags: {shown(options.repository)!r}", advice="expected docker://, docker-archive: or bundle:"
        )
    print(to_json(found, indent=4))
    return 0


def _path(text: str) -> Path:
    reference = parse_reference(text)
    assert isinstance(reference, PathReference)
    if reference.name or reference.index is not None:
        raise UsageError(f"{reference} names one image", advice=f"expected {reference.transport}:path")
    return Path(reference.path)


def _bundled(text: str) -> list[str]:
    from transship.pipeline.transports.bundle import names_in  # noqa: PLC0415

    path = _path(text)
    with once_found():
        return names_in(path)


def _names(text: str) -> list[str]:
    from transship.pipeline.transports.docker_archive import names_in  # noqa: PLC0415

    path = _path(text)
    with once_found():
        names = names_in(path)
    return [name for position, image in enumerate(names) for name in image or (f"@{position}",)]
