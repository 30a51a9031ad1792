"""The arguments of ``sync``."""

import argparse

from transship.pipeline.cli.flags import account, both_sides, flag, reaching, retrying, signing
from transship.pipeline.errors import UsageError


def sync(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="registry/repository[:tag|@digest]; of --src dir a folder, of --src yaml a source file",
    )
    parser.add_argument("destination", metavar="DESTINATION", help="folder; of --dest docker registry[/namespace]")
    parser.add_argument("-s", "--src", choices=("docker", "dir", "yaml"), required=True, help="what the source is")
    parser.add_argument("-d", "--dest", choices=("docker", "dir"), required=True, help="what the destination is")
    flag(parser, "-a", "--all", help="copy every platform of a multi-platform image (default: this machine's)")
    flag(parser, "--referrers", help="also copy what hangs on each image: signatures, attestations, SBOMs")
    flag(parser, "--scoped", help="keep the full names of images at the destination (default: their last part)")
    parser.add_argument(
        "--append-suffix",
        metavar="SUFFIX",
        default="",
        help="put this after each tag at the destination (default: nothing)",
    )
    flag(parser, "--dry-run", help="say what would be copied, and touch nothing")
    flag(
        parser,
        "--keep-going",
        help="go on with other images where one fails, and end with 1 (default: begin none after it)",
    )
    parser.add_argument(
        "--digestfile", metavar="FILE", default="", help="write a line 'digest reference' for each image to this file"
    )
    parser.add_argument(
        "-f",
        "--format",
        choices=("oci", "v2s1", "v2s2"),
        default="",
        help="manifest format to write (default: as they are)",
    )
    flag(parser, "--preserve-digests", help="fail where a digest would change")
    flag(parser, "--remove-signatures", help="copy no signatures (default: with each image, where they can be kept)")
    parser.add_argument(
        "--runs", metavar="DIR", default="runs", help="folder in which run folders live (default: runs)"
    )
    styles = ("auto", "bar", "lines", "json", "none")
    parser.add_argument(
        "--progress",
        choices=styles,
        default="auto",
        help="how to show progress on standard error (default: auto, a bar on a terminal, else lines)",
    )
    both_sides(parser)
    for prefix in ("src-", "dest-"):
        reaching(parser, prefix)
        account(parser, prefix)
    retrying(parser)
    signing(parser)


def refuse_contradictions(options: argparse.Namespace) -> None:
    """Raise `UsageError` where both no signatures are to be copied and all that hangs on an image."""
    if options.referrers and options.remove_signatures:
        raise UsageError("--remove-signatures: --referrers copies signatures too", advice="leave out one of them")
