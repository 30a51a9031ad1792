"""Options that several commands share, spelt and read as skopeo's are.

skopeo's own parser is Go's: a flag takes a value only after ``=`` (``--tls-verify=false``), never
as the next word, so ``--tls-verify docker://...`` names an image.
"""

import argparse
import re
from typing import Final

_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")
_DURATION: Final = r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)"
_AUTH_FILE: Final = (
    "file of registry credentials (default: REGISTRY_AUTH_FILE, else those that skopeo, Podman and Docker write)"
)
_CERTIFICATES: Final = (
    "folder of *.crt (authorities), *.cert and *.key (who we are) for TLS (default: those of certs.d)"
)
_SIGNING: Final = (
    ("sign-by", "KEY", "sign with this key of GnuPG's, by its fingerprint"),
    ("sign-by-sq-fingerprint", "KEY", "sign with this key of Sequoia's, by its fingerprint"),
    ("sign-by-sigstore", "FILE", "sign as this sigstore signing parameter file says"),
    ("sign-by-sigstore-private-key", "FILE", "sign with this key of generate-sigstore-key's"),
    ("sign-passphrase-file", "FILE", "its first line is the passphrase of the key (default: ask the agent)"),
)
_IMAGES_ALONE: Final = ("sign-by-sq-fingerprint", "sign-by-sigstore")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def flag(parser: argparse.ArgumentParser, *names: str, help: str, default: object = False) -> None:  # noqa: A002
    """Add an option that is true where it stands, and takes ``=true`` and ``=false`` in Go's spellings."""
    action = parser.add_argument(*names, action="store_true", default=default, help=help)
    for values, kind in ((_TRUE, "store_true"), (_FALSE, "store_false")):
        spelt = [f"{name}={value}" for name in names for value in values]
        parser.add_argument(*spelt, action=kind, dest=action.dest, default=default, help=argparse.SUPPRESS)


def reaching(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add how to reach a registry; `connect.source_settings` reads it. ``prefix`` is such as ``src-``."""
    parser.add_argument(f"--{prefix}authfile", metavar="FILE", default="", help=_AUTH_FILE)
    parser.add_argument(f"--{prefix}cert-dir", metavar="DIR", default="", help=_CERTIFICATES)
    text = "require HTTPS with a valid certificate (default: true, or as registries.conf says)"
    flag(parser, f"--{prefix}tls-verify", help=text, default=None)


def account(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add who to be at a registry; `connect.account_settings` reads it."""
    parser.add_argument(
        f"--{prefix}creds",
        metavar="USER[:PASSWORD]",
        default=None,
        help="log in with these; other users of the machine see them (default: what the auth files say)",
    )
    if prefix:
        # skopeo's older spelling.
        older = f"--{prefix[0]}creds"
        parser.add_argument(older, dest=f"{prefix.replace('-', '_')}creds", default=None, help=argparse.SUPPRESS)
    parser.add_argument(
        f"--{prefix}username", metavar="USER", default=None, help="log in as this user; goes with the password option"
    )
    parser.add_argument(
        f"--{prefix}password",
        metavar="PASSWORD",
        default=None,
        help="the password of that user; other users of the machine see it, transship login keeps it in a file",
    )
    parser.add_argument(
        f"--{prefix}registry-token", metavar="TOKEN", default="", help="send this Bearer token, and ask for none"
    )
    flag(parser, f"--{prefix}no-creds", help="be nobody, whatever the auth files say")


def both_sides(parser: argparse.ArgumentParser) -> None:
    """Add what holds for source and destination where nothing is said of one of them."""
    parser.add_argument(
        "--authfile",
        metavar="FILE",
        default="",
        help="as --src-authfile and --dest-authfile, where those are not given",
    )
    # skopeo's older spelling.
    flag(parser, "--tls-verify", help=argparse.SUPPRESS, default=None)


def retrying(parser: argparse.ArgumentParser) -> None:
    """Add how often to try again; `connect.account_settings` reads it."""
    parser.add_argument(
        "--retry-times",
        metavar="N",
        type=natural,
        default=None,
        help="times to ask again what failed in a way that may pass, each request for itself (default: 5)",
    )
    parser.add_argument(
        "--retry-delay",
        metavar="DURATION",
        type=duration,
        default=0.0,
        help="wait before asking again, such as 2s or 1m30s (default: 0.5s, doubling up to 30s)",
    )


def elsewhere(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Add the options of single transports."""
    parser.add_argument(
        f"--{prefix}daemon-host",
        metavar="HOST",
        default="",
        help="where the Docker Engine is: unix:///path or tcp://host:port (default: DOCKER_HOST)",
    )
    parser.add_argument(
        f"--{prefix}shared-blob-dir",
        metavar="DIR",
        default="",
        help="oci: only: folder in which layouts share their blobs (default: the layout's own)",
    )


def signing(parser: argparse.ArgumentParser, *, images: bool = True) -> None:
    """Add how to sign what is written; without ``images`` only what can sign a file as it is."""
    for name, metavar, text in _SIGNING:
        if images or name not in _IMAGES_ALONE:
            parser.add_argument(f"--{name}", metavar=metavar, default="", help=text)


def signed(parser: argparse.ArgumentParser) -> None:
    """Add by which keys bundles must be signed; `bundle_keys.vouching` reads it."""
    for name, text in (
        ("signed-by", "refuse what none of the OpenPGP public keys in this file has signed; may stand several times"),
        ("key", "refuse what this sigstore public key has not signed; may stand several times, one will do"),
    ):
        parser.add_argument(f"--{name}", metavar="FILE", action="append", default=[], help=text)


def natural(text: str) -> int:
    """Return a number from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("expected a number from 0")
    return value


def duration(text: str) -> float:
    """Return the seconds of a Go duration, such as ``1m30s``."""
    parts = re.findall(_DURATION, text)
    if text == "0":
        return 0.0
    if not parts or "".join(parts) != text:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration, such as 30s or 1m30s")
    return sum(_seconds(part) for part in parts)


def _seconds(part: str) -> float:
    unit = part.lstrip("0123456789.")
    return float(part.removesuffix(unit)) * _UNITS[unit]
