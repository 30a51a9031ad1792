"""The transports: which Source and Sink a reference means. Each is imported when first asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import Error, UsageError
from transship.pipeline.reference import (
    READ_ONLY,
    DaemonReference,
    PathReference,
    Reference,
    StorageReference,
    TarballReference,
)
from transship.pipeline.transport import Sink, Source

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from transship.pipeline.registry.registries import Reach, Registries

# Imports stand in the functions: a command loads the one transport that it uses.
# ruff: noqa: PLC0415

_WRITABLE = "write to docker://, oci:, oci-archive:, docker-archive:, dir:, docker-daemon: or containers-storage:"

Writable: TypeAlias = PathReference | DockerReference | DaemonReference | StorageReference
"""References that images can be written to, all but the paths of a transport that is read alone."""


class Pushing(NamedTuple):
    """What writing to a registry takes: connections, where the images come from, threads for blobs if there are any."""

    registries: "Registries"
    sources: Sequence[Reference] = ()
    pool: "Executor | None" = None


def open_source(reference: Reference, registries: "Registries") -> Source:
    """Return the Source of ``reference``; the caller closes it.

    Raises:
        Error: as its Source's constructor does.
    """
    if isinstance(reference, DockerReference):
        return _from_registry(registries.to_read(reference), registries)
    if isinstance(reference, DaemonReference):
        from transship.pipeline.transports.docker_daemon import open_daemon

        return open_daemon(reference, reference.host or registries.docker_host)
    if isinstance(reference, StorageReference):
        from transship.pipeline.transports.containers_storage import open_storage

        return open_storage(reference)
    if isinstance(reference, PathReference):
        return _open_file(reference)
    from transship.pipeline.transports.tarball import open_tarball

    return open_tarball(reference.paths)


def open_written(reference: Reference, registries: "Registries") -> Source:
    """Return the Source that reads what `open_sink` wrote: never a mirror's copy; as `open_source` for the rest."""
    if isinstance(reference, DockerReference):
        return _from_registry([registries.at(reference)], registries)
    return open_source(reference, registries)


def _from_registry(places: "Sequence[Reach]", registries: "Registries") -> Source:
    if len(places) == 1:
        from transship.pipeline.transports.docker import DockerSource

        client, there = places[0]
        return DockerSource(client, there, lambda: registries.lookaside(there))
    from transship.pipeline.transports.mirrored import MirroredSource

    return MirroredSource(places, registries.lookaside)


def _open_file(reference: PathReference) -> Source:
    path = Path(reference.path)
    if reference.transport == "oci":
        from transship.pipeline.transports.oci import OciSource

        return OciSource(path, reference.name, reference.index)
    if reference.transport == "oci-archive":
        from transship.pipeline.transports.oci_archive import OciArchiveSource

        return OciArchiveSource(path, reference.name, reference.index)
    if reference.transport == "docker-archive":
        from transship.pipeline.transports.docker_archive import DockerArchiveSource

        return DockerArchiveSource(path, reference.name, reference.index)
    if reference.transport == "bundle":
        from transship.pipeline.transports.bundle import BundleSource

        return BundleSource(path, reference.name, reference.index)
    if reference.transport == "sif":
        from transship.pipeline.transports.sif import open_sif

        return open_sif(path)
    from transship.pipeline.transports.directory import DirectorySource

    return DirectorySource(path)


def open_sink(reference: Reference, pushing: Pushing | None = None) -> Sink:
    """Return the Sink of ``reference``; entering it begins the write. Names are given to `Sink.put_manifest`.

    An archive is replaced whole: the images for one file go through one Sink. ``pushing`` is for
    ``docker://`` alone.

    Raises:
        UsageError: images cannot be written to that transport.
        TransportError: the Docker Engine or Podman cannot be reached.
    """
    target = writable(reference)
    if isinstance(target, PathReference):
        return _file_sink(target)
    if isinstance(target, DaemonReference):
        from transship.pipeline.transports.docker_daemon import DaemonSink

        return DaemonSink(target, target.host or (pushing.registries.docker_host if pushing else ""))
    if isinstance(target, StorageReference):
        from transship.pipeline.transports.containers_storage import StorageSink

        return StorageSink(target)
    if pushing is None:
        raise _unwritable(target)
    from transship.pipeline.transports.docker_sink import DockerSink

    registries = pushing.registries
    named = [source for source in pushing.sources if isinstance(source, DockerReference)]
    sources = [place for source in named for place in _places(source, registries)]
    client, there = registries.at(target)
    return DockerSink(client, there, sources, pushing.pool, registries.lookaside(there))


def writable(reference: Reference) -> Writable:
    """Return ``reference``; raises `UsageError` where images can be read from its transport alone."""
    if isinstance(reference, TarballReference):
        raise _unwritable(reference)
    if isinstance(reference, PathReference) and reference.transport in READ_ONLY:
        raise _unwritable(reference)
    return reference


def _unwritable(reference: Reference) -> UsageError:
    return UsageError(f"{reference} cannot be written to", advice=_WRITABLE)


def _places(source: DockerReference, registries: "Registries") -> list[DockerReference]:
    """Return where an image may be mounted from; nowhere where it may not be asked for any more."""
    try:
        return [place.reference for place in registries.conf.to_read(source)]
    except Error:
        return []


def _file_sink(reference: PathReference) -> Sink:
    path = Path(reference.path)
    if reference.transport == "oci":
        from transship.pipeline.transports.oci import OciSink

        return OciSink(path)
    if reference.transport == "oci-archive":
        from transship.pipeline.transports.oci_archive import OciArchiveSink

        return OciArchiveSink(path)
    if reference.transport == "docker-archive":
        from transship.pipeline.transports.docker_archive import DockerArchiveSink

        return DockerArchiveSink(path)
    from transship.pipeline.transports.directory import DirectorySink

    return DirectorySink(path)
