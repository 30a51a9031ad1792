"""Keeping and forgetting credentials in an auth file, or in the helper that it names.

Form: containers-auth.json(5), and Docker's config.json, whose keys for Docker Hub are URLs. Fields
that are not about credentials stay as they are. Writers take turns by a lock on the folder, and
the file is replaced at once: a reader sees the old or the new one.
"""

import base64
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple, cast

from transship.pipeline.disk import at_disk
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import ConflictError, UsageError, shown
from transship.pipeline.registry import helper
from transship.pipeline.registry.credentials import HUB_NAMES, load_auth_file

HUB_URL: Final = "https://index.docker.io/v1/"
_LOCK_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_UNLOCKABLE: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})


class AuthFile(NamedTuple):
    """An auth file to write; with ``docker`` in the form that Docker reads. ``environ`` is for helpers."""

    path: Path
    docker: bool
    environ: Mapping[str, str]

    def keep(self, key: str, username: str, password: str) -> str:
        """Keep credentials for ``key``, a registry or ``registry/namespace``; return where they are now.

        A helper that the file names for the registry, or for all, gets them; the file then has none.

        Raises:
            UsageError: the file is malformed; its helper fails or cannot keep a namespace.
            ConflictError: another process has held the folder's lock too long.
            TransportError: the disk refused; the file is as it was.
        """
        key = self._spelt(key)
        with self._changed() as document:
            auths = document["auths"] = _map(document, "auths")
            program = self._helper(document, key)
            if not program:
                secret = base64.b64encode(f"{username}:{password}".encode()).decode()
                auths[key] = {"auth": secret}
                return str(self.path)
            helper.keep(program, key, username, password, self.environ)
            # What stands here would be found first; Docker wants the key, empty.
            auths.pop(key, None)
            if document.get("credsStore") == program:
                auths[key] = {}
        return f"credential helper: {program}"

    def forget(self, key: str) -> bool:
        """Forget the credentials for ``key``; return whether there were any. Raises as `keep`."""
        key = self._spelt(key)
        with self._changed() as document:
            program = self._helper(document, key)
            found = bool(program) and helper.forget(program, key, self.environ)
            auths = _map(document, "auths")
            for stored in [stored for stored in auths if stored == key or _host_of_url(stored) == key]:
                found = bool(auths.pop(stored)) or found
        return found

    def forget_all(self) -> None:
        """Forget the credentials for every registry, also in helpers; which helpers to ask stays. Raises as `keep`."""
        with self._changed() as document:
            auths = _map(document, "auths")
            for key in sorted({*auths, *_map(document, "credHelpers")}):
                if program := self._helper(document, key):
                    helper.forget(program, key, self.environ)
            auths.clear()

    def _spelt(self, key: str) -> str:
        if self.docker and "/" in key:
            raise UsageError(f"{shown(key)}: Docker's form has no namespaces", advice="name the registry alone")
        return HUB_URL if self.docker and key == "docker.io" else key

    def _helper(self, document: Mapping[str, object], key: str) -> str:
        host = key.removeprefix("https://").partition("/")[0]
        helpers = document.get("credHelpers")
        for name in (key, host):
            program = helpers.get(name) if isinstance(helpers, dict) else None
            if isinstance(program, str) and program:
                if "/" in key and key != HUB_URL:
                    raise UsageError(f"{shown(key)}: a credential helper has no namespaces", advice="name the registry")
                return program
        program = document.get("credsStore")
        # A helper knows hosts; what is for a namespace stays in the file.
        return program if isinstance(program, str) and ("/" not in key or key == HUB_URL) else ""

    @contextmanager
    def _changed(self) -> Iterator[dict[str, object]]:
        """Yield the document to change; write it on a clean exit, for nobody else to read."""
        # Where it is a link, what it leads to is replaced.
        path = self.path.resolve()
        with at_disk(path):
            # Each with that mode: one that others may write to is one whose files they may replace.
            for folder in reversed([folder for folder in path.parents if not folder.exists()]):
                folder.mkdir(mode=0o700, exist_ok=True)
        with _locked(path.parent):
            document = load_auth_file(path) if path.exists() else {}
            before = json.dumps(document)
            yield document
            if json.dumps(document) != before:
                document = cast("dict[str, object]", document["auths"]) if path.name == ".dockercfg" else document
                text = json.dumps(document, indent="\t", ensure_ascii=False)
                write_durably(path, text.encode("utf-8", "surrogatepass"), mode=0o600)


def _map(document: Mapping[str, object], name: str) -> dict[str, object]:
    """Return the object of that name, one of no document where there is none."""
    found = document.get(name)
    if found is not None and not isinstance(found, dict):
        raise UsageError(f"auth file: {name} is not a JSON object", advice="correct it or move it away")
    return found or {}


def _host_of_url(key: str) -> str:
    """Return the registry that a key means where it is a URL, as Docker's are; else nothing."""
    if not key.startswith(("https://", "http://")):
        return ""
    host = key.partition("://")[2].partition("/")[0]
    return "docker.io" if host in HUB_NAMES else host


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with at_disk(folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            with at_disk(folder), suppress(BlockingIOError):
                _lock(handle)
                break
            if time.monotonic() > deadline:
                raise ConflictError(f"{folder}: another process has held its lock for {_LOCK_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Over NFS a folder cannot be locked; the file is still replaced at once.
        if error.errno not in _UNLOCKABLE:
            raise
