"""The grammar of image references, for every transport; no I/O.

Source: containers-transports(5).
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Self, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import HUB, DockerReference, digest_of, named
from transship.pipeline.errors import UsageError, shown, without_password

BUNDLE: Final = "bundle"
READ_ONLY: Final = ("sif", "tarball", BUNDLE)
"""Transports that images come from and never go to by their name; `bundle create` writes bundles."""
LAYOUTS: Final = frozenset({"oci", "oci-archive", "bundle"})
LOCAL: Final = ("containers-storage", "docker-daemon")
"""Transports whose images are of one machine: the same reference is another image on the next one."""
TRANSPORTS: Final = ("docker", "oci", "oci-archive", "docker-archive", "dir", *LOCAL, *READ_ONLY)
SINGLE: Final = frozenset({"docker-archive", "docker-daemon", "containers-storage"})
"""Transports that hold one platform of an image and give it back with another manifest: config and layers are kept."""

# Compiled when first used: a command needs the grammar of one transport.
_ALNUM: Final = "[A-Za-z0-9]+"
_LAYOUT_PART: Final = rf"{_ALNUM}(?:(?:[-._:@+]|--){_ALNUM})*"
_LAYOUT_NAME: Final = rf"{_LAYOUT_PART}(?:/{_LAYOUT_PART})*"
_BUNDLE_PART: Final = r"[A-Za-z0-9][A-Za-z0-9._:@+-]*"
BUNDLE_NAME: Final = rf"{_BUNDLE_PART}(?:/{_BUNDLE_PART})*"
"""Any name that a registry has; those of layouts have no two marks side by side."""
_INDEX: Final = r"[0-9]{1,9}"
_SHORT_ID: Final = r"[0-9a-f]{1,64}"


class _PathParts(NamedTuple):
    transport: str
    path: str
    name: str
    index: int | None  # type: ignore[assignment] # hides the search that a tuple has, which nobody wants here


class PathReference(_PathParts):
    """An image in a file or folder; ``name`` is empty and ``index`` None where the reference has none.

    Raises:
        UsageError: on construction, where the path could not be spelt in this transport's grammar.
    """

    __slots__ = ()

    def __new__(cls, transport: str, path: str, name: str = "", index: int | None = None) -> Self:
        """Return the reference; raises as the class says."""
        if not path:
            raise UsageError(f"{transport}: path is missing", advice=f"expected {_SHAPES[transport]}")
        if transport not in ("dir", "sif") and ":" in path:
            raise UsageError(f"{transport}: path {shown(path)!r} holds a ':'", advice="rename or link it")
        return super().__new__(cls, transport, path, name, index)

    def __str__(self) -> str:
        suffix = f":@{self.index}" if self.index is not None else f":{self.name}" if self.name else ""
        return f"{self.transport}:{self.path}{suffix}"


class DaemonReference(NamedTuple):
    """An image of a Docker Engine: by ``name:tag`` or ``name@digest``, or by its ID where ``named`` is None.

    ``host`` is where the engine is; a reference as text never says it.
    """

    named: DockerReference | None
    image_id: Digest | None = None
    host: str = ""

    @property
    def transport(self) -> str:
        """``docker-daemon``."""
        return "docker-daemon"

    @property
    def name(self) -> str:
        """What the engine knows it by."""
        return str(self.named).removeprefix("docker://") if self.named else str(self.image_id)

    def __str__(self) -> str:
        return f"{self.transport}:{self.name}"


class StorageReference(NamedTuple):
    """An image in Podman's storage, by name, by ID, or both. Source: containers-transports(5)."""

    store: "StorageLocation"
    named: DockerReference | None
    image_id: str = ""

    @property
    def transport(self) -> str:
        """``containers-storage``."""
        return "containers-storage"

    @property
    def name(self) -> str:
        """``registry/repository`` with what there is of ``:tag`` and ``@digest``; empty without a name."""
        if self.named is None:
            return ""
        tag = f":{self.named.tag}" if self.named.tag else ""
        return f"{self.named.name}{tag}" + (f"@{self.named.digest}" if self.named.digest else "")

    def __str__(self) -> str:
        return f"{self.transport}:{self.store}{self.name}" + (f"@{self.image_id}" if self.image_id else "")


class StorageLocation(NamedTuple):
    """Where a storage is: driver, root, run root and options of the driver; empty is the user's own."""

    driver: str = ""
    root: str = ""
    run_root: str = ""
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not any(self):
            return ""
        driver = f"{self.driver}@" if self.driver else ""
        run_root = f"+{self.run_root}" if self.run_root else ""
        options = f":{','.join(self.options)}" if self.options else ""
        return f"[{driver}{self.root}{run_root}{options}]"


class TarballReference(NamedTuple):
    """Tar files, packed or not, that are the layers of one image, base first; ``-`` is standard input."""

    paths: tuple[str, ...]

    def __str__(self) -> str:
        return f"tarball:{':'.join(self.paths)}"


Reference: TypeAlias = DockerReference | PathReference | DaemonReference | StorageReference | TarballReference


