"""Bundles among what is served: what one left out, for its base had brought it, another file must have."""

from collections.abc import Sequence
from typing import NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.manifest.document import dump_lines
from transship.pipeline.serve.contents import Contents
from transship.pipeline.serve.files import Files
from transship.pipeline.transports.bundle_file import BUNDLE, MAX_BUNDLE, Base, BundleFile


class About(NamedTuple):
    """What a bundle says of itself, as far as it matters here: what it is known by, and what base it was made on."""

    where: str
    known: frozenset[Digest]
    base: Base | None

    @property
    def ties(self) -> tuple[Digest | None, frozenset[Digest]]:
        """Return the digest of its base, and those by which it may be one."""
        return self.base.digest if self.base else None, self.known


def about(files: Files, where: str) -> About | None:
    """Return what a layout says of itself as a bundle, None where it is none.

    Raises:
        ContentError: its bundle.json is malformed, or the archive not as long as that says.
        TransportError: it cannot be read.
    """
    extent = files.find(BUNDLE)
    raw = extent.read(MAX_BUNDLE) if extent else b""
    if b'"bundle"' not in raw:
        # A layout may have a file of this name that has nothing to do with this.
        return None
    said = BundleFile.read(raw, where)
    files.refuse_cut(said, len(raw))
    # A base is named by its bundle.json or its lock.
    known = {Digest.of(raw), *([Digest.of(dump_lines(said.lock))] if said.lock else [])}
    return About(where, frozenset(known), said.base)


def refuse_half(contents: Contents, bundles: Sequence[About]) -> None:
    """Raise `UsageError` where a bundle left out what no file brings: a puller would get half an image."""
    for bundle in bundles:
        left = bundle.base.blobs if bundle.base else ()
        missing = []
        for blob in left:
            extent = contents.blob(blob.digest)
            if extent is None or extent.length != blob.size:
                missing.append(blob)
        if bundle.base and missing:
            size = sum(blob.size for blob in missing)
            raise UsageError(
                f"{shown(bundle.where, 400)}: {len(missing)} of {len(left)} blobs that its base brought are not there, "
                f"{size} bytes",
                advice=f"name the file of its base too, {bundle.base.digest}",
            )
