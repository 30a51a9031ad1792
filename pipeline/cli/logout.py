"""``transship logout``: forget the credentials for a registry."""

import argparse
import os

from transship.pipeline.cli.account import forget, forget_all, known, meant, written_file
from transship.pipeline.errors import DeniedError, UsageError


def perform(options: argparse.Namespace) -> int:
    """Log out; return 0."""
    target = written_file(options, os.environ)
    if (
        options.authfile or options.compat_auth_file or "REGISTRY_AUTH_FILE" in os.environ
    ) and not target.path.exists():
        raise UsageError(f"auth file {target.path} does not exist", advice="correct its name")
    if options.all:
        if options.registry:
            raise UsageError("logout: --all takes no registry", advice="leave one out")
        forget_all(target, options)
        print("Removed login credentials for all registries")
        return 0
    key = meant(options)
    if forget(key, target, options):
        print(f"Removed login credentials for {key}")
        return 0
    if known(key, options, os.environ):
        raise DeniedError(
            f"not logged into {key} by an entry of its own in {target.path}",
            advice="credentials for it stand under a shorter key, or in a file to be named with --authfile",
        )
    raise DeniedError(f"not logged into {key}")
