"""The packages that only trust needs: an extra, so that who verifies nothing installs nothing."""

from collections.abc import Iterator
from contextlib import contextmanager

from transship.pipeline.errors import UsageError


@contextmanager
def from_extra(purpose: str) -> Iterator[None]:
    """Inside, modules of the extra ``trust`` are imported; ``purpose`` says what for.

    Raises:
        UsageError: one is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"{purpose} needs the module {error.name}, which is not installed",
            advice="run pip install 'transship[trust]'",
        ) from error
