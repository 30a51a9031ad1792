"""Deleting an image of an OCI layout: its entry, then the blobs that no other image needs.

Under the layout's lock from reading the index to removing the last blob. Killed in between, the
layout has blobs that nothing names, and no image that lacks one.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from transship.pipeline.digest import ALGORITHMS, Digest, check
from transship.pipeline.errors import NotFoundError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.views import Image, Index, parse
from transship.pipeline.transports.files import read_regular
from transship.pipeline.transports.index_file import index_file
from transship.pipeline.transports.layout import blob_name
from transship.pipeline.transports.oci import refuse_links


def delete_image(path: Path, name: str, position: int | None, *, shares: bool = False) -> Digest:
    """Remove the image that ``name`` or ``position`` means from the layout at ``path``; return its digest.

    Where it ``shares`` its blobs with other layouts they all stay: nobody knows who needs them.

    An image that has other names keeps its blobs. A writer in another process that found a blob
    there and has not named its image yet may lose it: its own verification says so.

    Raises:
        NotFoundError: there is no such image, or no layout.
        ContentError: a manifest is damaged, so that nobody knows what it needs; all is as it was.
        ConflictError: its folders of blobs are links.
        TransportError: the disk refused.
    """

    def unneeded(gone: Descriptor, kept: Sequence[Descriptor]) -> list[Path]:
        if shares:
            return []
        left = set(_needed(path, gone, set()))
        seen: set[Digest] = set()
        for entry in kept:
            left.difference_update(_needed(path, entry, seen))
        return [path / blob_name(digest) for digest in sorted(left)]

    refuse_links(path / "blobs", *(path / "blobs" / name for name in ALGORITHMS))
    return index_file(path).remove(name, position, unneeded)


def _needed(path: Path, entry: Descriptor, seen: set[Digest]) -> Iterator[Digest]:
    """Yield what ``entry`` leads to, itself first; what is in ``seen`` leads to nothing new."""
    waiting = [entry]
    while waiting:
        node = waiting.pop()
        yield node.digest
        if node.media_type not in MANIFESTS or node.digest in seen:
            continue
        seen.add(node.digest)
        file = path / blob_name(node.digest)
        try:
            raw = read_regular(file, MAX_DOCUMENT)
        except NotFoundError:
            # An index may have platforms that were never copied.
            continue
        check(raw, node.digest, str(file))
        view = parse(raw, node.media_type, str(file))
        if isinstance(view, Index):
            waiting += view.manifests
        elif isinstance(view, Image):
            yield from (blob.digest for blob in view.blobs)
        else:
            yield from (layer.digest for layer in view.layers)
