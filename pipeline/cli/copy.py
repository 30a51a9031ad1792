"""``transship copy``: one image, no run folder."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transship.pipeline.cli.connect import connect, source_settings, wanted_platform
from transship.pipeline.compression import Compression
from transship.pipeline.convert.shape import Shape, bounded
from transship.pipeline.copy import (
    SMALL_BLOB,
    Conversion,
    Platforms,
    convert,
    fetch_blobs,
    fetch_manifest,
    passing,
    resolve,
    write,
)
from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.reference import PathReference, Reference, parse_reference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.store import Store
from transship.pipeline.tar_sizes import TarSizes, tar_sizes
from transship.pipeline.transport import WrongSizeError
from transship.pipeline.transports import open_sink, open_source
from transship.pipeline.tree import Selection, blobs
from transship.pipeline.verify import verify

if TYPE_CHECKING:
    from concurrent.futures import Executor

_AT_ONCE: Final = 4
"""Layers read, repacked or verified at the same time."""
_ARCHIVES: Final = frozenset({"docker-archive", "oci-archive"})


def perform(options: argparse.Namespace) -> int:
    """Copy and verify one image; return 0."""
    source, destination = parse_reference(options.source), parse_reference(options.destination)
    if not isinstance(destination, PathReference):
        raise UsageError(f"{destination}: cannot be written yet", advice="write to oci:, dir: or an archive")
    registries = connect({}, source_settings(options, "src-"))
    # Beside the destination, so that blobs are linked and not copied.
    near = Path(destination.path).resolve().parent
    if not near.is_dir():
        raise UsageError(f"{near}: no such folder", advice="make it first")
    with at_disk(near):
        scratch = Path(tempfile.mkdtemp(prefix=".transship-", dir=near))
    try:
        digest = _copy(source, destination, options, registries, scratch)
    finally:
        registries.close()
        shutil.rmtree(scratch, ignore_errors=True)
    if options.digestfile:
        with at_disk(Path(options.digestfile)):
            Path(options.digestfile).write_text(str(digest))
    if not options.quiet:
        print(f"{destination}: {digest}", file=sys.stderr)
    return 0


def _copy(
    reference: Reference, destination: PathReference, options: argparse.Namespace, registries: Registries, scratch: Path
) -> Digest:
    shape = bounded(_shape(options), destination.transport)
    if shape.single and options.all:
        raise UsageError(f"{destination}: holds one platform", advice="leave out --all")
    # An archive copies the bytes of the store, which is gone then: only the archive's must last.
    store = Store(scratch, durable=destination.transport not in _ARCHIVES)
    source = open_source(reference, registries)
    with ExitStack() as opened:
        opened.callback(source.close)
        selection = resolve(source, store, fetch_manifest(source, store), _platforms(options))
        through = passing(store, selection, shape)
        pool = _threads(store, selection, opened)
        fetch_blobs(source, store, selection, pool, leave=through)
        converted = partial(convert, store, selection, shape, pool, source)
        if destination.transport == "docker-archive":
            made = _into_archive(store, destination, tar_sizes(source, store, selection, shape, pool), converted)
        else:
            made = converted()
            with open_sink(PathReference(destination.transport, destination.path, "", None)) as sink:
                write(store, made.root, sink, destination.name)
        for loss in made.losses:
            print(f"transship: lost in conversion: {loss}", file=sys.stderr)
        written = open_source(destination, registries)
        opened.callback(written.close)
        walk = verify(written, None if destination.transport == "docker-archive" else made.root.digest, pool=pool)
    if walk.findings:
        raise ContentError(f"{destination}: {walk.findings[0].why}")
    return made.root.digest


def _into_archive(
    store: Store, destination: PathReference, sizes: TarSizes | None, converted: Callable[..., Conversion]
) -> Conversion:
    """Convert and write; where the ``sizes`` of the layers are known they go straight into the archive."""
    from transship.pipeline.transports.docker_archive import DockerArchiveSink  # noqa: PLC0415

    with DockerArchiveSink(Path(destination.path)) as sink:
        made = None
        if sizes:
            try:
                made = converted(fill=sink.begin(sizes.config, sizes.layers))
            except WrongSizeError:
                sink.drop()
        made = made or converted()
        write(store, made.root, sink, destination.name, leave=sink.written)
    return made


def _threads(store: Store, selection: Selection, opened: ExitStack) -> "Executor | None":
    """Return threads for the layers, ended with ``opened``; None for a small image, which is done before they are."""
    if sum(blob.size for blob in blobs(store, selection)) < SMALL_BLOB:
        return None
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    pool = ThreadPoolExecutor(_AT_ONCE, "layer")
    # After a failure or an interrupt nothing is begun any more, and what runs ends at its next piece.
    opened.callback(pool.shutdown, cancel_futures=True)
    opened.callback(store.cancelled.set)
    return pool


def _platforms(options: argparse.Namespace) -> Platforms:
    if options.all and options.platform:
        raise UsageError("copy: --all and --platform exclude each other", advice="leave one out")
    return "all" if options.all else (options.platform or str(wanted_platform(options)))


def _shape(options: argparse.Namespace) -> Shape:
    if options.dest_decompress and options.dest_compress_format:
        raise UsageError("copy: --dest-decompress and --dest-compress-format exclude each other", advice="choose one")
    layers = Compression(options.dest_compress_format) if options.dest_compress_format else None
    if options.dest_decompress:
        layers = Compression.NONE
    manifests = {"oci": "oci", "v2s2": "docker"}.get(options.format, "keep")
    return Shape(manifests, options.config, layers, options.dest_compress_level)  # type: ignore[arg-type]
