"""What a batch file says, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from transship.pipeline.batch.resolved import Resolved
from transship.pipeline.batch.signatures import NOTHING, SigningWords
from transship.pipeline.compression import DEFAULT_BUDGET
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.reference import DaemonReference, PathReference, Reference, StorageReference

Manifests: TypeAlias = Literal["keep", "oci", "docker"]
Config: TypeAlias = Literal["verbatim", "strict"]
Foreign: TypeAlias = Literal["keep-urls", "download"]
Layers: TypeAlias = Literal["keep", "gzip", "zstd", "zstd:chunked", "uncompressed"]
Platforms: TypeAlias = "str | tuple[str, ...]"
"""``all``, ``host``, one ``os/arch[/variant]`` (that image alone), or a tuple of those (an index of them)."""

Target: TypeAlias = DockerReference | PathReference | DaemonReference | StorageReference


@dataclass(frozen=True, slots=True)
class Wish:
    """The form asked for; ``level`` None is the codec's own, ``force`` repacks what is packed so already.

    ``foreign`` None is as the destination needs.
    ``max_layer_size`` and ``max_layer_ratio`` are those of `compression.Budget`.
    ``encrypt`` and ``decrypt`` name keys as `Shape` does, by absolute paths.
    ``reversible`` keeps Docker's manifests for the way back, ``fail_on_loss`` refuses to lose anything.
    """

    manifests: Manifests = "keep"
    config: Config = "verbatim"
    layers: Layers = "keep"
    level: int | None = None
    force: bool = False
    foreign: Foreign | None = None
    max_layer_size: int = DEFAULT_BUDGET.size
    max_layer_ratio: int = DEFAULT_BUDGET.ratio
    reversible: bool = False
    fail_on_loss: bool = False
    encrypt: tuple[str, ...] = ()
    encrypt_layers: tuple[int, ...] = ()
    decrypt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an image goes; a path is absolute and free of ``.`` and ``..``."""

    reference: Target


@dataclass(frozen=True, slots=True)
class Job:
    """One image to copy; ``explicit_platforms`` is false where ``all`` is but a default.

    ``referrers`` copies what hangs on it; ``sparse`` keeps the index of a list of platforms as it is.
    ``signing`` says what is done with signatures. ``resolved`` is what a lock says of it, None where none does;
    ``base`` and ``since`` are as in `ImageJob`.
    """

    source: Reference
    platforms: Platforms
    explicit_platforms: bool
    wish: Wish
    destinations: tuple[Destination, ...]
    referrers: bool = False
    sparse: bool = False
    signing: SigningWords = NOTHING
    resolved: Resolved | None = None
    base: tuple[str, ...] | None = None
    since: str = ""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to reach one registry; None and empty are "as the defaults say". Paths are absolute."""

    tls_verify: bool | None = None
    concurrency: int | None = None
    authfile: str = ""
    cert_dir: str = ""
    patience: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """A whole batch file, expanded; ``name`` is fit for a folder, ``registries`` go by host[:port].

    ``policy`` is the signature policy that it names, absolute, empty for none.
    """

    name: str
    jobs: tuple[Job, ...]
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)
    policy: str = ""
    require_signed: bool = False
