"""Serve what lies at some paths until interrupted."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.serve.formats import open_contents
from transship.pipeline.serve.server import AccessLog, make_server, open_log

_SHOWN: Final = 5


def serve(
    paths: Sequence[Path],
    port: int = 0,
    host: str = "127.0.0.1",
    access_log: Path | None = None,
    announce: Callable[[str], None] = print,
    *,
    signed: Mapping[Path, Digest] | None = None,
) -> None:
    """Serve the images at ``paths``; return when interrupted.

    ``announce`` gets one line, ``serving PATH on http://HOST:PORT (N repositories)``, once
    connections are accepted; of many paths it has the first. What is served is what was there at the start.
    ``signed`` is as `open_contents` takes it.

    Raises:
        UsageError: nothing to serve at one, or what cannot be served beside another; the port is taken, the log
            cannot be written.
        ContentError: what is at one is malformed.
    """
    contents = open_contents(paths, signed)
    with contextlib.ExitStack() as stack:
        log = AccessLog(stack.enter_context(open_log(access_log))) if access_log else None
        stack.callback(contents.close)
        server = stack.enter_context(make_server(contents, host, port, log))
        served = sum(1 for tags in contents.names.values() if tags)
        shown_host = f"[{host}]" if ":" in host else host
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        named = ", ".join(str(path) for path in paths[:_SHOWN]) + more
        with contextlib.suppress(KeyboardInterrupt):
            announce(f"serving {named} on http://{shown_host}:{server.server_port} ({served} repositories)")
            server.serve_forever()
