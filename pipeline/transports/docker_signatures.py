"""Signatures of images in a registry: which of the places that may hold them are asked, and written.

As container tools do: the registry's own signature API where it has one, else the lookaside store of registries.d.
"""

from collections.abc import Sequence

from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError
from transship.pipeline.reference import DockerReference
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.signature_store import Lookaside, read_api, write_api
from transship.pipeline.signature import Signature, SigstoreSignature


def read_signatures(
    client: RegistryClient, reference: DockerReference, manifest: Digest, lookaside: Lookaside | None
) -> list[Signature]:
    """Return the signatures of a manifest in the repository of ``reference``; raises as `Signed.signatures`."""
    if client.keeps_signatures:
        return read_api(client, reference.repository, manifest)
    return lookaside.read(manifest) if lookaside else []


def write_signatures(
    client: RegistryClient,
    reference: DockerReference,
    manifest: Digest,
    lookaside: Lookaside | None,
    signatures: Sequence[Signature],
) -> None:
    """Write the signatures of a manifest; raises as `KeepsSignatures.put_signatures`."""
    simple = [one for one in signatures if not isinstance(one, SigstoreSignature)]
    if len(simple) < len(signatures):
        raise UsageError(
            f"{reference}: sigstore signatures are written as attachments, which are off",
            advice="set use-sigstore-attachments: true for it in registries.d",
        )
    if not simple:
        return
    if client.keeps_signatures:
        write_api(client, reference.repository, manifest, simple)
    elif lookaside:
        lookaside.write(manifest, simple)
