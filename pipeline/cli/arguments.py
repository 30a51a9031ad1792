"""The arguments of every command. Reading them, and showing help, loads nothing else of transship."""

import argparse
import re
from collections.abc import Callable, Mapping
from typing import Final

from transship.pipeline.cli import copy_arguments, query_arguments, sync_arguments
from transship.pipeline.cli.flags import elsewhere, reaching, signed, signing

_LEAST_VOLUME: Final = 1024


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("batch", metavar="BATCH", help="batch file, YAML or JSON, or a lock of one")
    working(parser)
    parser.add_argument(
        "--scheduler",
        metavar="URL",
        default="",
        help="share the run with other machines by the luigid at this address (default: alone)",
    )


def working(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that does the work of a batch file."""
    parser.add_argument(
        "--runs", metavar="DIR", default="runs", help="folder in which run folders live (default: runs)"
    )
    parser.add_argument(
        "--name",
        metavar="NAME",
        default="",
        help="name of the run, and of its folder (default: name: of the batch file, else its file name)",
    )
    parser.add_argument(
        "--workers", metavar="N", type=_positive, default=0, help="images at once (default: by the number of cores)"
    )
    parser.add_argument(
        "--processes",
        metavar="N",
        type=_positive,
        default=0,
        help="processes to share the work (default: one a core, where there are images enough)",
    )
    parser.add_argument(
        "--refresh",
        action="store_true",
        help="ask tags again, which stay pinned otherwise, and redo the images that changed",
    )
    parser.add_argument("--fail-fast", action="store_true", help="begin nothing more after the first failure")
    parser.add_argument(
        "--dry-run", action="store_true", help="check the batch file, print the plan as JSON, and write nothing"
    )
    styles = ("auto", "bar", "lines", "json", "none")
    parser.add_argument(
        "--progress",
        choices=styles,
        default="auto",
        help="how to show progress on standard error (default: auto, a bar on a terminal, else lines)",
    )


def _lock(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("batch", metavar="BATCH", help="batch file, YAML or JSON")
    parser.add_argument("-o", "--output", metavar="FILE", default="", help="write the lock to this file")
    parser.add_argument(
        "--check",
        metavar="FILE",
        default="",
        help="write nothing; print what is another one now than this lock says",
    )


def _bundle_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "batch", metavar="BATCH", help="batch file, YAML or JSON, or a lock of one; its to: is not used"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        required=True,
        help="write the bundle to this file; named .zst it is packed by zstd",
    )
    parser.add_argument(
        "--split",
        metavar="SIZE",
        type=_size,
        default=0,
        help="write volumes FILE.001, FILE.002 and so on of this size, such as 4GiB or 700M (default: one file)",
    )
    parser.add_argument(
        "--since",
        metavar="FILE",
        default="",
        help="leave out what this older bundle brought, or the bundle of this older lock (default: nothing)",
    )
    signing(parser, images=False)
    working(parser)
    parser.set_defaults(scheduler="")


def _bundle_sign(parser: argparse.ArgumentParser) -> None:
    _bundle(parser)
    signing(parser, images=False)


def _bundle_verify(parser: argparse.ArgumentParser) -> None:
    _bundle(parser)
    signed(parser)


def _bundle_load(parser: argparse.ArgumentParser) -> None:
    _bundle_verify(parser)
    parser.add_argument(
        "--to",
        metavar="PLACE",
        required=True,
        help="docker://registry/prefix, oci:DIR, docker-daemon: or containers-storage:",
    )
    working(parser)
    reaching(parser)


def _bundle_apply(parser: argparse.ArgumentParser) -> None:
    _bundle_load(parser)
    parser.add_argument(
        "--base",
        metavar="FILE",
        action="append",
        default=[],
        help="read what is left out from this older bundle, repeatable (default: it is at the place already)",
    )


def _bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundles", metavar="FILE", nargs="+", help="bundle, or any file of it; all its files are one")


def _bundle_list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="FILE", help="bundle, or any file of it")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")


def _bundle_diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD-FILE", help="bundle, or any file of it")
    parser.add_argument("new", metavar="NEW-FILE", help="the one to compare it with")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder, or name of a run under runs/")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="RUN|REFERENCE", nargs="+", help="run folder or name, or transport:reference")
    reaching(parser)
    elsewhere(parser)


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder, or name of a run under runs/")
    parser.add_argument("--json", action="store_true", help="print the whole report as JSON instead of lines")
    parser.add_argument("--html", metavar="FILE", default="", help="write a page of HTML that needs no other file")
    parser.add_argument(
        "--rewrite",
        metavar="FILE",
        nargs="+",
        default=[],
        help="show what changes in these files (Kubernetes, Compose, Dockerfile, list) by the images' new references",
    )
    parser.add_argument("--in-place", action="store_true", help="with --rewrite: write them too")
    parser.add_argument(
        "--to", metavar="PREFIX", default="", help="with --rewrite: of several destinations those that begin so"
    )


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="OCI layout, oci-archive, bundle, docker-archive or dir: folder, known by what is in it",
    )
    parser.add_argument("--port", metavar="N", type=_port, default=0, help="port to listen on (default: a free one)")
    parser.add_argument(
        "--address", metavar="IP", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    parser.add_argument(
        "--access-log", metavar="FILE", default="", help="append one JSON line for each request (default: none)"
    )
    signed(parser)


def _size(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,15})(?:([KMGT])(i?B)?|B)?", text)
    if not found:
        raise argparse.ArgumentTypeError("expected a size, such as 4GiB, 700M or 1000000")
    # As GNU's programs: KB is 1000 bytes, K and KiB are 1024.
    unit = 1000 if found[3] == "B" else 1024
    power = "KMGT".index(found[2]) + 1 if found[2] else 0
    value = int(found[1]) * int(unit**power)
    if value < _LEAST_VOLUME:
        raise argparse.ArgumentTypeError(f"expected at least {_LEAST_VOLUME} bytes")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 16:
        raise argparse.ArgumentTypeError("expected a number from 0 to 65535")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected a number from 1")
    return value


ADD: Final[Mapping[str, Callable[[argparse.ArgumentParser], None]]] = {
    "run": _run,
    "lock": _lock,
    "bundle create": _bundle_create,
    "bundle sign": _bundle_sign,
    "bundle load": _bundle_load,
    "bundle apply": _bundle_apply,
    "bundle verify": _bundle_verify,
    "bundle list": _bundle_list,
    "bundle diff": _bundle_diff,
    "status": _status,
    "verify": _verify,
    "report": _report,
    "serve": _serve,
    "copy": copy_arguments.copy,
    "inspect": query_arguments.inspect,
    "list-tags": query_arguments.list_tags,
    "delete": query_arguments.delete,
    "layers": query_arguments.layers,
    "manifest-digest": query_arguments.manifest_digest,
    "generate-sigstore-key": query_arguments.generate_sigstore_key,
    "login": query_arguments.login,
    "logout": query_arguments.logout,
    "sync": sync_arguments.sync,
    "standalone-sign": query_arguments.standalone_sign,
    "standalone-verify": query_arguments.standalone_verify,
    "untrusted-signature-dump-without-verification": query_arguments.untrusted_dump,
    "completion": query_arguments.completion,
}
"""What adds a command's arguments to its parser, by the command's name."""
