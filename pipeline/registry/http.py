"""Requests that come back with an answer: retries, pauses, redirects. Knows nothing of registries.

Every verb is retried unless the call says otherwise. What redirects away from the origin asked goes on
without credentials, never from https to http, and never gets them back.
"""

import time
from collections.abc import Mapping
from typing import BinaryIO, Final, NamedTuple

from transship.pipeline import trace
from transship.pipeline.errors import TransientError, TransportError
from transship.pipeline.registry import faults
from transship.pipeline.registry.answer import TRANSIENT, Answer, unspoken
from transship.pipeline.registry.body import read_document, refuse_encoded
from transship.pipeline.registry.faults import WireError
from transship.pipeline.registry.lanes import Lane, Lanes
from transship.pipeline.registry.origin import Url
from transship.pipeline.registry.request import Request

MAX_ERROR: Final = 64 << 10
"""Bytes of an answer that is no success."""
_MAX_REDIRECTS: Final = 10
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Call(NamedTuple):
    """A request. ``limit`` caps the body of a success in bytes; None leaves it to be streamed.

    ``headers`` never hold credentials: those are given to `send`, which knows where they may go.
    Of a ``body`` that is a stream ``length`` bytes are sent, from where it stands; it is sent once,
    as is any call that is not to be sent ``again``: what then comes of a failure is the caller's.
    """

    method: str
    url: Url
    headers: Mapping[str, str]
    limit: int | None = MAX_ERROR
    body: bytes | BinaryIO | None = None
    length: int = 0
    again: bool = True

    def __repr__(self) -> str:
        # A body may hold a refresh token.
        return f"Call({self.method!r}, {self.url!r})"


def send(lanes: Lanes, call: Call, authorization: str = "") -> Answer:
    """Return the answer to ``call``, of whatever status but the transient ones and redirects.

    An answer with a ``stream`` holds a slot of its ``pace``: the caller hands both to `BlobBody`.

    Raises:
        TransientError: it could not be reached, or answers 408, 429 or 5xx, in all tries.
        TransportError: no TLS or an untrusted certificate, a redirect that is refused.
        ContentError: the body is over its limit or encoded.
    """
    url = call.url
    for _ in range(_MAX_REDIRECTS + 1):
        answer = _persist(lanes.at(url.origin), call, url, authorization)
        if answer.status not in _REDIRECTS:
            return answer
        target = _redirected(answer, call)
        if target.origin != url.origin:
            authorization = ""
        url = target
    raise TransportError(f"{call.method} {call.url}: more than {_MAX_REDIRECTS} redirects")


def _redirected(answer: Answer, call: Call) -> Url:
    what = f"{call.method} {call.url}"
    location = answer.headers.get("Location", "")
    if call.method not in ("GET", "HEAD") or not location:
        raise TransportError(f"{what}: {answer.status}, a redirect that cannot be followed")
    target = answer.url.join(location, "Location")
    if answer.url.origin.scheme == "https" and target.origin.scheme == "http":
        raise TransportError(f"{what}: redirects from https to {target}; refused, as plain HTTP is not safe")
    return target


def _persist(lane: Lane, call: Call, url: Url, authorization: str) -> Answer:
    pace = lane.pace
    headers = {"User-Agent": lane.agent, **call.headers}
    if authorization:
        headers["Authorization"] = authorization
    again = call.again and (call.body is None or isinstance(call.body, bytes))
    attempt = 0
    begun = time.monotonic()
    while True:
        pace.keep()
        attempt += 1
        told = None
        unreachable = False
        try:
            answer = _once(lane, call, url, headers)
            pace.answered()
            if answer.status not in TRANSIENT:
                return answer
            failure: TransportError = answer.error()
            told = pace.told(answer.headers)
        except WireError as error:
            failure = faults.turn(error, f"{call.method} {url}")
            failure.__cause__ = error
            unreachable = not error.connected or isinstance(error.cause, TimeoutError)
        except TransientError as error:
            failure = error
        if told and not again:
            pace.pause(told)
        if not again or not failure.retriable or not pace.may_retry(attempt):
            if again and unreachable and failure.retriable:
                pace.gave_up(failure.message, begun)
            raise failure
        trace.tell("%s; asking again, try %d", failure.message, attempt + 1)
        if told:
            pace.pause(told)
        else:
            pace.back_off(attempt)


def _once(lane: Lane, call: Call, url: Url, headers: Mapping[str, str]) -> Answer:
    pace = lane.pace
    pace.slots.acquire()
    streams = False
    begun = time.monotonic()
    try:
        asked = Request(call.method, url.target, headers, call.body, call.length)
        response = lane.pool.ask(asked, pace.timeout)
        answer = Answer(call.method, url, response.status, response.headers)
        success = 200 <= response.status < 300
        if success:
            refuse_encoded(response, answer)
        if success and call.limit is None:
            answer.stream, answer.pace, streams = response, pace, True
        elif success:
            answer.body = read_document(response, call.limit or 0, pace.patience.document_timeout, answer)
        else:
            said = read_document(response, MAX_ERROR, pace.patience.document_timeout, answer, cut=True)
            answer.body = unspoken(said, headers.get("Authorization", ""))
        _tell(call, answer, time.monotonic() - begun)
        return answer
    finally:
        if not streams:
            pace.slots.release()


def _tell(call: Call, answer: Answer, seconds: float) -> None:
    sent = len(call.body) if isinstance(call.body, bytes) else call.length
    came = "a body to come" if answer.stream else f"{len(answer.body)} bytes"
    trace.tell("%s: %d, %d bytes sent, %s, %.3f s", answer, answer.status, sent, came, seconds)
