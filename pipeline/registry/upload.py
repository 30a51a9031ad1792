"""One upload of one blob. Source: OCI distribution-spec, "Pushing blobs"; Docker Registry HTTP API V2.

A request that sends bytes is sent once. Where its fate is unknown the registry is asked: by HEAD whether the
blob is there, by GET on the upload how far that got. An upload that the registry has lost begins anew.
"""

import io
import re
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, Final, cast
from urllib.parse import urlencode

from transship.pipeline import trace
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, DeniedError, Error, InterruptError, TransientError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.client import IDENTITY, RegistryClient, Request, pull_scope
from transship.pipeline.registry.origin import Url
from transship.pipeline.transport import StoredBlob
from transship.pipeline.tries import Tries

WHOLE: Final = 8 << 20
"""Bytes up to which a blob goes in one PUT: two requests instead of three, and little to send again."""
PIECE: Final = 16 << 20
"""Bytes of a PATCH once the connection has broken: a proxy that collects bodies then passes on that much for good."""
_READ: Final = 1 << 20
_RANGE: Final = re.compile(r"(?:bytes[= ])?0-([0-9]{1,19})", re.ASCII)
_BYTES: Final = {**IDENTITY, "Content-Type": "application/octet-stream"}
_LOST: Final = frozenset({401, 404, 416})
"""What an upload answers whose token ran out, that is unknown, or that is elsewhere than we think."""


