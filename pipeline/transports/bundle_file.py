"""bundle.json, what a bundle says of itself: images, blobs, what its bytes depend on. ``schemas/bundle.schema.json``.

Nothing in it is of the time, the user or the machine: the same images give the same bytes.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, TransportError, shown
from transship.pipeline.manifest.document import Object, load
from transship.pipeline.manifest.fields import Fields
from transship.pipeline.manifest.media_types import MediaType
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.reference import BUNDLE_NAME
from transship.pipeline.transports.layout import INDEX, MARKER, MARKER_RAW, blob_name

BUNDLE: Final = "bundle.json"
VERSION: Final = 1
MAX_BUNDLE: Final = 64 << 20
"""Bytes of a bundle.json; a blob takes 130 of them."""


@dataclass(frozen=True, slots=True, order=True)
class BundledBlob:
    """A blob or manifest: its digest and size in bytes."""

    digest: Digest
    size: int

    def document(self) -> Object:
        """Return its JSON object."""
        return {"digest": str(self.digest), "size": self.size}

    @classmethod
    def read(cls, fields: Fields) -> "BundledBlob":
        """Return what an object spells; raises `ContentError`."""
        return cls(fields.digest(), fields.size())


@dataclass(frozen=True, slots=True)
class BundledImage:
    """An image: its name in the bundle, where it came from, the digest it had there and has here, what it lost.

    ``referrers`` are those that hang on it in the bundle.
    """

    name: str
    source: str
    pinned: Digest
    digest: Digest
    media_type: MediaType
    size: int
    losses: tuple[str, ...] = ()
    referrers: tuple[Referrer, ...] = ()

    def document(self) -> Object:
        """Return its JSON object."""
        return {
            "name": self.name,
            "source": self.source,
            "pinned": str(self.pinned),
            "digest": str(self.digest),
            "media-type": self.media_type,
            "size": self.size,
            "losses": list(self.losses),
            "referrers": [dict(referrer.to_document()) for referrer in self.referrers],
        }

    @classmethod
    def read(cls, fields: Fields) -> "BundledImage":
        """Return what an object spells; raises `ContentError`."""
        return cls(
            _name(fields, "name"),
            fields.text("source"),
            fields.digest("pinned"),
            fields.digest(),
            MediaType(fields.text("media-type")),
            fields.size(),
            fields.texts("losses"),
            tuple(_referrer(item) for item in fields.objects("referrers")),
        )


@dataclass(frozen=True, slots=True, order=True)
class BaseBlob:
    """A blob that an older bundle brought: its digest, its size in bytes, and one image that it brought it with."""

    digest: Digest
    size: int
    image: str

    def document(self) -> Object:
        """Return its JSON object."""
        return {"digest": str(self.digest), "size": self.size, "image": self.image}

    @classmethod
    def read(cls, fields: Fields) -> "BaseBlob":
        """Return what an object spells; raises `ContentError`."""
        return cls(fields.digest(), fields.size(), _name(fields, "image"))


@dataclass(frozen=True, slots=True)
class Base:
    """What must be at the receiver already: the digest of the bundle.json or lock that says so, the blobs left out."""

    digest: Digest
    blobs: tuple[BaseBlob, ...]

    def document(self) -> Object:
        """Return its JSON object."""
        return {"digest": str(self.digest), "blobs": [blob.document() for blob in self.blobs]}

    @classmethod
    def read(cls, fields: Fields) -> "Base":
        """Return what an object spells; raises `ContentError`."""
        return cls(fields.digest(), tuple(BaseBlob.read(item) for item in fields.each("blobs")))


@dataclass(frozen=True, slots=True)
class BundleFile:
    """A bundle.json; ``blobs`` are in the order in which they lie in the bundle."""

    tool: str
    images: tuple[BundledImage, ...] = ()
    blobs: tuple[BundledBlob, ...] = ()
    codecs: tuple[str, ...] = ()
    lock: Object = field(default_factory=dict)
    base: Base | None = None

    def document(self) -> Object:
        """Return its JSON object."""
        return {
            "bundle": VERSION,
            "tool": self.tool,
            "codecs": list(self.codecs),
            "images": [image.document() for image in self.images],
            "blobs": [blob.document() for blob in self.blobs],
            **({"base": self.base.document()} if self.base else {}),
            **({"lock": self.lock} if self.lock else {}),
        }

    def raw(self) -> bytes:
        """Return its bytes, keys sorted, one thing a line.

        Raises:
            TransportError: they would be more than readers accept.
        """
        raw = b"".join(self._pieces())
        if len(raw) > MAX_BUNDLE:
            raise TransportError(f"{BUNDLE} would pass {MAX_BUNDLE} bytes", advice="make two bundles")
        return raw

    def is_spelt(self, raw: bytes) -> bool:
        """Say whether ``raw`` is its bytes, which are not made at once: they may be many."""
        end, view = 0, memoryview(raw)
        for piece in self._pieces():
            if view[end : end + len(piece)] != piece:
                return False
            end += len(piece)
        return end == len(raw)

    def _pieces(self) -> Iterator[bytes]:
        encoder = json.JSONEncoder(ensure_ascii=False, indent=1, sort_keys=True)
        yield from (piece.encode(errors="backslashreplace") for piece in encoder.iterencode(self.document()))
        yield b"\n"

    @classmethod
    def read(cls, raw: bytes, where: str) -> "BundleFile":
        """Return what a bundle.json says; ``where`` names the bundle in messages.

        Raises:
            ContentError: it is malformed, or of another version; an image or a blob stands twice, or has a name that
                none can have.
        """
        fields = Fields(load(raw, f"{where} {BUNDLE}", MAX_BUNDLE), f"{where} {BUNDLE}")
        version = fields.document.get("bundle")
        # To Python True is 1.
        if type(version) is not int or version != VERSION:
            raise ContentError(f"{where} {BUNDLE}: of version {shown(repr(version))}, only {VERSION} is known")
        lock = fields.optional_object("lock")
        base = fields.optional_object("base")
        made = cls(
            fields.text("tool"),
            tuple(BundledImage.read(item) for item in fields.objects("images")),
            tuple(_blobs(fields)),
            fields.texts("codecs"),
            lock.document if lock else {},
            Base.read(base) if base else None,
        )
        _refuse_double((image.name for image in made.images), where)
        left = tuple(BundledBlob(blob.digest, blob.size) for blob in made.base.blobs) if made.base else ()
        _refuse_double((str(blob.digest) for blob in made.blobs + left), where)
        return made

    def with_codec(self, codec: str) -> "BundleFile":
        """Return this, and that its bytes depend on ``codec``."""
        return replace(self, codecs=tuple(sorted({*self.codecs, codec})))

    def of(
        self, images: tuple[BundledImage, ...], blobs: tuple[BundledBlob, ...], left: Iterable[BundledBlob]
    ) -> "BundleFile":
        """Return this of ``images`` and ``blobs``; those that are ``left`` out the base is to have brought."""
        base = self.base
        if base is not None:
            named = {blob.digest for blob in left}
            base = Base(base.digest, tuple(blob for blob in base.blobs if blob.digest in named))
        return replace(self, images=images, blobs=blobs, base=base)

    def lacks(self, others: "Iterable[BundleFile]") -> dict[Digest, BaseBlob]:
        """Return what the base is to have brought and none of the ``others``, bundles at hand, has in it."""
        found = {blob.digest: blob for blob in self.base.blobs} if self.base else {}
        for other in others if found else ():
            for blob in other.blobs:
                found.pop(blob.digest, None)
        return found

    def members(self, index: int, own: int) -> Iterator[tuple[str, int]]:
        """Yield name and size of each member of the bundle, in order; ``index`` and ``own`` are sizes in bytes."""
        yield MARKER, len(MARKER_RAW)
        yield INDEX, index
        yield BUNDLE, own
        for blob in self.blobs:
            yield blob_name(blob.digest), blob.size


def _blobs(fields: Fields) -> Iterator[BundledBlob]:
    return (BundledBlob.read(item) for item in fields.each("blobs"))


def _name(fields: Fields, key: str) -> str:
    """Return the name of an image; raises `ContentError` where no bundle could have it."""
    name = fields.text(key)
    if not re.fullmatch(BUNDLE_NAME, name):
        raise ContentError(f"{fields.where}: {shown(name)!r} is no name for an image in a bundle")
    return name


def _referrer(fields: Fields) -> Referrer:
    found = Referrer.read(fields)
    if found.tag and not re.fullmatch(BUNDLE_NAME, found.tag):
        raise ContentError(f"{fields.where}: {shown(found.tag)!r} is no tag")
    return found


def _refuse_double(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ContentError(f"{where} {BUNDLE}: {shown(name)!r} stands twice")
        seen.add(name)
