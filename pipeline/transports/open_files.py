"""Files that stay open for a while: the last few of all, of however many media they are."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager

from transship.pipeline.transports.medium import FileMedium


class _Kept:
    def __init__(self, medium: FileMedium) -> None:
        self.medium = medium
        self.users = 0
        self.dropped = False


class OpenFiles:
    """At most so many that nobody reads just now; those that somebody does stay open until he is done."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def use(self, key: Hashable, make: Callable[[], FileMedium]) -> Iterator[FileMedium]:
        """Yield the file called ``key``, opened by ``make`` where it is not open; raises what that does."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                found = self._kept[key] = _Kept(make())
            found.users += 1
            self._kept.move_to_end(key)
            self._close_idle()
        try:
            yield found.medium
        finally:
            with self._lock:
                found.users -= 1
                if found.dropped and not found.users:
                    found.medium.close()

    def drop(self, keys: Iterable[Hashable]) -> None:
        """Close those of ``keys`` that are open, once nobody reads them."""
        with self._lock:
            for key in keys:
                self._drop(key)

    def _close_idle(self) -> None:
        if len(self._kept) > self._most:
            idle = [key for key, one in self._kept.items() if not one.users]
            for key in idle[: len(self._kept) - self._most]:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            found.dropped = True
            if not found.users:
                found.medium.close()
