"""Opening what a query command asks about."""

from pathlib import Path

from transship.pipeline.errors import NotFoundError, TransportError
from transship.pipeline.reference import PathReference, Reference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.transport import Source
from transship.pipeline.transports import open_source


def opened(reference: Reference, registries: Registries) -> Source:
    """Return the source of ``reference``.

    Raises:
        NotFoundError: the layout or archive is there, and the image is not in it: to skopeo's users
            exit code 2 means this alone.
        TransportError: there is no such file or folder, or it is none of that kind.
    """
    if not isinstance(reference, PathReference):
        return open_source(reference, registries)
    path = Path(reference.path)
    try:
        source = open_source(reference, registries)
        if reference.transport == "dir":
            source.manifest()
    except NotFoundError as error:
        there = reference.transport in ("oci", "oci-archive") and (not path.is_dir() or (path / "index.json").exists())
        if there and path.exists():
            raise
        raise TransportError(error.message, advice=error.advice) from error
    return source
