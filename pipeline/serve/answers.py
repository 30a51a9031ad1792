"""What the registry answers, as values: status, headers and a body in memory or on disk.

Source: OCI distribution-spec, "Pull", "Content Discovery" with "Listing Referrers", and "Error Codes".
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlencode

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, TransportError, shown
from transship.pipeline.manifest.document import MAX_DOCUMENT, Object, dump
from transship.pipeline.manifest.media_types import OCI_INDEX
from transship.pipeline.manifest.referrer import artifact_type, listed, referrer_list
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.serve.contents import Contents, Extent

_ROUTE: Final = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<reference>[^/]+)")
_MAX_PAGE: Final = MAX_DOCUMENT - 1024
"""Bytes of descriptors in one answer: with what is around them no more than clients read of a manifest."""
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; ``body`` is bytes, or a range of a file that may be asked for in part."""

    status: int
    body: bytes | Extent = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """Bytes of the whole body."""
        return self.body.length if isinstance(self.body, Extent) else len(self.body)


def answer(contents: Contents, target: str) -> Answer:
    """Return what a GET of ``target`` gives; never raises for what a client or the disk did wrong."""
    path, _, query = target.partition("?")
    path = unquote(path, errors="replace")
    asked = parse_qs(query)
    if path in ("/v2", "/v2/"):
        return Answer(200, b"{}", {"Content-Type": _JSON})
    if path == "/v2/_catalog":
        return _page(path, "repositories", (name for name, tags in contents.names.items() if tags), asked)
    return _below(contents, path, asked)


def _below(contents: Contents, path: str, asked: Mapping[str, list[str]]) -> Answer:
    match = _ROUTE.fullmatch(path)
    if match is None or (match["kind"] == "tags" and match["reference"] != "list"):
        return refusal(404, "UNSUPPORTED", "no such endpoint")
    name, kind, reference = match["name"], match["kind"], match["reference"]
    tags = contents.names.get(name)
    if tags is None:
        return refusal(404, "NAME_UNKNOWN", f"repository {shown(name)!r} is not served here")
    if kind == "tags":
        return _page(path, "tags", tags, asked, {"name": name})
    try:
        if kind == "referrers":
            return _referrers(contents, path, reference, asked)
        return _manifest(contents, name, reference) if kind == "manifests" else _blob(contents, reference)
    except (ContentError, TransportError):
        # The message may hold paths of the serving machine.
        return refusal(500, "UNKNOWN", f"{shown(reference)} is damaged or unreadable on disk")


def refusal(status: int, code: str, message: str) -> Answer:
    """Return an error as the distribution-spec words it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, body, {"Content-Type": _JSON})


def _manifest(contents: Contents, name: str, reference: str) -> Answer:
    if ":" in reference:
        digest = _digest(reference)
        if digest is None:
            return refusal(400, "DIGEST_INVALID", f"not a digest: {shown(reference)!r}")
    else:
        named = contents.names[name].get(reference)
        if named is None:
            return refusal(404, "MANIFEST_UNKNOWN", f"no tag {shown(reference)!r} in {name}")
        digest = named.digest
    manifest = contents.manifest(digest)
    if manifest is None:
        return refusal(404, "MANIFEST_UNKNOWN", f"no manifest {digest}")
    return Answer(200, manifest.raw, _headers(manifest, digest))


def _headers(manifest: Manifest, digest: Digest) -> dict[str, str]:
    return {"Content-Type": manifest.media_type, **_identity(digest)}


def _identity(digest: Digest) -> dict[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}


def _blob(contents: Contents, reference: str) -> Answer:
    digest = _digest(reference)
    if digest is None:
        return refusal(400, "DIGEST_INVALID", f"not a digest: {shown(reference)!r}")
    extent = contents.blob(digest)
    if extent is None:
        return refusal(404, "BLOB_UNKNOWN", f"no blob {digest}")
    return Answer(
        200, extent, {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **_identity(digest)}
    )


def _referrers(contents: Contents, path: str, reference: str, query: Mapping[str, list[str]]) -> Answer:
    """Return the index of what refers to a manifest, in the order of digests, in pages that clients accept."""
    subject = _digest(reference)
    if subject is None:
        return refusal(400, "DIGEST_INVALID", f"not a digest: {shown(reference)!r}")
    wanted, last = (query.get(key, [""])[0] for key in ("artifactType", "last"))
    headers = {"Content-Type": OCI_INDEX, **({"OCI-Filters-Applied": "artifactType"} if wanted else {})}
    entries: list[Object] = []
    size = 0
    for digest in sorted(contents.referrers(subject)):
        manifest = contents.manifest(digest) if str(digest) > last else None
        if manifest is None or (wanted and artifact_type(manifest) != wanted):
            continue
        entry = listed(manifest)
        size += len(dump(entry)) + 1
        if entries and size > _MAX_PAGE:
            more = urlencode({**({"artifactType": wanted} if wanted else {}), "last": str(entries[-1]["digest"])})
            headers["Link"] = f'<{quote(path)}?{more}>; rel="next"'
            break
        entries.append(entry)
    return Answer(200, dump(referrer_list(entries)), headers)


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except ContentError:
        return None


def _page(
    path: str,
    key: str,
    names: Iterable[str],
    query: Mapping[str, list[str]],
    extra: Mapping[str, str] | None = None,
) -> Answer:
    last = query.get("last", [""])[0]
    found = sorted(name for name in names if name > last)
    headers = {"Content-Type": _JSON}
    asked = query.get("n", [""])[0]
    if asked:
        if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
            return refusal(400, "PAGINATION_NUMBER_INVALID", f"n is not a number of entries: {shown(asked)!r}")
        count = int(asked)
        if 0 < count < len(found):
            headers["Link"] = f'<{quote(path)}?n={count}&last={quote(found[count - 1], safe="")}>; rel="next"'
        found = found[:count]
    return Answer(200, json.dumps({**(extra or {}), key: found}).encode(), headers)
