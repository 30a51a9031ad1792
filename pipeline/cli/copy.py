"""``transship copy``: one image, no run folder."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

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
from transship.pipeline.reference import (
    SINGLE,
    DaemonReference,
    PathReference,
    Reference,
    StorageReference,
    parse_reference,
)
from transship.pipeline.registry.registries import Registries
from transship.pipeline.store import Store
from transship.pipeline.tar_sizes import TarSizes, tar_sizes
from transship.pipeline.transport import WrongSizeError
from transship.pipeline.transports import open_sink, open_source
from transship.pipeline.tree import Selection, blobs, load
from transship.pipeline.verify import same_image, verify

if TYPE_CHECKING:
    from concurrent.futures import Executor

_AT_ONCE: Final = 4
"""Layers read, repacked or verified at the same time."""
_COPYING: Final = frozenset({"docker-archive", "oci-archive", "docker-daemon", "containers-storage"})
"""Destinations that copy bytes, and link none."""
_Destination: TypeAlias = PathReference | DaemonReference | StorageReference


def perform(options: argparse.Namespace) -> int:
    """Copy and verify one image; return 0."""
    source, destination = parse_reference(options.source), parse_reference(options.destination)
    if isinstance(destination, DaemonReference):
        destination = destination._replace(host=options.dest_daemon_host or os.environ.get("DOCKER_HOST", ""))
    if not isinstance(destination, PathReference | DaemonReference | StorageReference):
        raise UsageError(f"{destination}: cannot be written yet", advice="write to oci:, dir: or an archive")
    registries = connect({}, source_settings(options, "src-"))
    near = _near(destination)
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


def _near(destination: _Destination) -> Path:
    """Return the folder for the scratch store: beside the destination, so that blobs are linked and not copied."""
    if not isinstance(destination, PathReference):
        # Images are large, and /tmp is memory on many machines.
        return Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108
    near = Path(destination.path).resolve().parent
    if not near.is_dir():
        raise UsageError(f"{near}: no such folder", advice="make it first")
    return near


def _copy(
    reference: Reference, destination: _Destination, options: argparse.Namespace, registries: Registries, scratch: Path
) -> Digest:
    shape = bounded(_shape(options), destination.transport)
    if shape.single and options.all:
        raise UsageError(f"{destination}: holds one platform", advice="leave out --all")
    # Of a destination that copies the bytes of the store, which is gone then, only its own must last.
    store = Store(scratch, durable=destination.transport not in _COPYING)
    # An engine that is not there is found before anything is fetched.
    sink = open_sink(destination._replace(name="") if isinstance(destination, PathReference) else destination)
    source = open_source(reference, registries)
    with ExitStack() as opened:
        opened.callback(source.close)
        selection = resolve(source, store, fetch_manifest(source, store), _platforms(options))
        through = passing(store, selection, shape)
        pool = _threads(store, selection, opened)
        fetch_blobs(source, store, selection, pool, leave=through)
        converted = partial(convert, store, selection, shape, pool, source)
        if isinstance(destination, PathReference) and destination.transport == "docker-archive":
            made = _into_archive(store, destination, tar_sizes(source, store, selection, shape, pool), converted)
        else:
            made = converted()
            with sink:
                write(store, made.root, sink, destination.name)
        for loss in made.losses:
            print(f"transship: lost in conversion: {loss}", file=sys.stderr)
        written = open_source(destination, registries)
        opened.callback(written.close)
        remade = destination.transport in SINGLE
        walk = verify(written, None if remade else made.root.digest, pool=pool)
        if walk.findings:
            raise ContentError(f"{destination}: {walk.findings[0].why}")
        if remade and not same_image(written.manifest(), load(store, made.root)):
            raise ContentError(f"{destination}: holds another image than was written")
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
