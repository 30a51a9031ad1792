"""``transship serve``: a read-only registry over files."""

import argparse
import signal
from pathlib import Path

from transship.pipeline.serve.run import serve


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``serve``."""
    parser.add_argument("path", metavar="PATH", type=Path, help="OCI layout, oci-archive, docker-archive or dir:")
    parser.add_argument("--port", metavar="N", type=_port, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--address", metavar="IP", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    parser.add_argument("--access-log", metavar="FILE", type=Path, help="append one JSON line a request")
    parser.set_defaults(perform=perform)


def perform(options: argparse.Namespace) -> int:
    """Serve until interrupted or terminated, both of which end it well."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(options.path, options.port, options.address, options.access_log, _announce)
    return 0


def _announce(line: str) -> None:
    print(line, flush=True)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError("expected a number from 0 to 65535")
    return value
