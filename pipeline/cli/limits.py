"""What the system lets this process have."""

import resource
from contextlib import suppress


def allow_files() -> None:
    """Let this process have as many open files as it may, where that is more than it has."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
