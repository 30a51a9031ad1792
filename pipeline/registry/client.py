"""The distribution API of one registry. Source: OCI distribution-spec; Docker Registry HTTP API V2.

What comes back is untrusted but for manifests asked for by digest, which are checked here.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from types import MappingProxyType
from typing import BinaryIO, Final, NamedTuple, cast

from transship.pipeline import digest as digests
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, LoginError, TransportError, UsageError, shown
from transship.pipeline.manifest import views
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import MANIFESTS, MediaType
from transship.pipeline.manifest.views import Manifest, Schema1
from transship.pipeline.registry import http, probe, tls
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.auth import Login
from transship.pipeline.registry.body import BlobBody
from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.lanes import Lanes
from transship.pipeline.registry.origin import Origin, Url
from transship.pipeline.registry.pages import TAG, all_tags, next_page
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.registry.span import check_span
from transship.pipeline.registry.underway import Underway
from transship.pipeline.registry.whereabouts import Whereabouts
from transship.pipeline.transport import RangeRefusedError

IDENTITY: Final = {"Accept-Encoding": "identity"}
_MANIFEST: Final = {**IDENTITY, "Accept": ", ".join(sorted(MANIFESTS))}
_JSON: Final = {**IDENTITY, "Accept": "application/json"}
_REPOSITORY: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
_HUB_API: Final = "registry-1.docker.io"
_ROUNDS: Final = 4
_STOP_SECONDS: Final = 2.0


class Request(NamedTuple):
    """What to ask a registry: a ``target`` below a repository, or where the registry said to go on; else as `Call`."""

    method: str
    target: str | Url
    headers: Mapping[str, str] = IDENTITY
    limit: int | None = http.MAX_ERROR
    body: bytes | BinaryIO | None = None
    length: int = 0
    again: bool = True


class RegistryClient:
    """Talks to one registry. Thread-safe; connections, tokens and pauses are shared by all threads."""

    def __init__(
        self,
        registry: str,
        settings: HostSettings,
        certificates: tls.Certificates,
        find: Callable[[str], Credentials | None],
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """``registry`` is host[:port] as references name it; ``find`` returns the credentials for a repository.

        ``environ`` may name proxies.
        """
        self.registry = registry
        self.whereabouts = Whereabouts()
        self.uploads = Underway()
        self.without_referrers_api: set[str] = set()
        """Repositories known to have none: each would be asked for every manifest of every image."""
        self.keeps_signatures = False
        """Whether the registry has said that it has the signature API."""
        name = _HUB_API if registry == "docker.io" else registry
        self._secure = Origin.of_registry(name, "https")
        self._plain = Origin.of_registry(name, "http")
        self._settings = settings
        self._lanes = Lanes(self._secure.host, settings, certificates, environ)
        self._find = find
        self._lock = threading.Lock()
        self._login: Login | None = None
        self._origin = self._secure

    def get_manifest(self, repository: str, reference: str | Digest) -> Manifest:
        """Return the manifest of a tag or digest, checked against the digest asked for and the one claimed.

        Raises:
            NotFoundError: there is none.
            DeniedError: credentials are missing or do not suffice.
            ContentError: malformed, over 4 MiB, or of another digest.
            TransportError: the registry failed.
        """
        answer = self._ask("GET", repository, f"manifests/{_reference(reference)}", _MANIFEST, MAX_DOCUMENT)
        _expect(answer, 200)
        what = f"manifest {self.registry}/{repository} {reference}"
        return _manifest(answer, reference if isinstance(reference, Digest) else None, what)

    def head_manifest(self, repository: str, reference: str | Digest) -> Descriptor:
        """Return type, digest and size (bytes) of a manifest, as the registry says; raises as `get_manifest`.

        Costs no pull quota where the registry counts one. Asks with GET where HEAD does not tell all.
        """
        answer = self._ask("HEAD", repository, f"manifests/{_reference(reference)}", _MANIFEST, MAX_DOCUMENT)
        _expect(answer, 200)
        media_type = _media_type(answer)
        claimed = answer.headers.get("Docker-Content-Digest", "")
        length = answer.headers.get("Content-Length", "")
        if media_type not in MANIFESTS or not claimed or not length.isdigit():
            manifest = self.get_manifest(repository, reference)
            return Descriptor(manifest.media_type, manifest.digest, len(manifest.raw))
        digest = _claimed(answer)
        assert digest is not None
        if isinstance(reference, Digest) and digest != reference:
            raise ContentError(f"{answer}: Docker-Content-Digest: asked for {reference}, answers {digest}")
        return Descriptor(media_type, digest, int(length))

    def open_blob(self, repository: str, wanted: Descriptor, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open a blob's raw, unverified bytes from byte ``start`` on; `read` returns them as they arrive.

        To be closed, which leaving the context does: it holds one of the connections that are allowed.

        Raises:
            RangeRefusedError: the registry gives another part of it.
            ContentError: the registry has another size than ``wanted``.
            TransientError: also later from `read`, where the connection broke; what came is good.
            TransportError: as `get_manifest`.
        """
        headers = {**IDENTITY, "Range": f"bytes={start}-"} if start else IDENTITY
        answer = self._ask("GET", repository, f"blobs/{wanted.digest}", headers, None)
        if start and answer.status == 416:
            raise RangeRefusedError(f"{answer}: 416 for a start at byte {start}")
        if answer.stream is None or answer.pace is None:
            raise answer.error()
        body = BlobBody(answer.stream, answer.pace, answer)
        try:
            body.skip(check_span(answer, wanted.size, start))
        except BaseException:
            body.close()
            raise
        return cast(BinaryIO, body)

    def list_tags(self, repository: str) -> list[str]:
        """Return all tags, in the registry's order, each once.

        Raises:
            ContentError: a page is malformed, or holds what is no tag.
            TransportError: as `get_manifest`; a next page elsewhere, seen before, or one too many.
        """

        def page(target: str) -> Answer:
            answer = self._ask("GET", repository, target, _JSON, MAX_DOCUMENT)
            _expect(answer, 200)
            return answer

        return all_tags(page, self.url(f"/v2/{repository}/"))

    def delete_manifest(self, repository: str, digest: Digest) -> None:
        """Delete a manifest, and with it every tag on it.

        Raises:
            NotFoundError: there is none.
            DeniedError: credentials are missing or do not suffice.
            TransportError: the registry failed, or does not allow it.
        """
        # "*" is what token servers agree on for more than pull and push.
        scope = f"{pull_scope(repository).removesuffix('pull')}*"
        answer = self._ask("DELETE", repository, f"manifests/{digest}", IDENTITY, http.MAX_ERROR, scope=scope)
        if answer.status == 405:
            raise TransportError(
                answer.error().message, advice="this registry does not allow it; it can be a setting of the registry"
            )
        if answer.status not in (200, 202, 204):
            raise answer.error()

    def accepts_login(self) -> bool:
        """Say whether the registry lets its user in; also true where it asks nobody who they are.

        Raises:
            TransportError: the registry failed, or is none; the login may not be sent where it asks for it.
        """
        try:
            _expect(self._ask("GET", "", "", _JSON, MAX_DOCUMENT, scope=""), 200)
        except LoginError:
            return False
        return True

    def stop(self) -> None:
        """End what is under way: uploads are cancelled, which may take two seconds, then all connections are closed."""
        self.uploads.stop(_STOP_SECONDS)
        self.close()

    def rest(self) -> None:
        """Close the connections that nobody uses just now; the next request opens one."""
        self._lanes.rest()

    def close(self) -> None:
        """Close all connections and wake threads that wait; idempotent."""
        self._lanes.close()

    def ask(self, repository: str, scope: str, asked: Request) -> Answer:
        """Return the answer to ``asked``, logging in as the registry wants; raises as `http.send`.

        What is at another origin is asked without credentials. A body that is a stream is gone once it
        is sent: who gave one may get a 401, and the next request logs in. With no repository the API's
        root is asked.

        Raises:
            DeniedError: the login is refused.
        """
        login = self._login or self._connected()
        target = asked.target
        path = f"/v2/{repository}/{target}" if repository else "/v2/"
        url = target if isinstance(target, Url) else self.url(path)
        call = http.Call(asked.method, url, asked.headers, asked.limit, asked.body, asked.length, asked.again)
        if url.origin != self._origin:
            return http.send(self._lanes, call)
        began = time.monotonic()
        header = login.header(repository, scope)
        answer = login.sent(repository, header, lambda used: http.send(self._lanes, call, used))
        for _ in range(_ROUNDS):
            if answer.status != 401 or not isinstance(asked.body, bytes | None):
                break
            header = login.challenged(answer, repository, scope, header, began)
            answer = login.sent(repository, header, lambda used: http.send(self._lanes, call, used))
        self.keeps_signatures |= answer.headers.get("X-Registry-Supports-Signatures", "") == "1"
        return answer

    def upload_url(self, answer: Answer) -> Url:
        """Return where an upload goes on by the ``Location`` of ``answer``.

        A registry behind a proxy that ends TLS often names itself with http; it is asked by https all the same.

        Raises:
            TransportError: it names no place, or leads from https to http elsewhere.
        """
        location = answer.headers.get("Location", "")
        if not location:
            raise TransportError(f"{answer}: {answer.status} without a Location to upload to")
        url = answer.url.join(location, "Location")
        if self._origin.scheme == "https" and url.origin.scheme == "http":
            if url.origin.host != self._origin.host:
                raise TransportError(f"{answer}: leads from https to {url}; refused, as plain HTTP is not safe")
            return Url(self._origin, url.target)
        return url

    def back_off(self, failures: int) -> None:
        """Wait before a request that failed is made anew, longer with each of ``failures`` (from 1)."""
        self._lanes.at(self._origin).pace.back_off(failures)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._lanes.stopped.is_set()

    def _ask(
        self,
        method: str,
        repository: str,
        target: str,
        headers: Mapping[str, str],
        limit: int | None,
        *,
        scope: str | None = None,
    ) -> Answer:
        scope = pull_scope(repository) if scope is None else scope
        return self.ask(repository, scope, Request(method, target, headers, limit))

    def url(self, target: str) -> Url:
        """Return the URL of a path at this registry."""
        if self._login is None:
            self._connected()
        return Url(self._origin, target)

    def _connected(self) -> Login:
        """Decide on the scheme, once."""
        with self._lock:
            if self._login is None:
                if self._settings.tls_verify is False:
                    self._origin = probe.choose(self._lanes, self._secure, self._plain)
                verified = self._settings.tls_verify is not False
                self._login = Login(self._origin, self._lanes, self._find, self._settings.token, verified=verified)
            return self._login

    def next_page(self, answer: Answer, prefix: str, seen: set[str]) -> str | None:
        """Return what to ask for after ``answer``, without ``prefix``; see `pages.next_page`."""
        return next_page(answer, self.url(prefix), seen)


