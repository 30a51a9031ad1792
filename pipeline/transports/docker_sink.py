"""``docker:`` as a destination: images pushed to a registry."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.push import Push
from transship.pipeline.transport import StoredBlob
from transship.pipeline.transports.oci import refuse_unaccepted

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from transship.pipeline.registry.signature_store import Lookaside
    from transship.pipeline.signature import Signature


class DockerSink:
    """Pushes images into one repository: blobs, manifests by digest, and the named roots on a clean exit.

    A name is a tag, or the digest that the image must then have. What a failed push leaves are blobs and
    manifests that no tag leads to, which the registry's garbage collection knows and the next try finds.
    """

    accepts: Final = MANIFESTS

    def __init__(
        self,
        client: RegistryClient,
        reference: DockerReference,
        sources: "Sequence[DockerReference]" = (),
        pool: "Executor | None" = None,
        lookaside: "Lookaside | None" = None,
    ) -> None:
        """Blobs are mounted from the first of ``sources`` on this registry; pushed on ``pool`` if there is one.

        ``lookaside`` is where signatures go that the registry itself does not take.
        """
        self._reference = reference
        self._lookaside = lookaside
        self._signatures: list[tuple[Digest, Sequence[Signature]]] = []
        self._stopped = threading.Event()
        self._client = client
        self._push = Push(client, reference.repository, self._stopped.is_set)
        self._where = str(reference)
        same = (source.repository for source in sources if source.registry == reference.registry)
        self._source = next(same, "")
        self._pool = pool
        self._running: dict[Digest, Future[None]] = {}
        self._roots: list[tuple[Manifest, str]] = []

    def __enter__(self) -> Self:
        """Begin; nothing is sent yet."""
        return self

    def has(self, wanted: Descriptor) -> bool:
        """Ask the registry for the blob; what it says now, not what was pushed."""
        self._wait()
        return self._push.has(wanted)

    def takes(self, wanted: Descriptor) -> bool:
        """Say whether the registry has the blob, or takes it from a source on this registry; then nobody need send it.

        Raises as `has`.
        """
        return self._push.takes(wanted, self._source)

    def put_blob(self, content: StoredBlob) -> None:
        """Push a blob, or begin to; what fails later is raised by what comes next."""
        digest = content.descriptor.digest
        if self._pool is None:
            self._push.put_blob(content, self._source)
        elif digest not in self._running:
            self._running[digest] = self._pool.submit(self._push.put_blob, content, self._source)

    def discard(self, digest: Digest) -> None:
        """Let it be asked for anew: a registry hashes what it takes, and a blob there is not ours alone to delete."""
        self._push.forget(digest)

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Add a manifest, as `Sink.put_manifest` says.

        Raises:
            ContentError: it is none of `accepts`, or ``name`` is another digest.
        """
        refuse_unaccepted(manifest.media_type, self.accepts, self._where)
        if name and ":" in name and name != str(manifest.digest):
            raise ContentError(
                f"{self._where}: {name} is asked for, the image is {manifest.digest}",
                advice="name a tag, or copy it without changes",
            )
        self._wait()
        if name is None:
            self._push.put_manifest(manifest, manifest.digest)
        else:
            self._roots.append((manifest, name))

    def signatures_refused(self, *, sigstore: bool = False) -> str:
        """Say whether there is a place for them, as `KeepsSignatures.signatures_refused` has it."""
        if not sigstore or (self._lookaside and self._lookaside.place.attachments):
            return ""
        from transship.pipeline.transports.docker_signatures import ATTACHMENTS_OFF  # noqa: PLC0415

        return ATTACHMENTS_OFF

    def put_signatures(self, manifest: Digest, signatures: "Sequence[Signature]", *, instance: bool) -> None:
        """Write signatures once the roots are put, as far as can be seen before that; see `KeepsSignatures`."""
        if self._lookaside and not self._client.keeps_signatures:
            self._lookaside.refuse_unwritable()
        self._signatures.append((manifest, signatures))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the roots where ``kind`` is None; else end what is under way, cancelling its uploads."""
        if kind is None:
            self._wait()
            for manifest, name in self._roots:
                self._push.put_manifest(manifest, name or manifest.digest)
            self._write_signatures()
            return
        if issubclass(kind, KeyboardInterrupt):
            # Nobody who interrupts waits until a registry that says nothing has used up its time.
            self._stopped.set()
            self._client.stop()
        self._end(list(self._running.values()))

    def _write_signatures(self) -> None:
        if not self._signatures:
            return
        from transship.pipeline.transports.docker_signatures import write_signatures  # noqa: PLC0415

        for manifest, signatures in self._signatures:
            write_signatures(self._client, self._reference, manifest, self._lookaside, signatures)

    def _wait(self) -> None:
        """Wait for every blob begun; after a failure end the others, and raise it."""
        if not self._running:
            return
        from concurrent.futures import FIRST_EXCEPTION, wait  # noqa: PLC0415 - only who has a pool needs it

        running = list(self._running.values())
        self._running.clear()
        done, left = wait(running, return_when=FIRST_EXCEPTION)
        if left:
            self._end(list(left))
        for future in running:
            if future in done and not future.cancelled():
                future.result()

    def _end(self, running: "list[Future[None]]") -> None:
        from concurrent.futures import wait  # noqa: PLC0415

        self._stopped.set()
        for future in running:
            future.cancel()
        wait(running)
