"""Which blobs each image of a bundle needs, by the manifests in it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.document import MAX_DOCUMENT
from transship.pipeline.manifest.media_types import MANIFESTS
from transship.pipeline.manifest.views import Index, Manifest, parse
from transship.pipeline.transports.bundle_file import BundledImage, BundleFile
from transship.pipeline.tree import MAX_NESTING, named_blobs

Read = Callable[[Digest, int], bytes]
"""Returns the bytes of a blob by its digest and size, checked; raises `ContentError` where they are not that."""


@dataclass(slots=True)
class Trees:
    """What hangs together in one bundle; each manifest is read once."""

    said: BundleFile
    read: Read
    sizes: dict[Digest, int] = field(default_factory=dict)
    left: dict[Digest, int] = field(default_factory=dict)
    """The blobs that the base is to have brought."""
    views: dict[Digest, Manifest | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take the sizes of all blobs."""
        self.sizes = {blob.digest: blob.size for blob in self.said.blobs}
        self.left = {blob.digest: blob.size for blob in self.said.base.blobs} if self.said.base else {}

    def view(self, digest: Digest) -> Manifest | None:
        """Return the manifest of a digest; None where it cannot be read."""
        if digest not in self.views:
            self.views[digest] = None
            if self.sizes.get(digest, MAX_DOCUMENT + 1) <= MAX_DOCUMENT:
                with suppress(ContentError):
                    self.views[digest] = parse(self.read(digest, self.sizes[digest]), "", f"manifest {digest}")
        return self.views[digest]

    def below(self, image: BundledImage) -> dict[Digest, int]:
        """Return digest and size of each manifest and blob that an image needs, what hangs on it too.

        An instance that an index names and the bundle has not is no part of it: the index may be sparse.

        Raises:
            ContentError: its manifests go too deep.
        """
        found: dict[Digest, int] = {}
        self._walk(image.digest, image.size, found, 0)
        for one in image.referrers:
            self._walk(one.manifest.digest, one.manifest.size, found, 0)
        return found

    def _walk(self, digest: Digest, size: int, found: dict[Digest, int], depth: int) -> None:
        if depth > MAX_NESTING:
            raise ContentError(f"index {digest}: nested deeper than {MAX_NESTING}")
        if digest in found:
            return
        found[digest] = size
        view = self.view(digest)
        if view is None:
            return
        for blob in named_blobs(view, lambda _: 0):
            if not blob.is_elsewhere or blob.digest in self.sizes or blob.digest in self.left:
                found.setdefault(blob.digest, blob.size)
        for entry in view.manifests if isinstance(view, Index) else ():
            if entry.media_type in MANIFESTS and entry.digest in self.sizes:
                self._walk(entry.digest, entry.size, found, depth + 1)
