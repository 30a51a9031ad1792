"""Platforms and which of an index's instances serve one.

Source: OCI image-spec image-index.md "platform"; the variant fallbacks are those of
containers-image's ``internal/pkg/platform``.
"""

import os
from typing import Final, NamedTuple

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.manifest.document import Json, Object
from transship.pipeline.manifest.fields import Fields

_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_ARM_VARIANTS: Final = {"armv7l": "v7", "armv6l": "v6"}
# Compatible variants, best first: a v7 processor runs v6 images, not v8 ones.
_VARIANTS: Final = {
    "arm": ("v8", "v7", "v6", "v5"),
    "arm64": ("v8",),
}


class Platform(NamedTuple):
    """What an image runs on; an empty string is a part not said."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Platform":
        """Return the platform of ``os/architecture[/variant]``.

        Raises:
            UsageError: any other shape.
        """
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(part and part.isascii() and part.isprintable() for part in parts):
            raise UsageError(f"not a platform: {shown(text)!r}", advice="expected os/architecture[/variant]")
        return cls(parts[0], parts[1], parts[2] if len(parts) == 3 else "")

    @classmethod
    def read(cls, fields: Fields) -> "Platform":
        """Return the platform object of an index's descriptor."""
        return cls(
            os=fields.optional_text("os"),
            architecture=fields.optional_text("architecture"),
            variant=fields.optional_text("variant"),
            os_version=fields.optional_text("os.version"),
            os_features=fields.texts("os.features"),
        )

    def document(self) -> Object:
        """Return the platform object as image-index.md writes it."""
        parts: dict[str, Json] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            parts["os.version"] = self.os_version
        if self.os_features:
            parts["os.features"] = list(self.os_features)
        if self.variant:
            parts["variant"] = self.variant
        return parts

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def host() -> Platform:
    """Return the platform that images for this machine have: always linux, as in skopeo off Windows."""
    name = os.uname().machine
    return Platform("linux", _ARCHITECTURES.get(name, name), _ARM_VARIANTS.get(name, ""))


def acceptable(wanted: Platform) -> list[Platform]:
    """Return the platforms that serve ``wanted``, best first.

    With a variant: that one, the older ones it is compatible with, then none said.
    Without: none said, then the newest first.
    """
    known = _VARIANTS.get(wanted.architecture, ())
    if wanted.variant in known:
        variants = [*known[known.index(wanted.variant) :], ""]
    elif wanted.variant:
        variants = [wanted.variant, ""]
    else:
        variants = ["", *known]
    return [
        Platform(wanted.os, wanted.architecture, variant, wanted.os_version, wanted.os_features) for variant in variants
    ]


def serves(offered: Platform, wanted: Platform) -> bool:
    """Say whether an image for ``offered`` is exactly what ``wanted`` names; parts not wanted are free."""
    return (
        (offered.os, offered.architecture, offered.variant) == (wanted.os, wanted.architecture, wanted.variant)
        and (not wanted.os_version or offered.os_version == wanted.os_version)
        and set(wanted.os_features) <= set(offered.os_features)
    )
