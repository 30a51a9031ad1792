"""What a run is to do: images to fetch, deliveries to write; the values that tasks look up by key.

A key is the digest of its own canonical content, so that editing one line of a batch redoes one image.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from transship.pipeline.compression import DEFAULT_BUDGET, Budget, Compression
from transship.pipeline.convert.shape import Shape
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.image_job import ImageJob, key_of
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.reference import LOCAL, PathReference, Reference, parse_reference

__all__ = ["ARCHIVES", "Delivery", "ImageJob", "Member", "Plan", "RegistryAccess", "interned"]

ARCHIVES: Final = frozenset({"oci-archive", "docker-archive", "bundle"})
"""Transports whose destination is one file, written once, of all its images."""
_FLAGS: Final = ("preserve", "reversible", "lossless")


@dataclass(frozen=True, slots=True)
class Member:
    """One image of a delivery: the key of its job, its shape, its name at the destination ("" for none).

    ``signing`` is what is done with signatures, as `trust.signing.to_text` writes it.
    """

    image: str
    shape: Shape
    name: str
    signing: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something written and verified at once: one image, or all images of one archive in their order.

    ``path`` is a file or folder; for docker it is host and repository, and a member's name a tag or digest;
    for an engine or a storage all that follows the transport. ``packing`` is how a bundle is packed, as
    `bundle.Packing` writes it.
    """

    transport: str
    path: str
    members: tuple[Member, ...]
    packing: str = ""

    @property
    def key(self) -> str:
        """The identity of this delivery, fit for a folder name."""
        # What bounds the work does not change what comes of it.
        members = (replace(member, shape=member.shape._replace(budget=DEFAULT_BUDGET)) for member in self.members)
        return key_of(replace(self, members=tuple(members)).document())

    def document(self) -> Object:
        """Return the JSON object that `Delivery.read` takes."""
        members: list[Json] = [
            {
                "image": member.image,
                "shape": _shape_document(member.shape),
                "name": member.name,
                **({"signing": member.signing} if member.signing else {}),
            }
            for member in self.members
        ]
        packing: Object = {"packing": self.packing} if self.packing else {}
        return {"transport": self.transport, "path": self.path, "members": members, **packing}

    @property
    def place(self) -> Reference:
        """What to open a sink of: the destination without a name."""
        if self.transport == "docker":
            return DockerReference.parse_repository(f"docker://{self.path}")
        if self.transport in LOCAL:
            return parse_reference(f"{self.transport}:{self.path}")
        return PathReference(self.transport, self.path)

    def reference(self, member: Member) -> str:
        """Return the reference of one member, as the command line takes it."""
        if self.transport == "docker":
            return f"docker://{self.path}{'@' if ':' in member.name else ':'}{member.name}"
        suffix = f":{member.name}" if member.name else ""
        return f"{self.transport}:{self.path}{suffix}"


@dataclass(frozen=True, slots=True)
class RegistryAccess:
    """How to reach one registry; holds names of files, never a secret."""

    tls_verify: bool | None = None
    cert_dir: str = ""
    authfile: str = ""
    concurrency: int = 8
    patience: Mapping[str, float] = field(default_factory=dict)
    """What the batch says of waiting and trying again, by the names of ``Patience`` with dashes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole run; ``batch_digest`` tells whether the batch file has changed since.

    ``policy`` is the file of the signature policy, or why there is none (`trust.guard`); ``batch_policy`` and
    ``batch_require_signed`` are what the batch file says of it. With ``strict`` an image whose signatures would be
    lost is not written. ``bundle`` has what goes into a bundle.json: the lock, and the base if there is one.
    """

    name: str
    batch_digest: str
    images: Mapping[str, ImageJob]
    deliveries: Mapping[str, Delivery]
    registries: Mapping[str, RegistryAccess] = field(default_factory=dict)
    policy: str = "none"
    batch_policy: str = ""
    batch_require_signed: bool = False
    strict: bool = False
    bundle: Object = field(default_factory=dict)

    @property
    def written(self) -> int:
        """How many images are written, those of an archive each."""
        return sum(len(delivery.members) for delivery in self.deliveries.values())

    def document(self) -> Object:
        """Return the JSON object of ``schemas/plan.schema.json``."""
        images: list[Json] = [job.document() for job in self.images.values()]
        deliveries: list[Json] = [delivery.document() for delivery in self.deliveries.values()]
        registries: dict[str, Json] = {
            host: {
                "tls-verify": access.tls_verify,
                "cert-dir": access.cert_dir,
                "authfile": access.authfile,
                "concurrency": access.concurrency,
                "patience": dict(access.patience),
            }
            for host, access in self.registries.items()
        }
        return {
            "version": 1,
            "name": self.name,
            "batch": self.batch_digest,
            "images": images,
            "deliveries": deliveries,
            "registries": registries,
            "policy": self.policy,
            **({"batch-policy": self.batch_policy} if self.batch_policy else {}),
            **({"require-signed": True} if self.batch_require_signed else {}),
            **({"strict": True} if self.strict else {}),
            **({"bundle": self.bundle} if self.bundle else {}),
        }

    @classmethod
    def read(cls, document: "dict[str, object]") -> "Plan":
        """Return the plan of a document that ``schemas/plan.schema.json`` has accepted."""
        found: Mapping[str, object] = document
        images = [ImageJob.read(item) for item in _list(found["images"])]
        deliveries = interned(_delivery(item) for item in _list(found["deliveries"]))
        registries = {
            host: RegistryAccess(
                None if item["tls-verify"] is None else item["tls-verify"] is True,
                str(item["cert-dir"]),
                str(item["authfile"]),
                int(str(item["concurrency"])),
                {name: float(str(value)) for name, value in _map(item.get("patience", {})).items()},
            )
            for host, item in _map(found["registries"]).items()
            if isinstance(item, dict)
        }
        return cls(
            str(found["name"]),
            str(found["batch"]),
            {job.key: job for job in images},
            {delivery.key: delivery for delivery in deliveries},
            registries,
            str(found.get("policy", "none")),
            str(found.get("batch-policy", "")),
            found.get("require-signed") is True,
            found.get("strict") is True,
            cast("Object", found.get("bundle", {})),
        )


