"""Which scopes of a policy an image falls under. Source: containers-policy.json(5), "SUPPORTED TRANSPORTS"."""

import os.path
from collections.abc import Iterator
from typing import Final

from transship.pipeline import lookaside
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, UsageError, shown
from transship.pipeline.reference import DaemonReference, PathReference, Reference, StorageReference

_BY_PATH: Final = ("dir", "oci", "oci-archive", "sif", "bundle")
_WHOLE: Final = ("docker-archive", "tarball")
"""Transports whose images have no scope but the whole transport."""


def transport_of(reference: Reference) -> str:
    """Return the name of the transport of ``reference``, as policies have it."""
    return str(reference).partition(":")[0]


def check_scope(transport: str, scope: str) -> None:
    """Raise `UsageError` where no image of ``transport`` could fall under ``scope``."""
    if transport in _WHOLE:
        raise UsageError(f"scope {shown(scope)!r}: {transport} has none but ''", advice="use ''")
    if transport in _BY_PATH:
        if not scope.startswith("/"):
            raise UsageError(f"scope {shown(scope)!r} is no absolute path", advice="begin it with /")
        if scope == "/":
            raise UsageError("scope '/' is as good as none", advice="use ''")
        if os.path.normpath(scope) != scope or scope.startswith("//"):
            raise UsageError(f"scope {shown(scope)!r} is spelt in more than one way", advice=_plain(scope))
    elif transport == "docker-daemon":
        try:
            Digest.parse(scope)
        except ContentError:
            return
        raise UsageError(f"scope {shown(scope)!r}: an image ID is no scope", advice="use ''")
    elif transport == "containers-storage":
        _check_storage(scope)


def _plain(scope: str) -> str:
    return f"write {shown('/' + os.path.normpath(scope).lstrip('/'))}"


def _check_storage(scope: str) -> None:
    store, bracket, _ = scope[1:].partition("]")
    driver, at, root = store.partition("@")
    path = root if at else driver
    if not scope.startswith("[") or not bracket or (at and not driver) or not path.startswith("/"):
        raise UsageError(f"scope {shown(scope)!r} is malformed", advice="expected [driver@/root]name or [/root]")


def scopes(reference: Reference, storage: tuple[str, str] = ("", "")) -> Iterator[str]:
    """Yield the scopes of an image, the most exact first, without the transport's own ''.

    ``storage`` is the driver and the root of the storage that a `StorageReference` is in.
    """
    if isinstance(reference, DockerReference):
        yield from lookaside.scopes(reference)
    elif isinstance(reference, DaemonReference):
        if reference.named is not None:
            yield from lookaside.scopes(reference.named)
    elif isinstance(reference, StorageReference):
        yield from _storage_scopes(reference, *storage)
    elif isinstance(reference, PathReference) and reference.transport in _BY_PATH:
        path = os.path.realpath(reference.path)
        while path.rstrip("/"):
            yield path
            path = os.path.dirname(path)


def _storage_scopes(reference: StorageReference, driver: str, root: str) -> Iterator[str]:
    store = f"[{driver}@{root}]"
    named = reference.named
    if named is not None:
        if reference.image_id:
            yield f"{store}{reference.name}@{reference.image_id}"
        yield f"{store}{reference.name}"
        if named.tag and named.digest:
            yield f"{store}{named.name}:{named.tag}"
        parts = named.name.split("/")
        yield from (f"{store}{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1))
    elif reference.image_id:
        yield f"{store}@{reference.image_id}"
    yield store
    yield f"[{root}]"
