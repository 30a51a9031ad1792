"""``transship layers``: the blobs of an image as files, in a folder ``layers-*`` made here. skopeo's old command."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from transship.pipeline.cli.connect import account_settings, connect, wanted_platform
from transship.pipeline.cli.opened import opened
from transship.pipeline.cli.trust_options import refuse_unwanted
from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, NotFoundError, UsageError, once_found
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.views import Image, Index, Manifest
from transship.pipeline.reference import parse_reference
from transship.pipeline.store import Store
from transship.pipeline.transport import Source
from transship.pipeline.transports.directory import DirectorySink


def perform(options: argparse.Namespace) -> int:
    """Write them and print nothing, but that the command is deprecated; return 0."""
    print("transship: layers is deprecated, say transship copy", file=sys.stderr)
    wanted = [_digest(text) for text in options.layers]
    reference = parse_reference(options.image)
    with (
        connect(options, account_settings(options, "")) as registries,
        closing(opened(reference, registries, options.shared_blob_dir)) as source,
    ):
        root = source.manifest()
        image = source.manifest(root.select(wanted_platform(options)).digest) if isinstance(root, Index) else root
        if not isinstance(image, Image):
            raise UsageError(f"{reference}: no image of this kind can be written blob by blob", advice="use copy")
        with once_found():
            refuse_unwanted(options, source, reference, (root, image))
            _write(source, root, _chosen(image, wanted))
    return 0


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text if text.startswith("sha256:") else f"sha256:{text}")
    except ContentError as error:
        raise UsageError(error.message, advice="expected sha256:<64 hex digits>") from error


def _chosen(image: Image, wanted: Sequence[Digest]) -> list[Descriptor]:
    image.refuse_large_config()
    blobs = {blob.digest: blob for blob in image.blobs}
    missing = [digest for digest in wanted if digest not in blobs]
    if missing:
        raise NotFoundError(f"image {image.digest} has no blob {missing[0]}")
    return [blobs[digest] for digest in wanted] if wanted else list(blobs.values())


def _write(source: Source, root: Manifest, blobs: Sequence[Descriptor]) -> None:
    here = Path.cwd()
    with at_disk(here):
        folder = Path(tempfile.mkdtemp(prefix="layers-", dir=here))
    try:
        with at_disk(here), tempfile.TemporaryDirectory(prefix=".transship-", dir=here) as scratch:
            store = Store(Path(scratch))
            with DirectorySink(folder) as sink:
                for blob in blobs:
                    store.ingest(blob, partial(source.blob, blob))
                    sink.put_blob(store.get(blob))
                sink.put_manifest(root, "")
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise
