"""Signatures of images in a registry: which of the places that may hold them are asked, and written.

As container tools do: the registry's own signature API where it has one, else the lookaside store of registries.d;
and for sigstore's, attachments in the registry where registries.d says that it has them.
"""

from collections.abc import Sequence
from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.signature_store import Lookaside, read_api, write_api
from transship.pipeline.signature import Signature, SigstoreSignature
from transship.pipeline.transports import attachments

ATTACHMENTS_OFF: Final = "registries.d does not say use-sigstore-attachments: true for it"
"""Why a registry is to hold no sigstore signatures."""


def read_signatures(
    client: RegistryClient, reference: DockerReference, manifest: Digest, lookaside: Lookaside | None
) -> list[Signature]:
    """Return the signatures of a manifest in the repository of ``reference``; raises as `Signed.signatures`."""
    found: list[Signature] = []
    if client.keeps_signatures:
        found += read_api(client, reference.repository, manifest)
    elif lookaside:
        found += lookaside.read(manifest)
    if lookaside and lookaside.place.attachments:
        found += attachments.read(client, reference.repository, manifest)
    return found


def write_signatures(
    client: RegistryClient,
    reference: DockerReference,
    manifest: Digest,
    lookaside: Lookaside | None,
    signatures: Sequence[Signature],
) -> None:
    """Write the signatures of a manifest; raises as `KeepsSignatures.put_signatures`."""
    simple = [one for one in signatures if not isinstance(one, SigstoreSignature)]
    others = [one for one in signatures if isinstance(one, SigstoreSignature)]
    if others:
        if not (lookaside and lookaside.place.attachments):
            raise UsageError(f"{reference}: {ATTACHMENTS_OFF}")
        attachments.write(client, reference.repository, manifest, others)
    if not simple:
        return
    if client.keeps_signatures:
        write_api(client, reference.repository, manifest, simple)
    elif lookaside:
        lookaside.write(manifest, simple)