def interned(deliveries: Iterable[Delivery]) -> Iterator[Delivery]:
    """Yield equal deliveries whose equal parts are one object: of ten thousand images most have one shape.

    Each process of a run has a copy of the plan.
    """
    same: dict[Hashable, Any] = {}
    for delivery in deliveries:
        members = tuple(
            replace(
                member,
                image=same.setdefault(member.image, member.image),
                shape=same.setdefault(member.shape, member.shape),
                name=same.setdefault(member.name, member.name),
            )
            for member in delivery.members
        )
        yield Delivery(
            same.setdefault(delivery.transport, delivery.transport),
            same.setdefault(delivery.path, delivery.path),
            members,
            delivery.packing,
        )


def _shape_document(shape: Shape) -> Json:
    return {
        "manifests": shape.manifests,
        "config": shape.config,
        "layers": shape.layers.value if shape.layers else "keep",
        "level": shape.level,
        "force": shape.force,
        "single": shape.single,
        # Only where it is so: older plans, and the keys of what they did, are without it.
        **({"budget": [*shape.budget]} if shape.budget != DEFAULT_BUDGET else {}),
        **{key: True for key in _FLAGS if getattr(shape, key)},
        **({"foreign": shape.foreign} if shape.foreign else {}),
        **({"encrypt": [*shape.encrypt]} if shape.encrypt else {}),
        **({"encrypt-layers": [*shape.encrypt_layers]} if shape.encrypt_layers else {}),
        **({"decrypt": [*shape.decrypt]} if shape.decrypt else {}),
        **({"named": [*shape.named]} if any(shape.named) else {}),
    }


def _delivery(item: "dict[str, object]") -> Delivery:
    members = tuple(
        Member(str(member["image"]), _shape(_map(member["shape"])), str(member["name"]), str(member.get("signing", "")))
        for member in _list(item["members"])
    )
    return Delivery(str(item["transport"]), str(item["path"]), members, str(item.get("packing", "")))


def _shape(item: Mapping[str, object]) -> Shape:
    layers = str(item["layers"])
    return Shape(
        manifests=item["manifests"],  # type: ignore[arg-type] # the schema names the four
        config=item["config"],  # type: ignore[arg-type]
        layers=None if layers == "keep" else Compression(layers),
        level=None if item["level"] is None else int(str(item["level"])),
        force=item["force"] is True,
        single=item["single"] is True,
        budget=Budget(*(int(str(bound)) for bound in _items(item.get("budget")))),
        foreign=item.get("foreign"),  # type: ignore[arg-type] # the schema names the two
        named=_pair(item.get("named")),
        preserve=item.get("preserve") is True,
        reversible=item.get("reversible") is True,
        lossless=item.get("lossless") is True,
        encrypt=_texts(item.get("encrypt")),
        encrypt_layers=tuple(int(text) for text in _texts(item.get("encrypt-layers"))),
        decrypt=_texts(item.get("decrypt")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in _items(value))


def _pair(value: object) -> tuple[str, str]:
    repository, tag = [str(text) for text in _items(value)] or ["", ""]
    return repository, tag


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _list(value: object) -> "list[dict[str, object]]":
    return [item for item in _items(value) if isinstance(item, dict)]
