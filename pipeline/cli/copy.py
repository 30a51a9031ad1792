"""``transship copy``: one image, no run folder."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from transship.pipeline.cli.archive_target import pour, refuse_to_lose, takes_a_stream
from transship.pipeline.cli.connect import account_settings, connect
from transship.pipeline.cli.copy_wish import choice, keys, shape
from transship.pipeline.cli.opened import from_written, layout
from transship.pipeline.cli.opened import opened as opened_source
from transship.pipeline.cli.sync_arguments import refuse_contradictions
from transship.pipeline.cli.trust_options import Trust, opened_trust
from transship.pipeline.convert.shape import Shape, at_registry, bounded
from transship.pipeline.copy import SMALL_BLOB, Conversion, convert, fetch_blobs, write
from transship.pipeline.digest import Digest
from transship.pipeline.disk import at_disk
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.durable import scratch_folder
from transship.pipeline.errors import LONGEST_LINE, ContentError, UsageError, once_found, shown
from transship.pipeline.foreign import fetch_foreign
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.reference import SINGLE, DaemonReference, PathReference, Reference, parse_reference
from transship.pipeline.referrers import Found, Place, fetch, find, put, refuse_place, refuse_untied, sort_out
from transship.pipeline.registry.registries import Registries
from transship.pipeline.repacking import layers, refuse_losses
from transship.pipeline.resolve import fetch_below, fetch_manifest
from transship.pipeline.store import Store
from transship.pipeline.tar_sizes import TarSizes, tar_sizes
from transship.pipeline.transport import Sink, Source, Taking, WrongSizeError, size_of
from transship.pipeline.transports import Pushing, Writable, open_sink, writable
from transship.pipeline.tree import Selection, blobs, load, manifests
from transship.pipeline.trust.carrying import refuse_change
from transship.pipeline.verify import same_image, verify

if TYPE_CHECKING:
    from concurrent.futures import Executor

_AT_ONCE: Final = 4
"""Layers read, repacked or verified at the same time."""
_COPYING: Final = frozenset({"docker-archive", "oci-archive", "docker-daemon", "containers-storage", "docker"})
"""Destinations that copy bytes, and link none."""


def perform(options: argparse.Namespace) -> int:
    """Copy and verify one image; return 0."""
    refuse_contradictions(options)
    source, destination = parse_reference(options.source), writable(parse_reference(options.destination))
    if isinstance(destination, DaemonReference):
        destination = destination._replace(host=options.dest_daemon_host or os.environ.get("DOCKER_HOST", ""))
    near = _near(destination)
    from_settings, to_settings = account_settings(options, "src-"), account_settings(options, "dest-")
    with ExitStack() as opened:
        registries = opened.enter_context(closing(connect(options, from_settings)))
        # One registry asked in one way is one client: one login, one set of connections.
        same = from_settings == to_settings
        targets = registries if same else opened.enter_context(closing(connect(options, to_settings)))
        trust = opened.enter_context(opened_trust(options))
        scratch = opened.enter_context(scratch_folder(near))
        if takes_a_stream(destination):
            # Read back first, and sent on then: a pipe gives nothing back.
            archive = PathReference("docker-archive", str(scratch / "archive.tar"), destination.name)
            digest = _copy(source, archive, options, (registries, targets, trust), scratch)
            pour(Path(archive.path), destination.path)
        else:
            refuse_to_lose(destination, options.additional_tag)
            digest = _copy(source, destination, options, (registries, targets, trust), scratch)
    if options.digestfile:
        with once_found(), at_disk(Path(options.digestfile)):
            Path(options.digestfile).write_text(str(digest))
    if not options.quiet:
        print(f"{destination}: {digest}", file=sys.stderr)
    return 0


def _form(options: argparse.Namespace, destination: Writable) -> Shape:
    """Return the form that is asked for, as far as the ``destination`` can hold it."""
    transport, _ = _named(destination)
    form = bounded(shape(options, transport), transport)
    return at_registry(form, destination) if isinstance(destination, DockerReference) else form


def _near(destination: Writable) -> Path:
    """Return the folder for the scratch store: beside the destination, so that blobs are linked and not copied."""
    if not isinstance(destination, PathReference) or takes_a_stream(destination):
        # Images are large, and /tmp is memory on many machines.
        return Path(os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108
    near = Path(destination.path).resolve().parent
    if not near.is_dir():
        raise UsageError(f"{near}: no such folder", advice="make it first")
    return near


def _copy(
    reference: Reference,
    destination: Writable,
    options: argparse.Namespace,
    means: tuple[Registries, Registries, Trust],
    scratch: Path,
) -> Digest:
    transport, name = _named(destination)
    *registries, trust = means
    form, chosen, secrets = _form(options, destination), choice(options), keys(options)
    _refuse_asked(destination, options, several=chosen.all or chosen.listed is not None, single=form.single)
    # Of a destination that copies the bytes of the store, which is gone then, only its own must last.
    store = Store(scratch, durable=transport not in _COPYING)
    # An engine that is not there is found before anything is fetched.
    pushing = Pushing(registries[1], [reference])
    sink = _sink(destination, options.dest_shared_blob_dir, pushing)
    with ExitStack() as opened:
        trust.refuse_place(sink, destination, transport)
        source = opened.enter_context(closing(opened_source(reference, registries[0], options.src_shared_blob_dir)))
        root = fetch_manifest(source, store)
        selection = chosen.select(load(store, root))
        fetch_below(source, store, selection)
        opened.enter_context(once_found())
        # Before anything else of the image is read.
        signatures = trust.admitted(source, store, selection, (reference, root.digest), (destination, transport, sink))
        hanging = _hanging(source, store, selection) if options.referrers else Found()
        kept = selection.kept if selection.sparse else None
        known = sum(blob.size for blob in blobs(store, selection, partial(size_of, source)))
        at_once = options.image_parallel_copies or _AT_ONCE
        pool = _threads(store, known, opened, at_once, registries)
        if isinstance(destination, DockerReference):
            sink = open_sink(destination, pushing._replace(pool=pool))
        becoming = layers(store, selection, form)
        there = _taken(sink, becoming.staying, pool) if isinstance(sink, Taking) else frozenset()
        fetch_blobs(source, store, selection, pool, leave=becoming.passing | there)
        fetch(source, store, hanging.referrers, pool)
        fetch_foreign(store, selection, form, lambda: nullcontext(source), registries[0])
        converted = partial(convert, store, selection, form, pool, source, keys=secrets)
        if isinstance(destination, PathReference) and transport == "docker-archive":
            sizes = tar_sizes(source, store, selection, form, pool)
            made = _into_archive(store, destination, sizes, converted, options.additional_tag)
        else:
            made = converted()
            place = Place(transport, name, sink.accepts)
            hanging = sort_out(store, hanging, Selection(made.root, kept), made.changed, place)
            refuse_losses(form, hanging.lost)
            becomes = Selection(made.root, kept)
            refuse_change(signatures, [node.digest for node, _ in manifests(store, becomes)])
            with sink:
                put(store, hanging.referrers, sink, place)
                write(store, made.root, sink, name, leave=there, kept=kept, foreign=form.downloads)
                signed = trust.put(sink, (store, becomes, destination), signatures)
            trust.say("signed", signed)
        _tell(made, hanging, quiet=options.quiet)
        written = opened.enter_context(closing(from_written(destination, registries[1], options.dest_shared_blob_dir)))
        _check(written, (destination, sink), made.root, hanging, (store, pool, kept))
    return made.root.digest


def _check(
    written: Source,
    to: tuple[Writable, Sink],
    root: Descriptor,
    hanging: Found,
    means: "tuple[Store, Executor | None, tuple[Digest, ...] | None]",
) -> None:
    """Read back what was written; raises `ContentError` where it is not what it should be."""
    store, pool, kept = means
    destination, sink = to
    transport, _ = _named(destination)
    remade = transport in SINGLE
    holds = sink.has if transport == "docker" else None
    beside = [referrer.manifest for referrer in hanging.referrers]
    walk = verify(written, None if remade else root.digest, pool=pool, kept=kept, holds=holds, also=beside)
    if walk.findings:
        raise ContentError(f"{destination}: {walk.findings[0].why}")
    refuse_untied(written, hanging.referrers)
    if remade and not same_image(written.manifest(), load(store, root)):
        raise ContentError(f"{destination}: holds another image than was written")


def _tell(made: Conversion, hanging: Found, *, quiet: bool) -> None:
    for loss in made.losses:
        print(f"transship: lost in conversion: {shown(loss, LONGEST_LINE)}", file=sys.stderr)
    for one in () if quiet else made.crypted:
        whose = "with" if one.kind == "decrypt" else "for"
        print(f"transship: {one.kind}ed {one.layer} {whose} {shown(', '.join(one.keys))}", file=sys.stderr)
    for left in hanging.left:
        print(f"transship: left behind: {shown(str(left), LONGEST_LINE)}", file=sys.stderr)


def _refuse_asked(destination: Writable, options: argparse.Namespace, *, several: bool, single: bool) -> None:
    transport, name = _named(destination)
    if single and several:
        raise UsageError(f"{destination}: holds one platform", advice="leave out --all and --multi-arch")
    if options.additional_tag and transport != "docker-archive":
        raise UsageError(f"{destination}: has one name", advice="--additional-tag is for docker-archive:")
    if options.referrers:
        refuse_place(transport, name)


def _taken(sink: Taking, layers: Sequence[Descriptor], pool: "Executor | None") -> frozenset[Digest]:
    """Return which of the ``layers`` need not be fetched."""
    found = pool.map(sink.takes, layers) if pool else map(sink.takes, layers)
    return frozenset(layer.digest for layer, taken in zip(layers, found, strict=True) if taken)


def _hanging(source: Source, store: Store, selection: Selection) -> Found:
    """Find what hangs on the image; a registry is asked several things of each manifest."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(_AT_ONCE, "ask") as pool:
        return find(source, store, selection, pool)


