"""Writing to one repository. Source: OCI distribution-spec, "Pushing"; Docker Registry HTTP API V2.

Nothing is sent that the registry has: it is asked first, and asked to mount what another repository has.
"""

from collections.abc import Callable
from contextlib import suppress

from transship.pipeline import trace
from transship.pipeline.digest import Digest
from transship.pipeline.errors import DeniedError, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.referrer import subject_of
from transship.pipeline.manifest.views import Index, Manifest
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.client import IDENTITY, RegistryClient, Request
from transship.pipeline.registry.referrers import attach
from transship.pipeline.registry.upload import Upload, check_digest, push_scope
from transship.pipeline.transport import StoredBlob

_ACCEPT = {**IDENTITY, "Accept": ", ".join(sorted(MANIFESTS))}


_LACKING = frozenset({"MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"})


class Push:
    """One repository to write to. Thread-safe; of threads that bring the same blob one sends it."""

    def __init__(self, client: RegistryClient, repository: str, stopped: Callable[[], bool]) -> None:
        """``stopped``, once it returns true, ends uploads at their next piece.

        Raises:
            UsageError: ``repository`` is no name of one.
        """
        self._client = client
        self._repository = repository
        self._stopped = stopped
        self._scope = push_scope(repository)
        self._absent: set[Digest] = set()

    def has(self, wanted: Descriptor) -> bool:
        """Ask the registry whether the repository has the blob, at its size where it says that.

        Raises:
            TransportError: it answers neither that nor that it has not.
        """
        answer = self._client.ask(self._repository, self._scope, Request("HEAD", f"blobs/{wanted.digest}"))
        if answer.status == 404:
            return False
        if answer.status != 200:
            raise answer.error()
        length = answer.headers.get("Content-Length", "")
        return not length or length == str(wanted.size)

    def put_blob(self, content: StoredBlob, source: str = "") -> None:
        """Bring a blob: found there, mounted, or uploaded; idempotent.

        ``source`` is a repository of the same registry that probably has it, empty for none.
        Raises as `Upload.run`.
        """
        known, wanted = self._client.whereabouts, content.descriptor
        if known.has(self._repository, wanted.digest):
            return
        with known.alone(wanted.digest):
            if not known.has(self._repository, wanted.digest):
                self._bring(content, source or known.elsewhere(wanted.digest))
                known.add(self._repository, wanted.digest)

    def takes(self, wanted: Descriptor, source: str = "") -> bool:
        """Say whether the repository has a blob, or takes it from the repository ``source`` ("" for none); idempotent.

        Where it does neither, `put_blob` does not ask for both again.
        """
        known = self._client.whereabouts
        with known.alone(wanted.digest):
            there = known.has(self._repository, wanted.digest) or self._found(wanted)
            if not there and source not in ("", self._repository):
                with self._client.uploads.one():
                    upload = self._upload(wanted)
                    there = upload.mount(source)
                    if not there:
                        upload.cancel()
            if there:
                known.add(self._repository, wanted.digest)
                trace.tell("blob %s: %s has it", wanted.digest, self._repository)
            else:
                self._absent.add(wanted.digest)
        return there

    def forget(self, digest: Digest) -> None:
        """Let the next `put_blob` ask the registry again; idempotent."""
        self._client.whereabouts.forget(self._repository, digest)

    def put_manifest(self, manifest: Manifest, reference: str | Digest) -> None:
        """Put a manifest under a tag or its digest, unless it is there; all that it names must be there.

        One that refers to another is listed among that one's referrers on return.

        Raises:
            DeniedError: the account may not write there.
            TransportError: the registry refuses it.
            ContentError: the registry took it for another digest.
        """
        target = f"manifests/{reference}"
        there = self._client.ask(self._repository, self._scope, Request("HEAD", target, _ACCEPT))
        same = there.headers.get("Docker-Content-Digest", "") == str(manifest.digest)
        subject, listed = subject_of(manifest), ""
        if not (there.status == 200 and same and there.headers.get("Content-Type", "") == manifest.media_type):
            headers = {**IDENTITY, "Content-Type": manifest.media_type}
            answer = self._client.ask(self._repository, self._scope, Request("PUT", target, headers, body=manifest.raw))
            if answer.status not in (200, 201, 202):
                raise _refusal(answer, manifest)
            check_digest(answer, manifest.digest)
            listed = answer.headers.get("OCI-Subject", "")
        if subject and listed != str(subject):
            attach(self._client, self._repository, self._scope, subject, manifest)

    def _bring(self, content: StoredBlob, source: str) -> None:
        wanted = content.descriptor
        absent = wanted.digest in self._absent
        if not absent and self._found(wanted):
            trace.tell("blob %s: %s has it", wanted.digest, self._repository)
            return
        # From mount to end: an upload that a mount began is cancelled too.
        with self._client.uploads.one():
            upload = self._upload(wanted)
            if absent or source in ("", self._repository) or not upload.mount(source):
                upload.run(content)
                trace.tell("blob %s: uploaded to %s, %d bytes", wanted.digest, self._repository, wanted.size)

    def _found(self, wanted: Descriptor) -> bool:
        with suppress(DeniedError):
            # An account that may not look may still write; if not, the upload's refusal is the one to tell.
            return self.has(wanted)
        return False

    def _upload(self, wanted: Descriptor) -> Upload:
        return Upload(self._client, self._repository, wanted, lambda: self.has(wanted), self._stopped)


def _refusal(answer: Answer, manifest: Manifest) -> TransportError:
    error = answer.error()
    if isinstance(manifest, Index) and answer.status < 500 and _LACKING & answer.codes:
        # Of what an index names, a copy leaves out what it was told to, and nothing else.
        return TransportError(
            f"{error.message}: this registry takes no index that names images it does not have",
            advice="copy all platforms, or leave the others out of the index too: --strip-removed-platforms, "
            "or in a batch file platforms without sparse",
        )
    return error
