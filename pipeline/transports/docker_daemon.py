"""``docker-daemon:``, images of a Docker Engine. It gives and takes docker archives: one platform, plain layers."""

import io
import os
import tempfile
from pathlib import Path
from typing import Final, Self

from transship.pipeline.disk import at_disk, write_all
from transship.pipeline.errors import NotFoundError, UsageError
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.reference import DaemonReference
from transship.pipeline.transports.docker_archive import DockerArchiveSink, DockerArchiveSource
from transship.pipeline.transports.engine import Engine
from transship.pipeline.transports.spool import Spools
from transship.pipeline.transports.tar_writer import TarWriter

_saved: Final = Spools(4)
"""Images saved lately: each is opened several times on its way, and each time would cost the whole image."""


def open_daemon(reference: DaemonReference, host: str) -> DockerArchiveSource:
    """Return the image that the engine at ``host`` knows now by the reference, saved to an unnamed temporary file.

    Its manifest is made here, over the very config and the plain layers; the engine keeps no manifest of a registry.

    Raises:
        NotFoundError: it has none.
        UsageError: ``host`` is malformed.
        TransportError: the engine cannot be reached or broke off, or the disk refused.
    """
    engine = Engine(host)
    try:
        image_id = engine.image_id(reference.name)
    except NotFoundError as error:
        raise NotFoundError(f"{reference}: {error.message}", advice="see docker images") from error
    stream = _saved.get((engine.host, image_id), lambda: _save(engine, image_id))
    return DockerArchiveSource(Path(str(reference)), stream=stream)


def _save(engine: Engine, image_id: str) -> io.FileIO:
    place = Path(tempfile.gettempdir())
    with at_disk(place), tempfile.TemporaryFile(buffering=0) as spool:

        def write(piece: bytes) -> None:
            with at_disk(place):
                write_all(spool.fileno(), piece)

        engine.save(image_id, write)
        return io.FileIO(os.dup(spool.fileno()))


class DaemonSink(DockerArchiveSink):
    """Loads an image on commit, without a copy on the disk; an older image of its name loses that."""

    def __init__(self, reference: DaemonReference, host: str) -> None:
        """Ask whether the engine is there, and begin nothing.

        Raises:
            UsageError: the reference has no name with a tag, or ``host`` is malformed.
            TransportError: the engine is not there, or refuses.
        """
        if reference.named is None or not reference.named.tag:
            raise UsageError(f"{reference}: cannot be written to", advice="expected docker-daemon:name:tag")
        super().__init__(Path(str(reference)))
        self._name = reference.name
        self._engine = Engine(host)
        self._engine.check()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def put_manifest(self, manifest: Manifest, name: str | None) -> None:
        """Note an image as `DockerArchiveSink` does; a root gets the name of the reference, whatever ``name`` says."""
        super().put_manifest(manifest, None if name is None else self._name)

    def deliver(self, tar: TarWriter) -> None:
        """Load the archive; raises as `Engine.load` does."""
        self._engine.load(tar.pieces(), tar.size)