def _named(destination: Writable) -> tuple[str, str]:
    """Return the transport, and the name of the image in its sink."""
    if isinstance(destination, DockerReference):
        return "docker", str(destination.digest or destination.tag)
    return destination.transport, destination.name


def _sink(destination: Writable, shared_blobs: str, pushing: Pushing) -> Sink:
    if not shared_blobs:
        whole = destination._replace(name="") if isinstance(destination, PathReference) else destination
        return open_sink(whole, pushing)
    from transship.pipeline.transports.oci import OciSink  # noqa: PLC0415

    return OciSink(Path(layout(destination).path), Path(shared_blobs))


def _into_archive(
    store: Store,
    destination: PathReference,
    sizes: TarSizes | None,
    converted: Callable[..., Conversion],
    names: Sequence[str],
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
        write(store, made.root, sink, destination.name, leave=sink.written, foreign=True)
        for name in names:
            sink.put_manifest(load(store, made.root), name)
    return made


def _threads(
    store: Store, size: int, opened: ExitStack, at_once: int, registries: Sequence[Registries]
) -> "Executor | None":
    """Return threads for the layers, ended with ``opened``; None for one of small ``size``, which is done before."""
    if size < SMALL_BLOB:
        return None
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    pool = ThreadPoolExecutor(at_once, "layer")

    def end(kind: type[BaseException] | None, *_: object) -> None:
        # After a failure or an interrupt nothing is begun any more, and what runs ends at its next piece.
        store.cancelled.set()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # Which a registry that says nothing would not send.
            for one in registries:
                one.stop()
        pool.shutdown(cancel_futures=True)

    opened.push(end)
    return pool
