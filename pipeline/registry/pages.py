"""Lists that come in pages. Source: OCI distribution-spec, "Listing Tags"; RFC 8288 for ``Link``.

A page is followed by another of the same origin and the same repository alone, and all of them end.
"""

import re
from collections.abc import Callable
from typing import Final, cast

from transship.pipeline.errors import ContentError, TransportError, shown
from transship.pipeline.manifest.document import load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.origin import Url

TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
MAX_PAGES: Final = 2000
MAX_TAGS: Final = 250_000
_MAX_BYTES: Final = 16 << 20
_MAX_LINK: Final = 8 << 10
_PAGE: Final = 1000
_KNOWN: Final = {"tags": "tags"}
_LINK: Final = r"<([^<>]*)>([^,]*)"
_NEXT: Final = r";\s*rel\s*=\s*\"?next\"?\s*(?:;|$)"


def all_tags(page: Callable[[str], Answer], base: Url) -> list[str]:
    """Return all tags, in the registry's order, each once; ``page`` asks for a target below ``base``.

    Raises:
        ContentError: a page is malformed, or holds what is no tag.
        TransportError: a next page elsewhere, seen before, or one too many; what ``page`` raises.
    """
    tags: dict[str, None] = {}
    seen: set[str] = set()
    size = 0
    target: str | None = f"tags/list?n={_PAGE}"
    while target is not None:
        answer = page(target)
        tags.update(dict.fromkeys(read_tags(answer)))
        size += len(answer.body)
        if len(tags) > MAX_TAGS or size > _MAX_BYTES:
            raise TransportError(f"{answer}: its tags do not end; gave up after {len(tags)}")
        seen.add(answer.url.target)
        target = next_page(answer, base, seen)
    return list(tags)


def read_tags(answer: Answer) -> list[str]:
    """Return the tags of one page; raises `ContentError` as `all_tags` does."""
    document = load(answer.body, str(answer))
    Fields(document, str(answer)).refuse_misspelt(_KNOWN)
    tags = document.get("tags")
    if tags is None:
        return []
    if not isinstance(tags, list):
        raise ContentError(f"{answer}: tags is no list")
    for number, tag in enumerate(tags):
        if not isinstance(tag, str) or not re.fullmatch(TAG, tag):
            raise ContentError(f"{answer}: tags[{number}] is no tag: {shown(str(tag), 80)!r}")
    return cast("list[str]", tags)


def next_page(answer: Answer, base: Url, seen: set[str]) -> str | None:
    """Return what to ask for next, below ``base``, None where ``answer`` is the last; ``seen`` are targets asked.

    Raises:
        TransportError: it is elsewhere, was seen, or there are too many.
    """
    header = answer.headers.get("Link", "")
    if len(header) > _MAX_LINK:
        raise TransportError(f"{answer}: answers a Link of {len(header)} characters, over the limit of {_MAX_LINK}")
    for link in re.finditer(_LINK, header):
        if not re.search(_NEXT, link[2], re.IGNORECASE):
            continue
        url = answer.url.join(link[1], "Link")
        if url.origin != base.origin or not url.target.startswith(base.target):
            raise TransportError(f"{answer}: its next page (Link) is elsewhere, at {url}; refused")
        if url.target in seen or len(seen) >= MAX_PAGES:
            raise TransportError(f"{answer}: its pages (Link) do not end; gave up after {len(seen)}")
        return url.target.removeprefix(base.target)
    return None
