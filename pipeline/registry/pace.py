"""How fast one origin may be asked: slots, pauses that all threads keep, and retries with backoff.

Backoff is exponential with full jitter; ``Retry-After`` is RFC 9110, section 10.2.3.
"""

import random
import threading
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from transship.pipeline.errors import TransientError
from transship.pipeline.registry.connection import Timeouts
from transship.pipeline.registry.settings import Patience

_MAX_DIGITS: Final = 12


class Pace:
    """The pace of one origin, shared by all threads that ask it."""

    def __init__(self, patience: Patience, concurrency: int, stopped: threading.Event) -> None:
        self.patience = patience
        self.slots = threading.BoundedSemaphore(concurrency)
        self.down = False
        self._why_down = ""
        self._rests_until = 0.0
        self._answered_at = 0.0
        self._stopped = stopped
        steps = patience.answer_timeout, patience.idle_timeout
        self._timeout = Timeouts(patience.connect_timeout, *steps)
        self._timeout_when_down = Timeouts(patience.connect_timeout_when_down, *steps)
        self._resume_at = 0.0

    @property
    def timeout(self) -> Timeouts:
        """The time-outs of the next attempt."""
        return self._timeout_when_down if self.down else self._timeout

    def keep(self) -> None:
        """Wait while the origin has asked all to pause.

        Raises:
            TransientError: the client was closed meanwhile, or the origin was found down a moment ago.
        """
        if self.down and time.monotonic() < self._rests_until:
            raise TransientError(self._why_down, advice="check that it is up and reachable")
        while (left := self._resume_at - time.monotonic()) > 0:
            self._sleep(left)

    def answered(self) -> None:
        """Take note that the origin is up."""
        self.down = False
        self._answered_at = time.monotonic()

    def gave_up(self, why: str, since: float) -> None:
        """Take note that it could not be reached in all tries from ``since`` on (monotonic seconds).

        It is down then, unless it has answered another meanwhile: whoever asks in the next seconds
        is told so at once, and need not wait out the same time-outs.
        """
        if self._answered_at < since:
            self._why_down = why
            self._rests_until = time.monotonic() + self.patience.rest_when_down
            self.down = True

    def pause(self, seconds: float) -> None:
        """Let every thread pause from now on for at least ``seconds``."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def may_retry(self, attempt: int) -> bool:
        """Say whether another try is due after ``attempt`` failed ones."""
        return attempt < (self.patience.tries_when_down if self.down else self.patience.tries)

    def back_off(self, attempt: int) -> None:
        """Wait a random time that grows with ``attempt`` (from 1); raises as `keep` does."""
        longest = min(self.patience.longest_wait, self.patience.first_wait * 2 ** (attempt - 1))
        self._sleep(random.uniform(0, longest))  # noqa: S311  (spreads retries; no secret)

    def told(self, headers: Mapping[str, str]) -> float | None:
        """Return how long ``Retry-After`` asks to wait, capped, or None where it says nothing usable."""
        value = headers.get("Retry-After", "").strip()
        wait = _seconds(value)
        return None if wait is None or wait < 0 else min(wait, self.patience.longest_retry_after)

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise TransientError("stopped while waiting for a registry")


def _seconds(value: str) -> float | None:
    if value.isascii() and value.isdigit():
        return float(value[:_MAX_DIGITS])
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
