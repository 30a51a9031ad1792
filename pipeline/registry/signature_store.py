"""Signatures beside a registry: a lookaside store, as registries.d says; and the signature API that some have.

Sources: containers-registries.d(5) and containers-image's "signature access protocols".
"""

import base64
import binascii
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk, make_folder
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import ContentError, TransportError, UsageError, shown
from transship.pipeline.lookaside import Signatures
from transship.pipeline.manifest.document import load
from transship.pipeline.registry.client import RegistryClient, Request, pull_scope
from transship.pipeline.signature import (
    MAX_SIGNATURE,
    MAX_SIGNATURES,
    Signature,
    SimpleSignature,
    from_file,
    refuse_more,
    to_file,
)

Get = Callable[[str, int], "bytes | None"]
"""Returns what is at a URL, at most so many bytes of it; None where there is nothing."""
_VERSION, _TYPE = 2, "atomic"
_HTTP: Final = ("http", "https")


class Lookaside(NamedTuple):
    """The store of one repository: read by file or HTTP, written by file."""

    place: Signatures
    get: Get

    def read(self, manifest: Digest) -> list[Signature]:
        """Return the signatures of a manifest, in their order.

        Raises:
            ContentError: one is malformed, or there are more than `MAX_SIGNATURES` or `MAX_TOGETHER`.
            TransportError: the store cannot be read.
        """
        found: list[Signature] = []
        size = 0
        while len(found) <= MAX_SIGNATURES:
            url = _url(self.place.read, manifest, len(found) + 1)
            raw = self._got(url)
            if raw is None:
                return found
            size += len(raw)
            refuse_more(size, self.place.read)
            found.append(from_file(raw, url))
        raise ContentError(f"{self.place.read}: over {MAX_SIGNATURES} signatures of {manifest}")

    def write(self, manifest: Digest, signatures: Sequence[Signature]) -> None:
        """Make ``signatures`` those of a manifest; idempotent.

        Raises:
            UsageError: the store is written by HTTP.
            TransportError: it cannot be written.
        """
        folder = self._folder(manifest)
        with at_disk(folder):
            make_folder(folder)
            for number, signature in enumerate(signatures, 1):
                write_durably(folder / f"signature-{number}", to_file(signature), mode=0o644)
        self._remove(folder, len(signatures) + 1)

    def refuse_unwritable(self) -> None:
        """Raise `UsageError` where the store is written by HTTP, which nobody can."""
        if urlsplit(self.place.write).scheme in _HTTP:
            raise UsageError(
                f"signatures cannot be written to {shown(self.place.write)}",
                advice="name a file:/// store as lookaside-staging in registries.d",
            )

    def delete(self, manifest: Digest) -> None:
        """Remove all signatures of a manifest; idempotent; raises as `write`."""
        folder = self._folder(manifest)
        self._remove(folder, 1)
        with at_disk(folder):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _got(self, url: str) -> bytes | None:
        if urlsplit(url).scheme in _HTTP:
            return self.get(url, MAX_SIGNATURE + 1)
        path = _path(url)
        with at_disk(path):
            try:
                with path.open("rb") as stream:
                    return stream.read(MAX_SIGNATURE + 1)
            except FileNotFoundError:
                return None

    def _folder(self, manifest: Digest) -> Path:
        self.refuse_unwritable()
        return _path(_url(self.place.write, manifest, 1)).parent

    def _remove(self, folder: Path, number: int) -> None:
        # Readers stop at the first that is missing, so what comes after a gap is none.
        with at_disk(folder):
            while (path := folder / f"signature-{number}").exists():
                path.unlink()
                number += 1


def read_api(client: RegistryClient, repository: str, manifest: Digest) -> list[Signature]:
    """Return the OpenPGP signatures that a registry with the signature API has of a manifest.

    Raises:
        ContentError: the answer is malformed, or there are more than `MAX_SIGNATURES`.
        TransportError: the registry failed.
    """
    return [SimpleSignature(raw) for _, raw in _listed(client, repository, manifest)]


def write_api(client: RegistryClient, repository: str, manifest: Digest, signatures: Sequence[Signature]) -> None:
    """Add signatures to those that a registry with the signature API has; idempotent.

    Raises:
        TransportError: one is no OpenPGP signature; the registry failed.
    """
    import secrets  # noqa: PLC0415 - takes long to load

    there = {raw for _, raw in _listed(client, repository, manifest)}
    for signature in signatures:
        if not isinstance(signature, SimpleSignature):
            raise TransportError(f"{client.registry}: its signature API takes OpenPGP signatures alone")
        if signature.raw in there:
            continue
        name = f"{manifest}@{secrets.token_hex(16)}"
        content = base64.b64encode(signature.raw).decode()
        body = json.dumps({"schemaVersion": _VERSION, "name": name, "type": _TYPE, "content": content}).encode()
        asked = Request("PUT", client.url(_api(repository, manifest)), body=body, length=len(body))
        answer = client.ask(repository, f"{pull_scope(repository)},push", asked)
        if answer.status != 201:
            raise answer.error()


def _listed(client: RegistryClient, repository: str, manifest: Digest) -> list[tuple[str, bytes]]:
    limit = 2 * MAX_SIGNATURE
    answer = client.ask(
        repository, pull_scope(repository), Request("GET", client.url(_api(repository, manifest)), limit=limit)
    )
    if answer.status != 200:
        raise answer.error()
    listed = load(answer.body, str(answer), limit).get("signatures")
    if listed is None:
        return []
    if not isinstance(listed, list) or len(listed) > MAX_SIGNATURES:
        raise ContentError(f"{answer}: signatures are no list, or over {MAX_SIGNATURES}")
    found = []
    for one in listed:
        if not isinstance(one, dict) or not isinstance(content := one.get("content"), str):
            raise ContentError(f"{answer}: a signature without content")
        if one.get("schemaVersion") != _VERSION or one.get("type") != _TYPE:
            continue
        try:
            found.append((str(one.get("name")), base64.b64decode(content, validate=True)))
        except binascii.Error as error:
            raise ContentError(f"{answer}: content is not base64: {error}") from error
    return found


def _api(repository: str, manifest: Digest) -> str:
    return f"/extensions/v2/{repository}/signatures/{manifest}"


def _url(base: str, manifest: Digest, number: int) -> str:
    return f"{base}@{manifest.algorithm}={manifest.hex}/signature-{number}"


def _path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.scheme != "file" or not parts.path.startswith("/"):
        advice = "expected file:///, http:// or https://"
        raise UsageError(f"signatures: {shown(url)} is no place for them", advice=advice)
    return Path(os.path.normpath(unquote(parts.path)))
