"""Which scheme a registry speaks where the user turned TLS verification off."""

from contextlib import suppress

from urllib3 import Retry
from urllib3.exceptions import HTTPError

from transship.pipeline.errors import TransientError
from transship.pipeline.registry import faults
from transship.pipeline.registry.lanes import Lane, Lanes
from transship.pipeline.registry.origin import Origin


def choose(lanes: Lanes, secure: Origin, plain: Origin) -> Origin:
    """Return ``secure`` if it speaks TLS, however badly certified, else ``plain`` if that answers HTTP.

    Raises:
        TransientError: neither answers, in all tries.
    """
    pace = lanes.at(secure).pace
    attempt = 0
    while True:
        attempt += 1
        reasons: list[str] = []
        for origin in (secure, plain):
            try:
                _ask(lanes.at(origin))
                pace.down = False
                return origin
            except HTTPError as error:
                reasons.append(f"{origin}: {faults.reason(error)}")
        if not pace.may_retry(attempt):
            pace.down = True
            raise TransientError("; ".join(reasons), advice="check that the registry is up and reachable")
        pace.back_off(attempt)


def _ask(lane: Lane) -> None:
    """Get any answer at all; raises urllib3's `HTTPError` where none comes."""
    response = lane.pool.urlopen(
        "GET",
        "/v2/",
        headers={"Accept-Encoding": "identity"},
        retries=Retry(False, redirect=False),
        redirect=False,
        preload_content=False,
        timeout=lane.pace.timeout,
    )
    with suppress(HTTPError):
        response.read1(64 << 10, decode_content=False)
    response.close()
