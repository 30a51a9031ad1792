"""What a docker-archive is written to: a file that has no other images, or a pipe, such as ``/dev/stdout``."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ConflictError, Error
from transship.pipeline.reference import PathReference
from transship.pipeline.transports import Writable


def takes_a_stream(destination: Writable) -> TypeGuard[PathReference]:
    """Say whether ``destination`` is a docker-archive of which nothing can be read back: a pipe or a device."""
    if not isinstance(destination, PathReference) or destination.transport != "docker-archive":
        return False
    try:
        mode = os.stat(destination.path).st_mode
    except OSError:
        return False
    # What the shell has opened is not replaced by name, whatever it is.
    opened = destination.path.startswith("/dev/") and stat.S_ISREG(mode)
    return opened or stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def pour(archive: Path, place: str) -> None:
    """Write the bytes of ``archive`` to the pipe at ``place``.

    Raises:
        TransportError: nobody reads them, or not to the end.
    """
    import shutil  # noqa: PLC0415  (few write into pipes)

    with at_disk(Path(place)), archive.open("rb") as source, open(place, "wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def refuse_to_lose(destination: Writable, additional: Sequence[str]) -> None:
    """Refuse a docker-archive at ``destination`` that has other images than the one that replaces it.

    skopeo refuses any that is there; the same image written once more is no loss.

    Raises:
        ConflictError: it has, or is no docker-archive.
    """
    if not isinstance(destination, PathReference) or destination.transport != "docker-archive":
        return
    path = Path(destination.path)
    if not path.is_file() or not path.stat().st_size:
        return
    from transship.pipeline.transports.docker_archive import names_in  # noqa: PLC0415
    from transship.pipeline.transports.saved_images import qualified  # noqa: PLC0415

    advice = "move it away, or name another file"
    try:
        held = {qualified(name) for names in names_in(path) for name in names or ("",)}
    except Error as error:
        why = "is there and is no archive of images; it is left as it is"
        raise ConflictError(f"{path} {why}", advice=advice) from error
    others = sorted(held - {qualified(name) for name in (destination.name, *additional)})
    if others:
        what = ", ".join(name or "an image without a name" for name in others)
        raise ConflictError(f"{path} is there and holds {what}; it is left as it is", advice=advice)
