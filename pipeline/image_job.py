"""One image that a run fetches: what identifies it, and how it is read."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.document import Json, Object, dump
from transship.pipeline.reference import parse_reference
from transship.pipeline.referrers import Found

if TYPE_CHECKING:
    from transship.pipeline.resolve import Platforms


@dataclass(frozen=True, slots=True)
class ImageJob:
    """One image to fetch: its reference, the platforms wanted, whether what hangs on it is too.

    With ``sparse`` the index of a list of platforms keeps its bytes, and names those that are not there.
    ``policy`` tells that a policy that asks something of it has changed. ``signatures`` are read unless all
    destinations do without. ``pinned`` is the digest that a lock, or a bundle that was verified, says it has, empty
    without one; what that says hangs on it is ``hanging``. For an image of a bundle on a base, ``base`` has the bundles
    that what is left out is read from; what none of them has must be at the destinations. None where there is no word
    of a base. For an image that goes into a bundle on a base as it is, ``since`` is that base's digest: layers that it
    has are not fetched.
    """

    source: str
    platforms: "Platforms"
    referrers: bool = False
    sparse: bool = False
    policy: str = ""
    signatures: bool = True
    pinned: str = ""
    hanging: Found | None = None
    base: tuple[str, ...] | None = None
    since: str = ""

    @property
    def key(self) -> str:
        """The identity of this job, fit for a folder name."""
        return key_of(self.document())

    @property
    def reads(self) -> str:
        """The reference to read: with a digest where a registry is not to be asked what the tag means."""
        if not self.pinned:
            return self.source
        found = parse_reference(self.source)
        if not isinstance(found, DockerReference):
            return self.source
        return str(found._replace(tag="", digest=Digest.parse(self.pinned)))

    def refuse_other(self, found: Digest) -> None:
        """Raise `ContentError` where the source names another image than the lock says, or its bundle.json said."""
        if self.pinned and str(found) != self.pinned:
            if self.source.startswith("bundle:"):
                raise ContentError(f"{self.source}: is {found}, and was verified as {self.pinned}", advice="run again")
            raise ContentError(
                f"{self.source}: is {found}, and the lock says {self.pinned}",
                advice="bring that back, or make the lock again",
            )

    def document(self) -> Object:
        """Return the JSON object of the job in a plan."""
        # What is not asked for is left out: older plans, and the keys of what they did, are without it.
        return {
            "source": self.source,
            "platforms": self.platforms if isinstance(self.platforms, str) else list(self.platforms),
            **({"referrers": True} if self.referrers else {}),
            **({"sparse": True} if self.sparse else {}),
            **({"policy": self.policy} if self.policy else {}),
            **({} if self.signatures else {"signatures": False}),
            **({"pinned": self.pinned} if self.pinned else {}),
            **({"hanging": self.hanging.to_document()} if self.hanging is not None else {}),
            **({"base": list(self.base)} if self.base is not None else {}),
            **({"since": self.since} if self.since else {}),
        }

    @classmethod
    def read(cls, item: "dict[str, object]") -> "ImageJob":
        """Return the job of an object that ``schemas/plan.schema.json`` has accepted.

        Raises:
            ContentError: it is malformed all the same.
        """
        platforms = item["platforms"]
        return cls(
            str(item["source"]),
            platforms if isinstance(platforms, str) else _texts(platforms),
            item.get("referrers") is True,
            item.get("sparse") is True,
            str(item.get("policy", "")),
            item.get("signatures") is not False,
            str(item.get("pinned", "")),
            Found.read(cast("Json", item["hanging"])) if "hanging" in item else None,
            _texts(item["base"]) if "base" in item else None,
            str(item.get("since", "")),
        )


def key_of(document: Object) -> str:
    """Return the digest of what identifies a thing, short, fit for a folder name."""
    return hashlib.sha256(dump(document)).hexdigest()[:24]


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(text) for text in value) if isinstance(value, list) else ()
