"""The arguments of skopeo's query and account commands."""

import argparse

from transship.pipeline.cli.flags import account, elsewhere, flag, reaching, retrying


def inspect(parser: argparse.ArgumentParser) -> None:
    """Add those of ``inspect``."""
    parser.add_argument("image", metavar="IMAGE-NAME", help="transport:reference")
    flag(parser, "--raw", help="print the manifest, or with --config the config, byte for byte")
    flag(parser, "--config", help="print the config in OCI's form")
    parser.add_argument("-f", "--format", metavar="TEMPLATE", default="", help="a Go template, or json")
    flag(parser, "-n", "--no-tags", help="do not ask for the repository's tags")
    parser.add_argument(
        "--manifest-digest", metavar="ALGORITHM", default="sha256", help="how Digest is computed (sha256 or sha512)"
    )
    _image(parser)


def list_tags(parser: argparse.ArgumentParser) -> None:
    """Add those of ``list-tags``."""
    parser.add_argument("repository", metavar="SOURCE-IMAGE", help="docker://repository or docker-archive:path")
    reaching(parser)
    account(parser)
    retrying(parser)


def layers(parser: argparse.ArgumentParser) -> None:
    """Add those of ``layers``."""
    parser.add_argument("image", metavar="IMAGE-NAME", help="transport:reference")
    parser.add_argument("layers", metavar="LAYER", nargs="*", default=[], help="digest of one (default: every blob)")
    _image(parser)


def delete(parser: argparse.ArgumentParser) -> None:
    """Add those of ``delete``."""
    parser.add_argument("image", metavar="IMAGE-NAME", help="docker://, oci: or containers-storage: reference")
    _image(parser)


def manifest_digest(parser: argparse.ArgumentParser) -> None:
    """Add those of ``manifest-digest``."""
    parser.add_argument("file", metavar="MANIFEST-FILE", help="file that holds a manifest")


def login(parser: argparse.ArgumentParser) -> None:
    """Add those of ``login``."""
    registry = "host[:port], or host[:port]/namespace (default: the first unqualified-search registry)"
    parser.add_argument("registry", metavar="REGISTRY", nargs="?", default="", help=registry)
    parser.add_argument("-u", "--username", metavar="USER", default="", help="asked for where it is not given")
    parser.add_argument("-p", "--password", metavar="PASSWORD", default="", help="better leave it out, or use stdin")
    flag(parser, "--password-stdin", help="read the password from standard input")
    flag(parser, "--get-login", help="print the user who is logged in, and do nothing")
    flag(parser, "-v", "--verbose", help="say where the credentials went")
    _files(parser)
    reaching(parser)


def logout(parser: argparse.ArgumentParser) -> None:
    """Add those of ``logout``."""
    parser.add_argument("registry", metavar="REGISTRY", nargs="?", default="", help="as in login")
    flag(parser, "-a", "--all", help="log out of every registry in the auth file")
    _files(parser)
    reaching(parser)


def _files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--compat-auth-file", metavar="FILE", default="", help="write there, in Docker's form")


def _image(parser: argparse.ArgumentParser) -> None:
    reaching(parser)
    account(parser)
    retrying(parser)
    elsewhere(parser)
