"""What is read from URLs and no registry holds: foreign layers, signatures. Nobody's credentials go to these URLs.

Source: OCI image-spec descriptor.md, ``urls``. What comes is untrusted; whoever reads it checks size and digest.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import BinaryIO, Final, cast

from transship.pipeline.errors import TransportError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.registry import http, tls
from transship.pipeline.registry.body import BlobBody
from transship.pipeline.registry.lanes import Lanes
from transship.pipeline.registry.origin import Url
from transship.pipeline.registry.settings import HostSettings
from transship.pipeline.registry.span import check_span
from transship.pipeline.registry.tls_details import TlsDetails

_HEADERS: Final = {"Accept-Encoding": "identity"}
_MOST: Final = 8
"""URLs of one layer that are tried."""


class ForeignUrls:
    """Reads layers from their URLs: http or https without a user name, certificates always checked, no client's shown.

    A redirect from https to http is refused. Thread-safe.
    """

    def __init__(self, environ: Mapping[str, str], agent_prefix: str = "", allowed: TlsDetails = TlsDetails()) -> None:  # noqa: B008
        """``environ`` may name proxies; the rest is as in `HostSettings`, of which nothing else counts here."""
        # No registry's host is named, so that no pair of a registry is ever shown.
        self._lanes = Lanes("", HostSettings(agent_prefix=agent_prefix, tls=allowed), tls.Certificates(), environ)

    def blob(self, wanted: Descriptor, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open a layer's raw, unverified bytes from byte ``start`` on, at the first of its URLs that answers.

        Raises:
            RangeRefusedError: it is not given from ``start``.
            ContentError: it has another size there than ``wanted``.
            TransientError: a URL failed in a way that may pass, and no other answers.
            TransportError: none of the URLs gives it.
        """
        failed: TransportError | None = None
        for text in wanted.urls[:_MOST]:
            try:
                return self._opened(Url.parse(text, f"layer {wanted.digest}: urls"), wanted, start)
            except TransportError as error:
                failed = error if failed is None or error.retriable else failed
        raise failed or TransportError(f"layer {wanted.digest} is foreign and names no URL")

    def document(self, url: str, limit: int) -> bytes | None:
        """Return what is at a URL, None where it says that there is nothing.

        Raises:
            ContentError: it is over ``limit`` bytes.
            TransportError: it cannot be had.
        """
        answer = http.send(self._lanes, http.Call("GET", Url.parse(url), _HEADERS, limit))
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise answer.error()
        return answer.body

    def close(self) -> None:
        """Close idle connections; idempotent."""
        self._lanes.close()

    def _opened(self, url: Url, wanted: Descriptor, start: int) -> AbstractContextManager[BinaryIO]:
        headers = {**_HEADERS, "Range": f"bytes={start}-"} if start else _HEADERS
        answer = http.send(self._lanes, http.Call("GET", url, headers, None))
        if answer.stream is None or answer.pace is None:
            raise TransportError(f"{answer}: {answer.status}, for foreign layer {shown(str(wanted.digest))}")
        body = BlobBody(answer.stream, answer.pace, answer)
        try:
            check_span(answer, wanted.size, start)
        except BaseException:
            body.close()
            raise
        return cast(BinaryIO, body)
