"""Options that several commands share, in skopeo's words."""

import argparse

from transship.pipeline.registry.settings import HostSettings


def add_source_options(parser: argparse.ArgumentParser, prefix: str) -> None:
    """Add how to reach a registry, each option with ``prefix`` (such as ``src-``)."""
    parser.add_argument(f"--{prefix}authfile", metavar="FILE", default="", help="registry credentials")
    parser.add_argument(f"--{prefix}cert-dir", metavar="DIR", default="", help="*.crt, *.cert and *.key for TLS")
    parser.add_argument(
        f"--{prefix}tls-verify",
        metavar="BOOL",
        nargs="?",
        const=True,
        default=True,
        type=_boolean,
        help="require HTTPS with a valid certificate (default: true)",
    )


def source_settings(options: argparse.Namespace, prefix: str) -> HostSettings:
    """Return the settings that `add_source_options` with the same ``prefix`` collected."""
    words = vars(options)
    name = prefix.replace("-", "_")
    return HostSettings(
        tls_verify=words[f"{name}tls_verify"],
        cert_dir=words[f"{name}cert_dir"],
        authfile=words[f"{name}authfile"] or words.get("authfile", ""),
    )


def _boolean(text: str) -> bool:
    # The spellings that skopeo takes (Go's strconv.ParseBool).
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
