"""What an image shall look like at a destination: the user's wish, bounded by what the transport holds."""

from typing import Final, Literal, NamedTuple, TypeAlias

from transship.pipeline.compression import DEFAULT_BUDGET, Budget, Compression
from transship.pipeline.compression.codecs import ZSTD_KINDS
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError

Manifests: TypeAlias = Literal["keep", "oci", "docker", "v2s1"]
Config: TypeAlias = Literal["verbatim", "strict"]
Foreign: TypeAlias = Literal["keep-urls", "download"]
_HOLD_ALL: Final = frozenset({"docker-archive", "docker-daemon", "containers-storage"})
"""Destinations that are of no use without a layer."""


class Shape(NamedTuple):
    """The form asked for; ``layers`` None keeps each layer as it is.

    ``single`` is true where the destination holds one platform, never an index.
    ``force`` repacks layers that already have the compression asked for.
    ``plain`` packs layers that are not packed, and leaves the others. ``preserve`` makes it an
    error where any manifest would get another digest, ``lossless`` where anything would be lost.
    ``reversible`` keeps each Docker manifest in an annotation of the OCI one that it becomes.
    ``foreign`` says whether foreign layers stay at their URLs or are fetched; None is as the transport needs.
    ``named`` are the repository and tag that a v2s1 manifest says of itself.
    ``encrypt`` are the recipients of the layers ``encrypt_layers`` (by number, negative from the last; none are all),
    ``decrypt`` the files of the keys for encrypted ones: names, never what stands in them.
    ``budget`` bounds what layers may expand to; it decides whether there is a result, never which.
    """

    manifests: Manifests = "keep"
    config: Config = "verbatim"
    layers: Compression | None = None
    level: int | None = None
    force: bool = False
    single: bool = False
    preserve: bool = False
    plain: bool = False
    budget: Budget = DEFAULT_BUDGET
    reversible: bool = False
    lossless: bool = False
    foreign: Foreign | None = None
    named: tuple[str, str] = ("", "")
    encrypt: tuple[str, ...] = ()
    encrypt_layers: tuple[int, ...] = ()
    decrypt: tuple[str, ...] = ()

    @property
    def downloads(self) -> bool:
        """Whether the destination holds the bytes of foreign layers."""
        return self.foreign == "download"

    def key(self) -> str:
        """Return a short name of the shape, the same for those of equal results; fit for a file name."""
        layers = self.layers.value if self.layers else "keep"
        level = f"{self.level}" if self.level is not None else ""
        flags = ("-force" if self.force else "") + ("-single" if self.single else "")
        flags += ("-preserve" if self.preserve else "") + ("-plain" if self.plain else "")
        flags += ("-reversible" if self.reversible else "") + ("-lossless" if self.lossless else "")
        flags += "-download" if self.downloads else ""
        # A repository has slashes, and is as long as it likes.
        flags += f"-{Digest.of(repr(self.named).encode()).hex[:12]}" if any(self.named) else ""
        # Nor is a file's name short.
        keys = (self.encrypt, self.encrypt_layers, self.decrypt)
        flags += f"-{Digest.of(repr(keys).encode()).hex[:12]}" if any(keys) else ""
        return f"{self.manifests}-{self.config}-{layers}{level}{flags}"


def keeps_schema1(shape: Shape) -> bool:
    """Say whether a Docker v2s1 image stays what it is: it cannot be repacked, and no archive or engine takes it."""
    return shape.manifests in ("keep", "v2s1") and shape.layers is None and not shape.single


def bounded(wish: Shape, transport: str) -> Shape:
    """Return ``wish`` as far as ``transport`` can hold it.

    docker-archive and docker-daemon are v2s2 with plain tars of one platform, whatever was wished: nothing else is
    readable there. containers-storage is any image of one platform.

    Raises:
        UsageError: a Docker format was asked for in an OCI layout, or of zstd layers; or that a foreign layer
            stay at its URL where every layer must be held.
    """
    if wish.encrypt:
        wish = _encrypting(wish, transport)
    if wish.foreign == "keep-urls" and transport in _HOLD_ALL:
        raise UsageError(f"{transport}: holds every layer", advice="leave out foreign: keep-urls")
    # As skopeo: what is to be used as it is has all its layers, dir: too.
    if wish.foreign is None and transport in _HOLD_ALL | {"dir"}:
        wish = wish._replace(foreign="download")
    if transport == "containers-storage":
        if wish.manifests == "v2s1":
            raise UsageError(f"{transport}: holds no v2s1 manifests", advice="say v2s2 or oci")
        wish = wish._replace(single=True)
    if transport in ("docker-archive", "docker-daemon"):
        plain = Shape("docker", wish.config, Compression.NONE, single=True)
        plain = plain._replace(foreign=wish.foreign, decrypt=wish.decrypt)
        return plain._replace(preserve=wish.preserve, budget=wish.budget, lossless=wish.lossless)
    if transport in ("oci", "oci-archive", "bundle"):
        if wish.manifests in ("docker", "v2s1"):
            raise UsageError(f"{transport}: holds OCI manifests only", advice="say manifests: oci or keep")
        wish = wish._replace(manifests="oci")
    if wish.layers in ZSTD_KINDS and wish.manifests != "oci":
        # As skopeo: who asks for zstd and for no format gets the one that holds it.
        if wish.manifests in ("docker", "v2s1"):
            raise UsageError("Docker's formats hold no zstd layers", advice="say manifests: oci, or layers: gzip")
        return wish._replace(manifests="oci")
    return wish


def _encrypting(wish: Shape, transport: str) -> Shape:
    """Return ``wish`` in the one format that holds encrypted layers, as skopeo: who asks for them gets it."""
    if wish.decrypt:
        raise UsageError("an image is either encrypted or decrypted", advice="leave out one of the two")
    if transport in _HOLD_ALL:
        raise UsageError(
            f"{transport}: holds no encrypted layers", advice="write to oci:, oci-archive:, dir: or docker://"
        )
    if wish.manifests in ("docker", "v2s1"):
        raise UsageError(
            "Docker's formats hold no encrypted layers", advice="say manifests: oci, or nothing of the format"
        )
    if wish.layers is Compression.ZSTD_CHUNKED:
        # Nobody reads parts of what is encrypted.
        raise UsageError("zstd:chunked is of no use in an encrypted layer", advice="say zstd")
    return wish._replace(manifests="oci")


def at_registry(form: Shape, place: DockerReference) -> Shape:
    """Return ``form`` for an image that is written to ``place``: a v2s1 manifest says where it is."""
    return form._replace(named=(place.repository, place.tag)) if form.manifests == "v2s1" else form
