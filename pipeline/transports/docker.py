"""``docker:``: images in a registry."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, BinaryIO

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.registry.client import RegistryClient, Request, pull_scope
from transship.pipeline.registry.referrers import leads_to, referrers

if TYPE_CHECKING:
    from transship.pipeline.registry.signature_store import Lookaside
    from transship.pipeline.signature import Signature


def _none() -> None:
    return None


class DockerSource:
    """One image of a registry, as `transport.Source`; the client is shared and stays open."""

    def __init__(
        self, client: RegistryClient, reference: DockerReference, lookaside: "Callable[[], Lookaside | None]" = _none
    ) -> None:
        """``lookaside`` says where signatures are beside the registry."""
        self._client = client
        self._reference = reference
        self._lookaside = lookaside
        self._sizes: dict[Digest, int] = {}

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return the manifest; a digest in the reference wins over its tag. See `transport.Source`."""
        named = instance or self._reference.digest or self._reference.tag
        return self._client.get_manifest(self._reference.repository, named)

    def signatures(self, manifest: Digest, *, instance: bool) -> "list[Signature]":
        """Read signatures where the registry, or registries.d, has them; see `transport.Signed`."""
        from transship.pipeline.transports.docker_signatures import read_signatures  # noqa: PLC0415

        return read_signatures(self._client, self._reference, manifest, self._lookaside())

    def blob(self, wanted: Descriptor, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open a blob; see `transport.Source`."""
        return self._client.open_blob(self._reference.repository, wanted, start)

    def referrers(self, subject: Digest) -> list[Referrer]:
        """Ask the registry what hangs on a manifest; see `transport.Referring`."""
        return referrers(self._client, self._reference.repository, subject)

    def has_referrer(self, referrer: Referrer) -> bool:
        """Ask the registry for one; see `transport.Referring`."""
        return leads_to(self._client, self._reference.repository, referrer)

    def blob_size(self, digest: Digest) -> int:
        """Ask how large a blob is, once; see `transport.SizesBlobs`."""
        if digest not in self._sizes:
            repository = self._reference.repository
            answer = self._client.ask(repository, pull_scope(repository), Request("HEAD", f"blobs/{digest}"))
            length = answer.headers.get("Content-Length", "")
            if answer.status != 200:
                raise answer.error()
            if not length.isdigit():
                raise TransportError(f"{answer}: does not say how large the blob is")
            self._sizes[digest] = int(length)
        return self._sizes[digest]

    def close(self) -> None:
        """Do nothing: the client belongs to `Registries`."""
