"""``transship delete``: an image from a registry, an OCI layout or Podman's storage."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from transship.pipeline.cli.connect import account_settings, connect
from transship.pipeline.cli.opened import layout
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import TransportError, UsageError
from transship.pipeline.reference import DaemonReference, PathReference, Reference, StorageReference, parse_reference

if TYPE_CHECKING:
    from transship.pipeline.registry.signature_store import Lookaside

# One transport is loaded, that of the image.
# ruff: noqa: PLC0415


def perform(options: argparse.Namespace) -> int:
    """Delete it, and print what else goes with it; return 0."""
    settings = account_settings(options, "")
    reference = parse_reference(options.image)
    if options.shared_blob_dir:
        layout(reference)
    if isinstance(reference, DockerReference):
        with connect(options, settings) as registries:
            client, there = registries.at(reference)
            digest = client.head_manifest(there.repository, there.digest or there.tag).digest
            client.delete_manifest(there.repository, digest)
            if lookaside := registries.lookaside(there):
                _delete_signatures(lookaside, digest)
    elif isinstance(reference, StorageReference):
        _from_storage(reference)
    else:
        _from_layout(reference, shares=bool(options.shared_blob_dir))
    return 0


def _delete_signatures(lookaside: "Lookaside", digest: Digest) -> None:
    try:
        lookaside.delete(digest)
    except UsageError as error:
        print(f"transship: left behind: {error}", file=sys.stderr)


def _from_layout(reference: Reference, *, shares: bool) -> None:
    if not isinstance(reference, PathReference) or reference.transport != "oci":
        own = "remove it with docker rmi" if isinstance(reference, DaemonReference) else "remove the file yourself"
        advice = f"expected docker://, oci: or containers-storage:; {own}"
        raise UsageError(f"{reference}: images cannot be deleted there", advice=advice)
    from transship.pipeline.transports.layout_delete import delete_image

    path = Path(reference.path)
    if not (path / "index.json").exists():
        raise TransportError(f"{path} is no OCI layout: it has no index.json")
    delete_image(path, reference.name, reference.index, shares=shares)


def _from_storage(reference: StorageReference) -> None:
    from transship.pipeline.transports.podman import Podman

    podman = Podman(reference.store)
    image_id = podman.image_id(reference)
    others = [name for name in podman.names(image_id) if name != reference.name]
    if others:
        print(f"transship: {reference}: the same image goes by {', '.join(others)}: all go", file=sys.stderr)
    podman.delete(image_id)
