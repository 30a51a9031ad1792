"""Standard output and standard error as a command has them: what cannot be written is an error, or is dropped.

Whatever a command is asked for on standard output is what it is for: where that cannot be written it has failed.
Standard error is there to tell; a full disk behind it, or a reader that has gone, ends no run of a thousand images.
"""

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from transship.pipeline.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]


class OutputError(TransportError):
    """Standard output cannot be written: the disk is full, or its reader has gone."""


class _Output(io.FileIO):
    def write(self, data: "Buffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # Said once: what is still to come, and what the buffer holds, goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), self.fileno())
            raise OutputError(
                f"standard output: {os.strerror(error.errno or 0)}", advice="what it has may be cut short"
            ) from error


class _Diagnostics(io.FileIO):
    def write(self, data: "Buffer", /) -> int:
        with suppress(OSError):
            return super().write(data)
        return memoryview(data).nbytes


def take_over() -> None:
    """Replace `sys.stdout` and `sys.stderr` of this process by streams over the same files, as the module says.

    One that was closed before the process began stays taken, so that no file or connection gets its number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # For reading where it is to be written, and the other way round: to use it fails as if it were closed.
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
    sys.stdout = _over(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _over(_Diagnostics(2, "w", closefd=False), sys.stderr)


def _over(raw: io.FileIO, old: TextIO | None) -> io.TextIOWrapper:
    """Return the text stream over ``raw`` that writes as the ``old`` one did."""
    buffered = io.BufferedWriter(raw)
    if not isinstance(old, io.TextIOWrapper):
        return io.TextIOWrapper(buffered, "utf-8", errors="backslashreplace", line_buffering=raw.fileno() > 1)
    return io.TextIOWrapper(
        buffered, old.encoding, errors=old.errors, line_buffering=old.line_buffering, write_through=old.write_through
    )