@lru_cache(maxsize=256)
def pull_scope(repository: str) -> str:
    """Return what a token must allow to read from ``repository``.

    Raises:
        UsageError: it is no name of one.
    """
    if not re.fullmatch(_REPOSITORY, repository):
        raise UsageError(f"not a repository name: {shown(repository)!r}")
    return f"repository:{repository}:pull"


def _reference(reference: str | Digest) -> str:
    if isinstance(reference, str) and not re.fullmatch(TAG, reference):
        raise UsageError(f"not a tag: {shown(reference)!r}")
    return str(reference)


def _expect(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise answer.error()
    if problem := answer.not_html():
        raise problem


def _media_type(answer: Answer) -> MediaType:
    return MediaType(answer.headers.get("Content-Type", "").partition(";")[0].strip())


def _manifest(answer: Answer, wanted: Digest | None, what: str) -> Manifest:
    raw = answer.body
    manifest = views.parse(raw, _media_type(answer), what)
    for digest in (wanted, _claimed(answer)):
        # A signed v2s1 manifest is named by its payload, not by all its bytes.
        if digest and not (isinstance(manifest, Schema1) and manifest.digest == digest):
            digests.check(raw, digest, what)
    return manifest


def _claimed(answer: Answer) -> Digest | None:
    """Return the digest that the registry says, None where it says none."""
    claimed = answer.headers.get("Docker-Content-Digest", "")
    try:
        return Digest.parse(claimed) if claimed else None
    except ContentError as error:
        raise ContentError(f"{answer}: Docker-Content-Digest: {error.message}") from error
