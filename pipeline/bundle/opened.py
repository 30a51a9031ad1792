"""A bundle opened to be listed or compared: what it says, and the manifests in it, each checked by its digest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transship.pipeline.bundle.trees import Trees
from transship.pipeline.digest import Digest, check
from transship.pipeline.errors import NotFoundError
from transship.pipeline.transports.bundle import read_bundle
from transship.pipeline.transports.layout import blob_name
from transship.pipeline.transports.tar import Archive


@contextmanager
def opened(path: Path) -> Iterator[Trees]:
    """Open the bundle at ``path`` for as long as this lasts.

    Raises:
        NotFoundError: there is none, or it is no bundle.
        ContentError: it is damaged.
        TransportError: the disk refused.
    """
    archive = Archive(path)
    try:
        said = read_bundle(archive)

        def read(digest: Digest, size: int) -> bytes:
            raw = archive.read(archive.find(blob_name(digest)), size)
            check(raw, digest, f"{path} manifest {digest}")
            return raw

        yield Trees(said, read, f"{path}: ")
    except NotFoundError as error:
        raise NotFoundError(error.message, advice=error.advice or "is it a bundle?") from error
    finally:
        archive.close()
