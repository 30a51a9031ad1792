"""What was read out of files lately, so that it is not read again for each of the images in one of them."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
_COUNT: Final = 4


class Lately(Generic[_T]):
    """The last few, by the identity of what they were read from (`Medium.identity`). Safe across threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: OrderedDict[tuple[int, ...], _T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, identity: tuple[int, ...], make: Callable[[], _T]) -> _T:
        """Return what was made for ``identity``, made now where it is not kept; one is made at a time.

        Raises what ``make`` does, which is then asked again by the next call.
        """
        with self._lock:
            if identity not in self._found:
                self._found[identity] = make()
                while len(self._found) > _COUNT:
                    self._found.popitem(last=False)
            self._found.move_to_end(identity)
            return self._found[identity]
