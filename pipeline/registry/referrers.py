"""What a registry says hangs on a manifest, by its referrers API, the tag schema without one, and cosign's tags.

Sources: OCI distribution-spec, "Listing Referrers", "Referrers Tag Schema", "Pushing Manifests with Subject";
cosign's specifications, "Storage". What comes back is untrusted: who takes a manifest from a list checks it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, NotFoundError, TransportError
from transship.pipeline.manifest import views
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT, Object, dump
from transship.pipeline.manifest.media_types import OCI_INDEX
from transship.pipeline.manifest.referrer import (
    Referrer,
    cosign_tags,
    described,
    listed,
    referrer_list,
    schema_tag,
)
from transship.pipeline.manifest.views import Index, Manifest
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.client import IDENTITY, RegistryClient, Request, pull_scope

MAX_REFERRERS: Final = 10_000
"""Manifests that may hang on one; a list without an end is no list."""
_ACCEPT: Final = {**IDENTITY, "Accept": OCI_INDEX}
_NO_API: Final = frozenset({400, 404, 405, 406, 501})
_ROUNDS: Final = 5


def referrers(client: RegistryClient, repository: str, subject: Digest) -> list[Referrer]:
    """Return all that hangs on ``subject``, each once: what refers to it, then what cosign's tags lead to.

    Raises:
        ContentError: a list is malformed, or too long.
        TransportError: the registry failed; a next page elsewhere, seen before, or one too many.
    """
    found = {entry.digest: Referrer(subject, entry) for entry in subjected(client, repository, subject)}
    return [*found.values(), *_tagged(client, repository, subject)]


def subjected(client: RegistryClient, repository: str, subject: Digest) -> tuple[Descriptor, ...]:
    """Return what refers to ``subject``, by the API or else the tag schema; raises as `referrers`."""
    by_api = by_referrers_api(client, repository, subject)
    if by_api is not None:
        return by_api
    index = _schema_index(client, repository, subject)
    return _bounded(index.manifests, subject) if isinstance(index, Index) else ()


def by_referrers_api(client: RegistryClient, repository: str, subject: Digest) -> tuple[Descriptor, ...] | None:
    """Return what the API lists, all pages, None where the registry has none; raises as `referrers`."""
    answer = _first_page(client, repository, subject)
    if answer is None:
        return None
    found = [*_page(answer)]
    seen = {answer.url.target}
    while (target := client.next_page(answer, f"/v2/{repository}/", seen)) is not None:
        _bounded(found, subject)
        answer = client.ask(repository, pull_scope(repository), Request("GET", target, _ACCEPT, MAX_DOCUMENT))
        found += _page(answer)
        seen.add(answer.url.target)
    return _bounded(found, subject)


def leads_to(client: RegistryClient, repository: str, referrer: Referrer) -> bool:
    """Say whether the registry has ``referrer`` tied to its subject, now; raises as `referrers`."""
    if referrer.tag:
        with suppress(NotFoundError):
            return client.head_manifest(repository, referrer.tag).digest == referrer.manifest.digest
        return False
    return any(entry.digest == referrer.manifest.digest for entry in subjected(client, repository, referrer.subject))


def attach(client: RegistryClient, repository: str, scope: str, subject: Digest, manifest: Manifest) -> None:
    """See to it that the registry lists ``manifest``, which is there, as a referrer of ``subject``.

    Where it has no API for that, it is added to the index under the schema's tag. One thread of this process
    does so at a time; what another process adds meanwhile is looked for and added to.

    Raises:
        ContentError: under that tag is something else; it is left as it is. Or the list would be too long.
        TransportError: the registry refuses it, or others overwrite it each time.
    """
    if _first_page(client, repository, subject) is not None:
        return
    tag = schema_tag(subject)
    with client.whereabouts.alone(subject):
        for _ in range(_ROUNDS):
            index = _schema_index(client, repository, subject)
            if index is not None and not isinstance(index, Index):
                raise ContentError(
                    f"{client.registry}/{repository}:{tag} is no index of referrers; it is left as it is",
                    advice="delete that tag, or leave out --referrers",
                )
            if index and any(entry.digest == manifest.digest for entry in index.manifests):
                return
            _put(client, repository, scope, tag, _extended(index, manifest, tag))
    raise TransportError(
        f"{client.registry}/{repository}:{tag}: others overwrite this list of referrers each time",
        advice="run again when they are done",
    )


def _first_page(client: RegistryClient, repository: str, subject: Digest) -> Answer | None:
    """Return the API's first answer, None where the registry has no API, which is remembered."""
    if repository in client.without_referrers_api:
        return None
    target = f"referrers/{subject}"
    answer = client.ask(repository, pull_scope(repository), Request("GET", target, _ACCEPT, MAX_DOCUMENT))
    if answer.status in _NO_API or (answer.status == 200 and answer.is_html):
        client.without_referrers_api.add(repository)
        return None
    if answer.status != 200:
        raise answer.error()
    return answer


def _extended(index: Index | None, manifest: Manifest, tag: str) -> bytes:
    entries: list[Object] = [dict(entry.to_document()) for entry in index.manifests] if index else []
    document = {**(index.document if index else {}), **referrer_list([*entries, listed(manifest)])}
    raw = dump(document)
    if len(raw) > MAX_DOCUMENT:
        raise ContentError(f"{tag}: the list of referrers would pass {MAX_DOCUMENT} bytes, more than registries take")
    return raw


def _put(client: RegistryClient, repository: str, scope: str, tag: str, raw: bytes) -> None:
    headers = {**IDENTITY, "Content-Type": OCI_INDEX}
    answer = client.ask(repository, scope, Request("PUT", f"manifests/{tag}", headers, body=raw))
    if answer.status not in (200, 201, 202):
        raise answer.error()


def _page(answer: Answer) -> tuple[Descriptor, ...]:
    if answer.status != 200:
        raise answer.error()
    view = views.parse(answer.body, OCI_INDEX, str(answer))
    if not isinstance(view, Index):
        raise ContentError(f"{answer}: its list of referrers is no index")
    return view.manifests


def _bounded(found: Sequence[Descriptor], subject: Digest) -> tuple[Descriptor, ...]:
    if len(found) > MAX_REFERRERS:
        raise ContentError(f"over {MAX_REFERRERS} manifests refer to {subject}; gave up")
    return tuple(found)


def _schema_index(client: RegistryClient, repository: str, subject: Digest) -> Manifest | None:
    try:
        return client.get_manifest(repository, schema_tag(subject))
    except NotFoundError:
        return None


def _tagged(client: RegistryClient, repository: str, subject: Digest) -> list[Referrer]:
    found = []
    for tag in cosign_tags(subject):
        with suppress(NotFoundError):
            manifest = client.get_manifest(repository, tag)
            found.append(Referrer(subject, described(manifest), tag))
    return found
