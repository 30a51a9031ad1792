"""Asking for the passphrase of a key, at a terminal."""

import sys

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.trust import material


def passphrase(key: str, file: str, option: str) -> bytes:
    """Return the passphrase for the file ``key``: from ``file`` (what ``option`` names), or else asked for.

    Raises:
        UsageError: the file cannot be read, or there is no terminal to ask at.
    """
    if file:
        return material.passphrase(file, option)
    # getpass would read it where everybody sees it.
    if not sys.stdin.isatty():
        raise UsageError(f"{shown(key)}: no terminal to ask for the passphrase", advice=f"use {option}")
    from getpass import getpass  # noqa: PLC0415

    return getpass(f"Passphrase for key {key}: ").encode(errors="surrogateescape")
