"""The grammar of image references, for every transport; no I/O.

Sources: distribution/reference for docker names; containers-transports(5) for the rest.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple, Self, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, UsageError, shown, without_password

READ_ONLY: Final = ("sif", "tarball")
"""Transports that images come from and never go to."""
LAYOUTS: Final = frozenset({"oci", "oci-archive"})
LOCAL: Final = ("containers-storage", "docker-daemon")
"""Transports whose images are of one machine: the same reference is another image on the next one."""
TRANSPORTS: Final = ("docker", "oci", "oci-archive", "docker-archive", "dir", *LOCAL, *READ_ONLY)
SINGLE: Final = frozenset({"docker-archive", "docker-daemon", "containers-storage"})
"""Transports that hold one platform of an image and give it back with another manifest: config and layers are kept."""

# Compiled when first used: a command needs the grammar of one transport.
_ALNUM: Final = "[A-Za-z0-9]+"
_HOST: Final = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])"
    r"(?::[0-9]+)?"
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_LAYOUT_PART: Final = rf"{_ALNUM}(?:(?:[-._:@+]|--){_ALNUM})*"
_LAYOUT_NAME: Final = rf"{_LAYOUT_PART}(?:/{_LAYOUT_PART})*"
_INDEX: Final = r"[0-9]{1,9}"
_IMAGE_ID, _SHORT_ID = r"[0-9a-f]{64}", r"[0-9a-f]{1,64}"
_MAX_REPOSITORY: Final = 255
_HUB: Final = "docker.io"


class DockerReference(NamedTuple):
    """An image in a registry: by tag, or by digest with an empty ``tag``; with neither a repository."""

    registry: str
    repository: str
    tag: str
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> "DockerReference":
        """Return the image that ``name[:tag]`` or ``name@digest`` spells; no ``docker://``, default tag latest.

        Raises:
            UsageError: any other shape; a tag and a digest at once.
        """
        found = named(text)
        if found.tag and found.digest:
            raise UsageError(f"{shown(text)!r} has both a tag and a digest", advice="keep one of them")
        return found if found.digest else found._replace(tag=found.tag or "latest")

    @classmethod
    def parse_repository(cls, text: str) -> "DockerReference":
        """Return the repository that ``docker://name`` spells, ``tag`` empty and ``digest`` None.

        Raises:
            UsageError: another transport, a tag or a digest is there, or the name is malformed.
        """
        transport, _, rest = text.partition(":")
        if transport != "docker" or not rest.startswith("//"):
            raise UsageError(f"{shown(text)!r} is not a repository", advice="expected docker://name")
        found = named(rest[2:])
        if found.tag or found.digest:
            raise UsageError(f"{shown(text)!r} names one image", advice="expected a repository without tag or digest")
        return found

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        suffix = f"@{self.digest}" if self.digest else f":{self.tag}" if self.tag else ""
        return f"docker://{self.name}{suffix}"


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


def named(text: str) -> DockerReference:
    """Return what ``[host/]repository[:tag][@digest]`` spells, with what is absent left empty; raises `UsageError`."""
    if re.fullmatch(_IMAGE_ID, text):
        raise UsageError("64 hex digits are an image ID, not a name")
    rest, at, after = text.partition("@")
    digest = _digest(after) if at else None  # First: what stands before may be a password.
    host, slash, path = rest.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost"):
        host, path = _HUB, rest
    path, colon, tag = path.partition(":")
    _check_named(host, path, text)
    if colon and not re.fullmatch(_TAG, tag):
        raise UsageError(f"malformed tag {shown(tag)!r}", advice="expected at most 128 of letters, digits, _ . -")
    if host in {_HUB, "index.docker.io"}:
        host, path = _HUB, path if "/" in path else f"library/{path}"
    if len(path) > _MAX_REPOSITORY:
        raise UsageError(f"repository of {len(path)} characters", advice=f"at most {_MAX_REPOSITORY} are allowed")
    return DockerReference(host, path, tag, digest)


def _check_named(host: str, path: str, text: str) -> None:
    if not re.fullmatch(_HOST, host):
        raise UsageError(f"malformed registry {shown(host)!r}", advice="expected host[:port]")
    if not path:
        raise UsageError(f"no repository in {shown(text)!r}", advice="expected name[:tag] or name@digest")
    if not re.fullmatch(_REPOSITORY, path):
        cause = "is not lower-case" if re.fullmatch(_REPOSITORY, path.lower()) else "is malformed"
        raise UsageError(
            f"repository {shown(path)!r} {cause}",
            advice="expected lower-case letters and digits, joined by . _ __ - or /",
        )


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except ContentError as error:
        raise UsageError(error.message, advice=error.advice) from error


def _daemon(rest: str) -> DaemonReference:
    if rest.startswith("sha256:"):
        return DaemonReference(None, _digest(rest))
    found = named(rest)
    if found.name == f"{_HUB}/library/sha256":
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
    "dir": "dir:path",
    "docker-daemon": "docker-daemon:name:tag, name@digest or sha256:<image ID>",
    "containers-storage": "containers-storage:[store]name[:tag][@digest][@id]",
    "sif": "sif:path",
    "tarball": "tarball:path[:path...], - for standard input",
}
