"""Opening the images that a command reads."""

from pathlib import Path

from transship.pipeline.errors import NotFoundError, TransportError, UsageError
from transship.pipeline.reference import PathReference, Reference, TarballReference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.transport import Source
from transship.pipeline.transports import open_source, open_written


def from_source(reference: Reference, registries: Registries, shared_blobs: str) -> Source:
    """Return the source of ``reference``; the blobs of an ``oci:`` layout are in ``shared_blobs`` if that is given.

    Raises:
        UsageError: ``shared_blobs`` is given, and it is no ``oci:`` layout.
        Error: as `open_source` does.
    """
    if not shared_blobs:
        return open_source(reference, registries)
    from transship.pipeline.transports.oci import OciSource  # noqa: PLC0415

    found = layout(reference)
    return OciSource(Path(found.path), found.name, found.index, Path(shared_blobs))


def from_written(reference: Reference, registries: Registries, shared_blobs: str) -> Source:
    """Return `from_source` of what was written there: never a mirror's copy."""
    return from_source(reference, registries, shared_blobs) if shared_blobs else open_written(reference, registries)


def layout(reference: Reference) -> PathReference:
    """Return ``reference``; raises `UsageError` where it is no ``oci:`` layout, the one place that can share blobs."""
    if not isinstance(reference, PathReference) or reference.transport != "oci":
        raise UsageError(f"{reference}: shares no blobs", advice="--shared-blob-dir is for oci: layouts")
    return reference


def opened(reference: Reference, registries: Registries, shared_blobs: str = "") -> Source:
    """Return the source that a query command asks about.

    Raises:
        NotFoundError: the layout or archive is there, and the image is not in it: to skopeo's users
            exit code 2 means this alone.
        TransportError: there is no such file or folder, or it is none of that kind.
        UsageError: as `from_source` does.
    """
    if not isinstance(reference, PathReference | TarballReference):
        return from_source(reference, registries, shared_blobs)
    try:
        source = from_source(reference, registries, shared_blobs)
        if isinstance(reference, PathReference) and reference.transport == "dir":
            source.manifest()
    except NotFoundError as error:
        if isinstance(reference, PathReference) and _is_there(reference):
            raise
        raise TransportError(error.message, advice=error.advice) from error
    return source


def _is_there(reference: PathReference) -> bool:
    path = Path(reference.path)
    if reference.transport not in ("oci", "oci-archive", "bundle") or not path.exists():
        return False
    return not path.is_dir() or (path / "index.json").exists()
