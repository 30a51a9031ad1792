"""What a command does, told while it does it, where the user asks for that; elsewhere nothing is made of it or loaded.

What is told holds no secret: no header field, no body, and of a URL not the query.
"""

from collections.abc import Callable
from typing import Final

_LOGS: Final[list[Callable[..., object]]] = []


def tell(text: str, *values: object) -> None:
    """Have ``text % values`` in the log of this process, if it has one."""
    for log in _LOGS:
        log(text, *values)


def begin(log: Callable[..., object]) -> None:
    """Have ``log`` called as `tell` is from now on, by any thread, and nothing else."""
    _LOGS[:] = [log]


def end() -> None:
    """Tell nobody any more; idempotent."""
    _LOGS.clear()
