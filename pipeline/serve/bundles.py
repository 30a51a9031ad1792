"""Bundles among what is served: what one left out, for its base had brought it, another file must have."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from transship.pipeline.digest import Digest, check
from transship.pipeline.errors import ContentError, UsageError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import dump_lines
from transship.pipeline.serve.contents import Contents
from transship.pipeline.serve.files import Files
from transship.pipeline.transports.bundle import refuse_other_images
from transship.pipeline.transports.bundle_file import BUNDLE, MAX_BUNDLE, Base, BundleFile
from transship.pipeline.transports.layout import INDEX, blob_name


class About(NamedTuple):
    """What a bundle says of itself, as far as it matters here: what it is known by, and what base it was made on."""

    where: str
    known: frozenset[Digest]
    base: Base | None

    @property
    def ties(self) -> tuple[Digest | None, frozenset[Digest]]:
        """Return the digest of its base, and those by which it may be one."""
        return self.base.digest if self.base else None, self.known


def about(
    files: Files, where: str, index: bytes, entries: Iterable[Descriptor], signed: Digest | None = None
) -> About | None:
    """Return what a layout says of itself as a bundle, None where it is none.

    ``index`` is its index.json, which has ``entries``. ``signed`` is the digest of the bundle.json that somebody has
    signed, where that was asked for.

    Raises:
        ContentError: its bundle.json is malformed or not what the index says, or the archive not as long as it says;
            or not what was signed.
        TransportError: it cannot be read.
    """
    extent = files.find(BUNDLE)
    raw = extent.read(MAX_BUNDLE) if extent else b""
    if signed is not None and Digest.of(raw) != signed:
        raise ContentError(f"{where} {BUNDLE}: not the one that its signed checksums name", advice="do not use it")
    if signed is None and b'"bundle"' not in raw:
        # A layout may have a file of this name that has nothing to do with this.
        return None
    said = BundleFile.read(raw, where)
    if signed is not None:
        _refuse_other_names(files, where, index, said)
    files.refuse_cut(said, len(raw))
    named: dict[str, dict[Digest, None]] = {}
    for entry in entries:
        named.setdefault(entry.name, {})[entry.digest] = None
    refuse_other_images(said, named, where)
    # A base is named by its bundle.json or its lock.
    known = {Digest.of(raw), *([Digest.of(dump_lines(said.lock))] if said.lock else [])}
    return About(where, frozenset(known), said.base)


def _refuse_other_names(files: Files, where: str, index: bytes, said: BundleFile) -> None:
    """Raise `ContentError` where names would be served that do not follow from what ``said``, which was signed.

    Manifests and blobs go by their digests: who asks for one sees what he gets.
    """
    from transship.pipeline.bundle.trees import Trees  # noqa: PLC0415 - few ask for signatures
    from transship.pipeline.bundle.verify import index_of  # noqa: PLC0415

    def read(digest: Digest, size: int) -> bytes:
        extent = files.find(blob_name(digest))
        raw = extent.read(size) if extent else b""
        check(raw, digest, f"{where} manifest {digest}")
        return raw

    trees = Trees(said, read)
    if index != index_of(said, trees) or any(trees.view(image.digest) is None for image in said.images):
        raise ContentError(
            f"{where}: its {INDEX} or a manifest is not what was signed", advice="transship bundle verify says more"
        )


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
