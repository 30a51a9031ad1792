"""Asking a credential helper, and giving it something to keep: the verbs of docker-credential-helpers.

Helpers are found in absolute folders of PATH only, may take 10 seconds and say 64 KiB.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from transship.pipeline.errors import UsageError, shown

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_TIMEOUT: Final = 10.0
_MAX_OUTPUT: Final = 64 << 10
_NOT_FOUND: Final = "credentials not found"


def ask(name: str, server: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the user name and the secret that helper ``name`` has for ``server``, None if it has none.

    Raises:
        UsageError: no such helper, or it fails, takes too long or says something else.
    """
    output = _answer(name, "get", server, server, environ)
    if output is None:
        return None
    what = _named(name)
    try:
        answer = json.loads(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        # Not chained: the text of a JSON error holds what it was parsing.
        raise UsageError(f"{what} says no JSON with Username and Secret for {shown(server)}") from None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise UsageError(f"{what} says no JSON with Username and Secret for {shown(server)}")
    return (username, secret) if username or secret else None


def keep(name: str, server: str, username: str, secret: str, environ: Mapping[str, str]) -> None:
    """Give helper ``name`` credentials to keep for ``server``; raises as `ask`."""
    document = {"ServerURL": server, "Username": username, "Secret": secret}
    _answer(name, "store", json.dumps(document), server, environ)


def forget(name: str, server: str, environ: Mapping[str, str]) -> bool:
    """Make helper ``name`` forget ``server``; return whether it had something. Raises as `ask`."""
    return _answer(name, "erase", server, server, environ) is not None


def servers(name: str, environ: Mapping[str, str]) -> list[str]:
    """Return what helper ``name`` has credentials for; raises as `ask`."""
    output = _answer(name, "list", "", "all registries", environ)
    try:
        found = json.loads(output or b"{}")
    except (ValueError, RecursionError):
        raise UsageError(f"{_named(name)} says no JSON when asked what it has") from None
    if not isinstance(found, dict):
        raise UsageError(f"{_named(name)} says no JSON object when asked what it has")
    return sorted(found)


def _named(name: str) -> str:
    return f"credential helper docker-credential-{shown(name, 60)}"


def _answer(name: str, verb: str, given: str, server: str, environ: Mapping[str, str]) -> bytes | None:
    """Return what the helper says to ``verb``, None where it has no credentials."""
    what = _named(name)
    program = _program(name, environ)
    if program is None:
        raise UsageError(f"{what} is not in PATH", advice="install it, or correct the auth file")
    code, output = _run([program, verb], given, server, environ, what)
    if not code:
        return output
    if _NOT_FOUND in output.decode("utf-8", "replace").lower():
        return None
    raise UsageError(f"{what} failed with exit code {code} for {shown(server)}")


def _program(name: str, environ: Mapping[str, str]) -> str | None:
    if not _NAME.fullmatch(name):
        return None
    places = [place for place in environ.get("PATH", "").split(":") if place.startswith("/")]
    return shutil.which(f"docker-credential-{name}", path=":".join(places)) if places else None


def _run(words: list[str], given: str, server: str, environ: Mapping[str, str], what: str) -> tuple[int, bytes]:
    timed_out = threading.Event()
    with subprocess.Popen(  # noqa: S603  (an absolute path; the name is checked)
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(environ),
        start_new_session=True,
    ) as process:

        def stop() -> None:
            timed_out.set()
            _kill(process)

        timer = threading.Timer(_TIMEOUT, stop)
        timer.start()
        try:
            output = _converse(process, given, time.monotonic() + _TIMEOUT, timed_out)
        finally:
            timer.cancel()
    if timed_out.is_set():
        raise UsageError(f"{what} gave no answer in {_TIMEOUT:.0f} s for {shown(server)}")
    if len(output) > _MAX_OUTPUT:
        raise UsageError(f"{what} says more than {_MAX_OUTPUT} bytes for {shown(server)}")
    return process.returncode, output


def _converse(process: "subprocess.Popen[bytes]", given: str, deadline: float, timed_out: threading.Event) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):
        process.stdin.write(given.encode())
        process.stdin.close()
    output = b""
    handle = process.stdout.fileno()
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    # What a helper left behind in a session of its own is not killed with it, and may hold its output open.
    while len(output) <= _MAX_OUTPUT:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            timed_out.set()
            break
        piece = os.read(handle, _MAX_OUTPUT)
        if not piece:
            return output
        output += piece
    _kill(process)
    return output


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill the helper and what it started, which would hold its output open."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