class Upload:
    """Brings one blob into one repository; counted as under way (`Underway.one`) by who makes it."""

    def __init__(
        self,
        client: RegistryClient,
        repository: str,
        wanted: Descriptor,
        there: Callable[[], bool],
        stopped: Callable[[], bool],
    ) -> None:
        """``there`` asks the registry whether it has the blob; ``stopped()``, once true, ends the upload."""
        self._client = client
        self._repository = repository
        self._wanted = wanted
        self._there = there
        self._stopped = stopped
        self._scope = push_scope(repository)
        self._url: Url | None = None
        self._offset = 0
        self._most = wanted.size
        self._least = 0

    def mount(self, source: str) -> bool:
        """Ask the registry to take the blob from the repository ``source``; return whether it did.

        Where it did not, it may have begun an upload, which `run` goes on with.
        """
        query = urlencode({"mount": str(self._wanted.digest), "from": source})
        request = Request("POST", f"blobs/uploads/?{query}")
        try:
            answer = self._client.ask(self._repository, f"{self._scope} {pull_scope(source)}", request)
        except DeniedError:
            return False
        if answer.status == 202:
            self._follow(answer, 0)
        mounted = answer.status == 201
        said = "mounted from" if mounted else "not mounted from"
        trace.tell("blob %s: %s %s", self._wanted.digest, said, source)
        return mounted

    def run(self, content: StoredBlob) -> None:
        """Upload the blob; on return the registry has accepted its digest.

        Raises:
            DeniedError: the account may not write there.
            TransientError: it broke off again and again without getting further.
            TransportError: the registry refuses it.
            InterruptError: it was stopped. The upload is cancelled then, as after every failure.
        """
        try:
            self._persist(content)
        except BaseException:
            self.cancel()
            raise

    def _persist(self, content: StoredBlob) -> None:
        # A registry may keep no more of it than a byte, and still get there.
        tries = Tries(progress=1)
        while True:
            try:
                if self._advanced(content):
                    return
                continue
            except TransientError as error:
                failure = error
            self._check_stopped()
            self._most = PIECE
            try:
                if self._settled():
                    return
            except TransientError as error:
                failure = error
            if tries.failed(self._offset):
                raise failure
            if tries.count:
                self._client.back_off(tries.count)

    def _advanced(self, content: StoredBlob) -> bool:
        """Send one request's worth; return whether it was the last. Raises `TransientError` where its fate is open."""
        if self._url is None:
            self._begin()
        size = self._wanted.size
        if self._offset == size or (not self._offset and size <= min(WHOLE, self._most)):
            answer = self._send("PUT", size, content)
            if answer.status in (200, 201, 204):
                check_digest(answer, self._wanted.digest)
                return True
        else:
            end = min(size, self._offset + max(self._most, self._least))
            answer = self._send("PATCH", end, content)
            if 200 <= answer.status < 300:
                self._follow(answer, end)
                return False
        if answer.status in _LOST:
            raise TransientError(answer.error().message)
        raise answer.error()

    def _begin(self) -> None:
        answer = self._client.ask(self._repository, self._scope, Request("POST", "blobs/uploads/"))
        if answer.status != 202:
            raise answer.error()
        self._follow(answer, 0)

    def _follow(self, answer: Answer, offset: int) -> None:
        """Go on where ``answer`` says, from the byte that it says, or else from ``offset``."""
        self._url = self._client.upload_url(answer)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        self._least = max(self._least, int(least[:19])) if least.isascii() and least.isdigit() else self._least
        match = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
        # An upload that has nothing says 0-0 as well as one that has a byte.
        told = int(match[1]) + 1 if match and match[1] != "0" else 0
        self._offset = min(told, offset) if match else offset

    def _send(self, method: str, end: int, content: StoredBlob) -> Answer:
        """Send the bytes from where the upload is to ``end``."""
        assert self._url is not None
        start, target = self._offset, self._url
        headers = _BYTES
        if method == "PATCH":
            headers = {**_BYTES, "Content-Range": f"{start}-{end - 1}"}
        else:
            joint = "&" if "?" in target.target else "?"
            query = urlencode({"digest": str(self._wanted.digest)})
            target = Url(target.origin, f"{target.target}{joint}{query}")
        with at_disk(content.path):
            stream = content.path.open("rb")
        with stream:
            body = cast(BinaryIO, _Part(stream, start, end, self._check_stopped, content))
            request = Request(method, target, headers, body=body, length=end - start)
            return self._client.ask(self._repository, self._scope, request)

    def _settled(self) -> bool:
        """Return whether the blob is there after all; if not, find out where the upload goes on."""
        if self._there():
            return True
        if self._url is None:
            return False
        answer = self._client.ask(self._repository, self._scope, Request("GET", self._url))
        if 200 <= answer.status < 300 and "Range" in answer.headers:
            with suppress(Error):
                self._follow(answer, self._wanted.size)
                return False
        self.cancel()
        self._url, self._offset = None, 0
        return False

    def cancel(self) -> None:
        """Tell the registry that the upload is given up; once, and whatever it answers."""
        if self._url is not None:
            with suppress(Error):
                self._client.ask(self._repository, self._scope, Request("DELETE", self._url, again=False))

    def _check_stopped(self) -> None:
        if self._stopped() or self._client.uploads.stopped or self._client.closed:
            raise InterruptError("interrupted", advice="run again to go on")


class _Part(io.RawIOBase):
    """The bytes of a file from ``start`` to ``end``, never fewer."""

    def __init__(self, stream: BinaryIO, start: int, end: int, check: Callable[[], None], content: StoredBlob) -> None:
        super().__init__()
        self._stream = stream
        self._left = end - start
        self._check = check
        self._content = content
        stream.seek(start)

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to ``size`` bytes; raises `ContentError` where the file ends early."""
        self._check()
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        with at_disk(self._content.path):
            data = self._stream.read(min(wanted, _READ))
        if wanted and not data:
            raise ContentError(f"blob {self._content.descriptor.digest}: its file {self._content.path} was cut short")
        self._left -= len(data)
        return data


def push_scope(repository: str) -> str:
    """Return what a token must allow to write to ``repository``; raises as `pull_scope`."""
    return f"{pull_scope(repository)},push"


def check_digest(answer: Answer, digest: object) -> None:
    """Raise `ContentError` where ``answer`` names another digest than was sent."""
    told = answer.headers.get("Docker-Content-Digest", "")
    if told and told != str(digest):
        raise ContentError(f"{answer}: took {digest} for {told[:100]!r}", advice="is something in between changing it?")
