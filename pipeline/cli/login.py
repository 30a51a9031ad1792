"""``transship login``: check credentials with a registry and keep them."""

import argparse
import os
import sys
from typing import Final

from transship.pipeline.cli.account import Key, keep, known, meant, written_file
from transship.pipeline.cli.connect import connect, source_settings
from transship.pipeline.errors import DeniedError, UsageError, once_found, shown
from transship.pipeline.registry.credentials import Credentials

_MAX_PASSWORD: Final = 64 << 10


def perform(options: argparse.Namespace) -> int:
    """Log in; return 0."""
    key = meant(options)
    target = written_file(options, os.environ)
    before = known(key, options, os.environ)
    if options.get_login:
        if before is None or not before.username:
            raise DeniedError(f"not logged into {key}")
        print(before.username)
        return 0
    if before and before.identity_token:
        raise UsageError(f"{key}: logged in with an identity token", advice="log out first")
    given = _given(options)
    if not options.username and not given and before and before.password:
        print(f"Authenticating with existing credentials for {key}")
        if _accepted(key, before, options):
            print(f"Existing credentials are valid. Already logged in to {key.registry}")
            return 0
        print("Existing credentials are invalid, please enter valid username and password")
    username = options.username or _asked_username(before)
    found = Credentials(username.strip(), given or _asked_password())
    if not found.username or ":" in found.username:
        raise UsageError("login: a user name is not empty and has no ':'", advice="see --username")
    if not _accepted(key, found, options):
        raise DeniedError(f"logging into {shown(str(key))!r}: invalid username/password")
    place = keep(key, found, target, options)
    if options.verbose:
        print("Used: ", place)
    print("Login Succeeded!")
    return 0


def _given(options: argparse.Namespace) -> str:
    if not options.password_stdin:
        return str(options.password)
    if options.password:
        raise UsageError("login: --password-stdin and --password exclude each other", advice="keep one of them")
    if not options.username:
        raise UsageError("login: --password-stdin needs --username", advice="give both")
    raw = sys.stdin.buffer.read(_MAX_PASSWORD + 1)
    if len(raw) > _MAX_PASSWORD:
        raise UsageError(f"login: the password is over {_MAX_PASSWORD} bytes")
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError:
        # Not chained: the error holds the password.
        raise UsageError("login: the password is not UTF-8") from None
    # As skopeo: the lines together, without their ends.
    return "".join(line.removesuffix("\r") for line in lines)


def _asked_username(before: Credentials | None) -> str:
    usual = before.username if before else ""
    print(f"Username ({usual}): " if usual else "Username: ", end="", flush=True)
    return sys.stdin.readline().strip() or usual


def _asked_password() -> str:
    # getpass would read it where everybody sees it.
    if not sys.stdin.isatty():
        raise UsageError("login: no terminal to ask for the password", advice="use --password-stdin")
    from getpass import getpass  # noqa: PLC0415

    return getpass("Password: ")


def _accepted(key: Key, found: Credentials, options: argparse.Namespace) -> bool:
    settings = source_settings(options, "")._replace(credentials=found)
    with once_found(), connect(options, settings) as registries:
        return registries.client(key.registry).accepts_login()
