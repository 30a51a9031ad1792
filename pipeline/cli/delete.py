"""``transship delete``: an image from a registry or an OCI layout."""

import argparse
from pathlib import Path

from transship.pipeline.cli.connect import account_settings, connect
from transship.pipeline.errors import TransportError, UsageError
from transship.pipeline.reference import DockerReference, PathReference, parse_reference


def perform(options: argparse.Namespace) -> int:
    """Delete it, and print nothing; return 0."""
    settings = account_settings(options, "")
    reference = parse_reference(options.image)
    if isinstance(reference, DockerReference):
        with connect({}, settings) as registries:
            client = registries.client(reference.registry)
            digest = client.head_manifest(reference.repository, reference.digest or reference.tag).digest
            client.delete_manifest(reference.repository, digest)
        return 0
    if not isinstance(reference, PathReference) or reference.transport != "oci":
        raise UsageError(f"{reference}: images cannot be deleted there", advice="expected docker:// or oci:")
    from transship.pipeline.transports.layout_delete import delete_image  # noqa: PLC0415

    path = Path(reference.path)
    if not (path / "index.json").exists():
        raise TransportError(f"{path} is no OCI layout: it has no index.json")
    delete_image(path, reference.name, reference.index)
    return 0
