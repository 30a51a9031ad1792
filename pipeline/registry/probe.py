"""Which scheme a registry speaks where the user turned TLS verification off."""

import time
from contextlib import suppress

from transship.pipeline import trace
from transship.pipeline.errors import TransientError
from transship.pipeline.registry import faults
from transship.pipeline.registry.faults import WireError
from transship.pipeline.registry.lanes import Lane, Lanes
from transship.pipeline.registry.origin import Origin
from transship.pipeline.registry.request import Request


def choose(lanes: Lanes, secure: Origin, plain: Origin) -> Origin:
    """Return ``secure`` if it speaks TLS, however badly certified, else ``plain`` if that answers HTTP.

    Raises:
        TransientError: neither answers, in all tries; or neither did a moment ago.
    """
    pace = lanes.at(secure).pace
    attempt = 0
    begun = time.monotonic()
    while True:
        pace.keep()
        attempt += 1
        reasons: list[str] = []
        for origin in (secure, plain):
            try:
                _ask(lanes.at(origin))
                pace.answered()
                trace.tell("%s: answers; its certificate is not looked at", origin)
                return origin
            except WireError as error:
                reasons.append(f"{origin}: {faults.reason(error)}")
        if not pace.may_retry(attempt):
            pace.gave_up("; ".join(reasons), begun)
            raise TransientError("; ".join(reasons), advice="check that the registry is up and reachable")
        pace.back_off(attempt)


def _ask(lane: Lane) -> None:
    """Get any answer at all; raises `WireError` where none comes."""
    asked = Request("GET", "/v2/", {"Accept-Encoding": "identity", "User-Agent": lane.agent})
    response = lane.pool.ask(asked, lane.pace.timeout)
    with suppress(WireError):
        response.read1(64 << 10)
    response.close()
