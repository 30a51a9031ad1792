"""``transship serve``: a read-only registry over files."""

import argparse
import signal
from pathlib import Path

from transship.pipeline.cli.bundle_keys import signed_documents
from transship.pipeline.cli.limits import allow_files
from transship.pipeline.serve.run import serve
from transship.pipeline.transports.checksums import bundles_named


def perform(options: argparse.Namespace) -> int:
    """Serve until interrupted or terminated, both of which end it well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A request takes a connection and a file.
    allow_files()
    log = Path(options.access_log) if options.access_log else None
    paths = bundles_named(map(Path, options.paths))
    serve(paths, options.port, options.address, log, _announce, signed=signed_documents(options, paths))
    return 0


def _announce(line: str) -> None:
    print(line, flush=True)
