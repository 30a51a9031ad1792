"""The error families of transship, by what the user can do about them.

Every message is one line: what was tried, where, why it failed; ``advice`` says what to do.
Foreign text (registry answers, names in archives) goes through `shown` first.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final


class Error(Exception):
    """Root of everything transship raises on purpose.

    ``retriable`` is true where doing the same again later may succeed.
    """

    retriable: ClassVar[bool] = False

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


class UsageError(Error):
    """The command line, the batch file or a reference is wrong; nothing was started."""


class ContentError(Error):
    """Bytes are not what they claim to be: digest, size, shape or media type."""


class RefusedError(Error):
    """A signature policy, or a signature itself, does not let the image pass."""


class TransportError(Error):
    """A medium failed: registry, file system, archive."""


class NotFoundError(TransportError):
    """The image, manifest or blob is not there."""


class DeniedError(TransportError):
    """Credentials are missing, wrong or do not suffice."""


class LoginError(DeniedError):
    """A registry or its token server answered that it does not take the credentials, or wants some."""


class TransientError(TransportError):
    """The medium failed in a way that may pass: connection, time-out, 429, 5xx."""

    retriable = True


class ConflictError(TransportError):
    """The destination exists and is not ours to replace, or is in use by another process."""


class InterruptError(Error):
    """The user asked to stop; what was done so far is kept."""

    retriable = True


@contextmanager
def once_found() -> Iterator[None]:
    """Inside, the image asked for was found, or none was asked for: what is missing is a plain `TransportError`.

    To skopeo's users exit code 2 means that the image is not there, and nothing else.
    """
    try:
        yield
    except NotFoundError as error:
        raise TransportError(error.message, advice=error.advice) from error


_BETWEEN: Final = r"(docker://[^/@:]+):.*@(?!sha\d{3}:)"
LONGEST_LINE: Final = 4000
"""Characters of a message that goes to a terminal whole."""


def without_password(reference: str) -> str:
    """Return ``reference`` as `shown` does, but for a password that somebody took a reference to hold."""
    return shown(re.sub(_BETWEEN, r"\1:...@", reference, flags=re.DOTALL))


def shown(foreign: str, limit: int = 200) -> str:
    """Return ``foreign`` fit for one line of a terminal and a log, cut at ``limit``.

    What is no printable character is escaped: controls, line ends, what turns the writing direction.
    """
    text = foreign if len(foreign) <= limit else foreign[:limit] + "..."
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
