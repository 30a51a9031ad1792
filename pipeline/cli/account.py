"""What ``login`` and ``logout`` share: which registry a word means, which auth file is written."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.reference import DockerReference
from transship.pipeline.registry.auth_file import AuthFile
from transship.pipeline.registry.credentials import Credentials, CredentialStore, auth_files


class Key(NamedTuple):
    """What credentials are kept for: a registry, or a namespace in it."""

    registry: str
    namespace: str

    @classmethod
    def parse(cls, text: str) -> "Key":
        """Return the key that ``text`` means; a URL means its host, whatever else is in it.

        Raises:
            UsageError: it is no registry and no ``registry/namespace``.
        """
        if text.startswith(("https://", "http://")):
            text = urlsplit(text).netloc
        registry, _, namespace = text.partition("/")
        if not registry or (namespace and DockerReference.parse_repository(f"docker://{text}").registry != registry):
            raise UsageError(f"{shown(text)!r} is no registry", advice="expected host[:port] or host[:port]/namespace")
        return cls(registry, namespace)

    def __str__(self) -> str:
        return f"{self.registry}/{self.namespace}" if self.namespace else self.registry


def written_file(options: argparse.Namespace, environ: Mapping[str, str]) -> AuthFile:
    """Return the auth file that the options or the environment name, or the first that is looked into.

    Raises:
        UsageError: two are named, or XDG_RUNTIME_DIR is no folder.
    """
    if options.authfile and options.compat_auth_file:
        raise UsageError("--authfile and --compat-auth-file exclude each other", advice="keep one of them")
    if options.compat_auth_file:
        return AuthFile(Path(options.compat_auth_file), True, environ)
    files = auth_files(environ, options.authfile)
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not files.required and runtime and not Path(runtime).is_dir():
        raise UsageError(f"XDG_RUNTIME_DIR: {shown(runtime)} is no folder", advice="make it, or unset the variable")
    return AuthFile(files.paths[0], False, environ)


def known(key: Key, options: argparse.Namespace, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials that are kept for ``key``, wherever `copy` would find them."""
    files = auth_files(environ, options.compat_auth_file or options.authfile)
    return CredentialStore(files._replace(required=False)).find(key.registry, key.namespace)
