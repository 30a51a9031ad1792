"""Which blobs each image of a bundle needs, by the manifests in it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.views import Index, Manifest, parse
from transship.pipeline.transports.bundle_file import BundledImage, BundleFile
from transship.pipeline.transports.layout import Root
from transship.pipeline.tree import MAX_NESTING, named_blobs

Read = Callable[[Digest, int], bytes]
"""Returns the bytes of a blob by its digest and size, checked; raises `ContentError` where they are not that."""

MAX_NAMED: Final = 4_000_000
"""Blobs that all images name, each time: a small bundle can have many of one large manifest."""
_BYTES_A_NAME: Final = 100
"""Of a manifest that is parsed, again where it was not kept: it costs as much as so many of what it names."""
_MOST_BYTES: Final = MAX_DOCUMENT + (2 << 20)
"""Of the manifests that are kept, one of the largest and many as they are."""


class Trees:
    """What hangs together in one bundle; the last manifests are kept, and of each what its entry in an index says."""

    def __init__(self, said: BundleFile, read: Read, where: str = "") -> None:
        """Take what bundle.json says, and what reads a manifest; ``where`` begins messages."""
        self.said = said
        self._read = read
        self._where = where
        self.sizes = {blob.digest: blob.size for blob in said.blobs}
        self.left = {blob.digest: blob.size for blob in said.base.blobs} if said.base else {}
        """The blobs that the base is to have brought."""
        self._roots: dict[Digest, Root | None] = {}
        self._views: OrderedDict[Digest, Manifest] = OrderedDict()
        self._bytes = 0
        self._named = 0

    def view(self, digest: Digest) -> Manifest | None:
        """Return the manifest of a digest; None where it cannot be read."""
        view = self._views.get(digest)
        if view is not None:
            self._views.move_to_end(digest)
        elif self._roots.get(digest, digest) is not None:
            self._roots[digest] = None
            if self.sizes.get(digest, MAX_DOCUMENT + 1) <= MAX_DOCUMENT:
                self._named += self.sizes[digest] // _BYTES_A_NAME
                with suppress(ContentError):
                    view = parse(self._read(digest, self.sizes[digest]), "", f"manifest {digest}")
                    self._roots[digest] = Root.of(view, "")
                    self._keep(view)
        return view

    def root(self, digest: Digest, name: str) -> Root | None:
        """Return the entry of a manifest in an index that names it so; None where it cannot be read."""
        if digest not in self._roots:
            self.view(digest)
        found = self._roots[digest]
        return found._replace(name=name) if found else None

    def manifests(self, below: Iterable[Digest]) -> Iterator[Manifest]:
        """Yield those of ``below`` that were found to be manifests."""
        for digest in below:
            if self._roots.get(digest) is not None and (view := self.view(digest)) is not None:
                yield view

    def _keep(self, view: Manifest) -> None:
        self._views[view.digest] = view
        self._bytes += len(view.raw)
        while self._bytes > _MOST_BYTES and len(self._views) > 1:
            self._bytes -= len(self._views.popitem(last=False)[1].raw)

    def below(self, image: BundledImage) -> dict[Digest, int]:
        """Return digest and size of each manifest and blob that an image needs, what hangs on it too.

        An instance that an index names and the bundle has not is no part of it: the index may be sparse.

        Raises:
            ContentError: its manifests go too deep, or all images together have named more than is believed.
        """
        found: dict[Digest, int] = {}
        self._walk(image.digest, image.size, found, 0)
        for one in image.referrers:
            self._walk(one.manifest.digest, one.manifest.size, found, 0)
        return found

    def _walk(self, digest: Digest, size: int, found: dict[Digest, int], depth: int) -> None:
        if depth > MAX_NESTING:
            raise ContentError(f"{self._where}index {digest}: nested deeper than {MAX_NESTING}")
        if digest in found:
            return
        found[digest] = size
        view = self.view(digest)
        if view is None:
            return
        self._named += 1 + len(view.manifests if isinstance(view, Index) else view.layers)
        if self._named > MAX_NAMED:
            raise ContentError(f"{self._where}its images name over {MAX_NAMED} blobs, each counted for each image")
        for blob in named_blobs(view, lambda _: 0):
            if not blob.is_elsewhere or blob.digest in self.sizes or blob.digest in self.left:
                found.setdefault(blob.digest, blob.size)
        for entry in view.manifests if isinstance(view, Index) else ():
            if entry.media_type in MANIFESTS and entry.digest in self.sizes:
                self._walk(entry.digest, entry.size, found, depth + 1)
