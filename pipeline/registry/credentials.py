"""Credentials as container tools store them: auth files and credential helpers.

Order and keys: containers-auth.json(5) and docker login; besides ``credHelpers`` also
``credsStore`` is read. Passwords are in no message and no repr.
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from transship.pipeline import trace
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.registry.namespaces import AUTH_FILES

_MAX_FILE: Final = 4 << 20
HUB_NAMES: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class Credentials(NamedTuple):
    """A user name with a password, or an identity token (OAuth 2 refresh token) instead of one."""

    username: str
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"


class AuthFiles(NamedTuple):
    """Where to look: files in order, whether the one named must exist, and the helpers' environment."""

    paths: tuple[Path, ...]
    required: bool
    environ: Mapping[str, str]

    def __repr__(self) -> str:
        return f"AuthFiles({self.paths!r}, {self.required!r})"


def auth_files(environ: Mapping[str, str], authfile: str = "") -> AuthFiles:
    """Return where credentials are looked for: only ``authfile`` or REGISTRY_AUTH_FILE where given."""
    named = authfile or environ.get("REGISTRY_AUTH_FILE", "")
    if named:
        return AuthFiles((Path(named),), True, environ)
    home = Path(environ.get("HOME", "/"))
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}")
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    first = runtime / "containers/auth.json" if "XDG_RUNTIME_DIR" in environ else runtime / "auth.json"
    return AuthFiles(
        (first, config / "containers/auth.json", docker / "config.json", home / ".dockercfg"), False, environ
    )


class CredentialStore:
    """Finds credentials; reads each file and asks each helper once, also one that fails. Thread-safe."""

    def __init__(self, files: AuthFiles, helpers: Sequence[str] = (AUTH_FILES,)) -> None:
        """``helpers`` are asked in order; of them `AUTH_FILES` is ``files``, with the helpers that those name."""
        self._files = files
        self._helpers = helpers
        self._lock = threading.Lock()
        self._documents: list[tuple[Path, Mapping[str, object]]] | None = None
        self._found: dict[tuple[str, str], Credentials | None] = {}
        self._asked: dict[tuple[str, str], Credentials | None] = {}
        self._failed: dict[tuple[str, str], UsageError] = {}

    def find(self, registry: str, repository: str) -> Credentials | None:
        """Return the credentials for ``registry/repository``, None where there are none.

        Raises:
            UsageError: a file is malformed, the named file is missing, or a helper fails.
        """
        with self._lock:
            key = (registry, repository)
            if key not in self._found:
                self._found[key] = self._search(registry, repository)
            return self._found[key]

    def _search(self, registry: str, repository: str) -> Credentials | None:
        """Ask one helper after the other; one that fails counts only where none has anything."""
        failure: UsageError | None = None
        for name in self._helpers:
            try:
                in_files = name == AUTH_FILES
                found = self._in_files(registry, repository) if in_files else self._ask(name, (registry,))
            except UsageError as error:
                failure = failure or error
                continue
            if found:
                return found
        if failure:
            raise failure
        return None

    def _in_files(self, registry: str, repository: str) -> Credentials | None:
        if self._documents is None:
            self._documents = [(path, load_auth_file(path)) for path in self._files.paths if self._present(path)]
        names = sorted(HUB_NAMES) if registry in HUB_NAMES else [registry]
        for path, document in self._documents:
            found = self._in_helpers(document, names) or _in_auths(path, document, names, repository)
            found = found or self._in_store(document, names)
            if found:
                trace.tell("credentials for %s: by auth file %s", registry, path)
                return found
        return None

    def _present(self, path: Path) -> bool:
        present = path.is_file()
        if self._files.required and not present:
            raise UsageError(f"auth file {shown(str(path))} does not exist")
        return present

    def _in_helpers(self, document: Mapping[str, object], names: Sequence[str]) -> Credentials | None:
        helpers = document.get("credHelpers")
        if not isinstance(helpers, dict):
            return None
        for name in names:
            if isinstance(program := helpers.get(name), str) and program:
                return self._ask(program, (name,))
        return None

    def _in_store(self, document: Mapping[str, object], names: Sequence[str]) -> Credentials | None:
        program = document.get("credsStore")
        if not isinstance(program, str) or not program:
            return None
        # docker login keeps Docker Hub's under this URL.
        servers = ("https://index.docker.io/v1/", *names) if "docker.io" in names else tuple(names)
        return self._ask(program, servers)

    def _ask(self, program: str, servers: Sequence[str]) -> Credentials | None:
        for server in servers:
            key = (program, server)
            if key in self._failed:
                raise self._failed[key]
            if key not in self._asked:
                # Few have a helper, and starting a program takes much to import.
                from transship.pipeline.registry import helper  # noqa: PLC0415

                try:
                    answer = helper.ask(program, server, self._files.environ)
                except UsageError as error:
                    self._failed[key] = error
                    raise
                self._asked[key] = _from_helper(*answer) if answer else None
            if self._asked[key]:
                return self._asked[key]
        return None


def _from_helper(username: str, secret: str) -> Credentials:
    if username == "<token>":
        return Credentials("", identity_token=secret)
    return Credentials(username, secret)


def load_auth_file(path: Path) -> dict[str, object]:
    """Return the document of an auth file; the old ``.dockercfg`` in the form of the others.

    Raises:
        UsageError: it cannot be read, or is no JSON object of at most 4 MiB.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_FILE + 1)
        document = json.loads(raw) if raw.strip() else {}
    except OSError as error:
        raise UsageError(f"cannot read auth file {shown(str(path))}: {error.strerror}") from error
    except (ValueError, RecursionError):
        # Not chained: the text of a JSON error holds what it was parsing.
        raise UsageError(f"auth file {shown(str(path))} is not JSON") from None
    if not isinstance(document, dict) or len(raw) > _MAX_FILE:
        raise UsageError(f"auth file {shown(str(path))} is not a JSON object of at most {_MAX_FILE} bytes")
    return {"auths": document} if path.name == ".dockercfg" else document


def _in_auths(path: Path, document: Mapping[str, object], names: Sequence[str], repository: str) -> Credentials | None:
    auths = document.get("auths")
    if not isinstance(auths, dict):
        return None
    for key in _keys(auths, names, repository):
        entry = auths[key]
        if isinstance(entry, dict) and (found := _decode(entry, f"auth file {shown(str(path))}, {shown(key)!r}")):
            return found
    return None


def _keys(auths: Mapping[str, object], names: Sequence[str], repository: str) -> list[str]:
    """Return the keys that serve the repository: the longest path first, then URL-style ones."""
    parts = repository.split("/") if repository else []
    prefixes = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    exact = [f"{name}/{prefix}" for prefix in prefixes for name in names] + list(names)
    urls = [key for key in auths if key not in exact and _host(key) in names and ("://" in key or "/v" in key)]
    return [key for key in exact if key in auths] + urls


def _host(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _decode(entry: Mapping[str, object], where: str) -> Credentials | None:
    token = entry.get("identitytoken")
    identity = token if isinstance(token, str) else ""
    encoded = entry.get("auth")
    if not isinstance(encoded, str) or not encoded:
        return Credentials("", identity_token=identity) if identity else None
    try:
        import base64  # noqa: PLC0415 - few registries have credentials

        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        raise UsageError(f"{where}: auth is not base64 of user:password") from None
    if not colon:
        raise UsageError(f"{where}: auth is not base64 of user:password")
    return Credentials(username, password.strip("\0"), identity)