def parse_reference(text: str) -> Reference:
    """Return what ``transport:rest`` names; ``parse_reference(str(r)) == r`` for every result with a tag or digest.

    Raises:
        UsageError: unknown transport or malformed rest; the message names the part and what is expected.
    """
    transport, colon, rest = text.partition(":")
    if not colon or transport not in TRANSPORTS:
        wrong = f"unknown transport {shown(transport)!r}" if colon else "no transport"
        raise UsageError(f"reference {shown(text)!r}: {wrong}", advice=f"expected one of {', '.join(TRANSPORTS)}")
    try:
        _refuse_unwritable(rest)
        return _parse_rest(transport, rest)
    except UsageError as error:
        raise UsageError(f"reference {without_password(text)!r}: {error.message}", advice=error.advice) from error


def _parse_rest(transport: str, rest: str) -> Reference:
    if transport == "docker":
        if not rest.startswith("//"):
            raise UsageError("docker: is not followed by //", advice="expected docker://name[:tag] or name@digest")
        return DockerReference.parse(rest[2:])
    if transport in _PARSERS:
        return _PARSERS[transport](rest)
    path, colon, name = rest.partition(":")
    if name.startswith("@"):
        return PathReference(transport, path, index=_index(name[1:]))
    if transport == "docker-archive":
        return PathReference(transport, path, _archive_name(name) if colon else "")
    if transport == "bundle" and re.fullmatch(BUNDLE_NAME, name):
        return PathReference(transport, path, name)
    if name and not re.fullmatch(_LAYOUT_NAME, name):
        raise UsageError(
            f"malformed name {shown(name)!r}", advice="expected letters and digits, joined by one of -._:@+/"
        )
    return PathReference(transport, path, name)


def _refuse_unwritable(text: str) -> None:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError("holds a NUL or bytes that are not UTF-8")


def _index(digits: str) -> int:
    if not re.fullmatch(_INDEX, digits):
        raise UsageError(f"malformed index '@{shown(digits)}'", advice="expected @ and a number from 0")
    return int(digits)


def _archive_name(name: str) -> str:
    found = named(name)
    if found.digest:
        raise UsageError(f"{shown(name)!r} has a digest", advice="a docker-archive holds names with tags only")
    return f"{found.name}:{found.tag or 'latest'}"


def _daemon(rest: str) -> DaemonReference:
    if rest.startswith("sha256:"):
        return DaemonReference(None, digest_of(rest))
    found = named(rest)
    if found.name == f"{HUB}/library/sha256":
        raise UsageError("the name sha256 is reserved for image IDs", advice="expected sha256:<64 hex digits>")
    if bool(found.tag) == bool(found.digest):
        raise UsageError("needs either a tag or a digest", advice=f"expected {_SHAPES['docker-daemon']}")
    return DaemonReference(found)


def _storage(rest: str) -> StorageReference:
    shape = f"expected {_SHAPES['containers-storage']}"
    location = StorageLocation()
    if rest.startswith("["):
        store, bracket, rest = rest[1:].partition("]")
        if not bracket or not store:
            raise UsageError("malformed store in brackets", advice=shape)
        location = _location(store)
    name, at, image_id = rest.rpartition("@")
    if not (at and re.fullmatch(_SHORT_ID, image_id)):
        name, image_id = rest, ""
    if not name:
        if not image_id:
            raise UsageError("no image is named", advice=shape)
        return StorageReference(location, None, image_id)
    found = named(name)
    return StorageReference(location, found if found.digest else found._replace(tag=found.tag or "latest"), image_id)


def _location(store: str) -> StorageLocation:
    driver, at, places = store.partition("@") if "@" in store else ("", "", store)
    places, _, options = places.partition(":")
    root, _, run_root = places.partition("+")
    if at and not (driver and places):
        raise UsageError(f"malformed store [{shown(store)}]", advice="expected [driver@/root+/run/root:options]")
    for path in (root, run_root):
        if path and not path.startswith("/"):
            raise UsageError(f"store [{shown(store)}]: {shown(path)!r} is no absolute path", advice="begin it with /")
    return StorageLocation(driver, root, run_root, tuple(options.split(",")) if options else ())


def _tarball(rest: str) -> TarballReference:
    paths = tuple(rest.split(":"))
    if not all(paths) or paths.count("-") > 1:
        raise UsageError("a path is missing, or - stands twice", advice=f"expected {_SHAPES['tarball']}")
    return TarballReference(paths)


_PARSERS: Final[dict[str, Callable[[str], Reference]]] = {
    "docker-daemon": _daemon,
    "containers-storage": _storage,
    "dir": partial(PathReference, "dir"),
    "sif": partial(PathReference, "sif"),
    "tarball": _tarball,
}
_SHAPES: Final = {
    "oci": "oci:path[:name] or oci:path:@index",
    "oci-archive": "oci-archive:path[:name] or oci-archive:path:@index",
    "docker-archive": "docker-archive:path[:name:tag] or docker-archive:path:@index",
    "bundle": "bundle:path[:name] or bundle:path:@index",
    "dir": "dir:path",
    "docker-daemon": "docker-daemon:name:tag, name@digest or sha256:<image ID>",
    "containers-storage": "containers-storage:[store]name[:tag][@digest][@id]",
    "sif": "sif:path",
    "tarball": "tarball:path[:path...], - for standard input",
}
