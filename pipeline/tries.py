"""Trying again what goes on where it was, as long as it gets further."""

from typing import Final

MOST: Final = 5
"""Tries in a row that bring nothing."""
PROGRESS: Final = 64 << 10
"""Bytes of a blob more than ever before that count as progress: who gets less by each try does not get there."""


class Tries:
    """How often a transfer has failed since it last got further."""

    def __init__(self, offset: int = 0, progress: int = PROGRESS) -> None:
        """Begin at byte ``offset``; ``progress`` bytes more than ever before let the count begin anew."""
        self.count = 0
        self._reached = offset
        self._progress = progress

    def failed(self, offset: int) -> bool:
        """Note a failure, at byte ``offset``; say whether that is enough."""
        self.count += 1
        if offset >= self._reached + self._progress:
            self.count, self._reached = 0, offset
        return self.count >= MOST

    @property
    def pause(self) -> float:
        """Seconds to wait before the next try; none after progress."""
        return 0.05 * 2**self.count if self.count else 0.0
