"""What ``login`` and ``logout`` share: which registry a word means, which auth file is written."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from transship.pipeline.cli.connect import configured
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.registry import helper
from transship.pipeline.registry.auth_file import AuthFile
from transship.pipeline.registry.credentials import Credentials, CredentialStore, auth_files
from transship.pipeline.registry.namespaces import AUTH_FILES


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


def meant(options: argparse.Namespace) -> Key:
    """Return the key that the command line names, or else the first registry that short names are looked for in.

    Raises:
        UsageError: neither it nor registries.conf names one.
    """
    if options.registry:
        return Key.parse(options.registry)
    search = configured(options).search
    if not search:
        raise UsageError(
            f"{options.command}: no registry is named, and none in registries.conf (unqualified-search-registries)",
            advice="name it" + (", or use --all" if options.command == "logout" else ""),
        )
    return Key.parse(search[0])


def helpers(options: argparse.Namespace) -> Sequence[str]:
    """Return where credentials are kept, in order: `AUTH_FILES`, and credential helpers of registries.conf.

    Docker knows nothing of the latter.
    """
    return (AUTH_FILES,) if options.compat_auth_file else configured(options).helpers


def known(key: Key, options: argparse.Namespace, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials that are kept for ``key``, wherever `copy` would find them."""
    files = auth_files(environ, options.compat_auth_file or options.authfile)
    store = CredentialStore(files._replace(required=False), configured(options).helpers)
    return store.find(key.registry, key.namespace)


def keep(key: Key, found: Credentials, target: AuthFile, options: argparse.Namespace) -> str:
    """Keep credentials in the first of `helpers` that takes them; return where they are now.

    Raises:
        UsageError: none takes them; says what the first said.
    """
    failure: UsageError | None = None
    for name in helpers(options):
        try:
            if name == AUTH_FILES:
                return target.keep(str(key), found.username, found.password)
            helper.keep(name, _host(key), found.username, found.password, target.environ)
        except UsageError as error:
            failure = failure or error
        else:
            return f"credential helper: {name}"
    raise failure or UsageError("registries.conf names no credential helper")


def forget(key: Key, target: AuthFile, options: argparse.Namespace) -> bool:
    """Forget credentials in all of `helpers`; return whether there were any. Raises as `keep`, after all were asked."""
    failure: UsageError | None = None
    found = False
    for name in helpers(options):
        try:
            if name == AUTH_FILES:
                found = target.forget(str(key)) or found
            elif not key.namespace:
                found = helper.forget(name, key.registry, target.environ) or found
        except UsageError as error:
            failure = failure or error
    if failure:
        raise failure
    return found


def forget_all(target: AuthFile, options: argparse.Namespace) -> None:
    """Forget everything in all of `helpers`; raises as `AuthFile.keep` does."""
    for name in helpers(options):
        if name == AUTH_FILES:
            target.forget_all()
            continue
        for server in helper.servers(name, target.environ):
            helper.forget(name, server, target.environ)


def _host(key: Key) -> str:
    if key.namespace:
        raise UsageError(f"{shown(str(key))}: a credential helper has no namespaces", advice="name the registry alone")
    return key.registry
