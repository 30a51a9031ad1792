"""The names of images in registries and engines: ``[host/]repository[:tag][@digest]``; no I/O.

Source: distribution/reference.
"""

import re
from typing import Final, NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, UsageError, shown

# Compiled when first used: few commands need them.
_HOST: Final = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])"
    r"(?::[0-9]+)?"
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
IMAGE_ID: Final = r"[0-9a-f]{64}"
_MAX_REPOSITORY: Final = 255
HUB: Final = "docker.io"
"""The registry of names that say none."""


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


def named(text: str) -> DockerReference:
    """Return what ``[host/]repository[:tag][@digest]`` spells, with what is absent left empty; raises `UsageError`."""
    if re.fullmatch(IMAGE_ID, text):
        raise UsageError("64 hex digits are an image ID, not a name")
    rest, at, after = text.partition("@")
    digest = digest_of(after) if at else None  # First: what stands before may be a password.
    host, slash, path = rest.partition("/")
    if not slash or not (set(".:") & set(host) or host == "localhost"):
        host, path = HUB, rest
    path, colon, tag = path.partition(":")
    _check_named(host, path, text)
    if colon and not re.fullmatch(_TAG, tag):
        raise UsageError(f"malformed tag {shown(tag)!r}", advice="expected at most 128 of letters, digits, _ . -")
    if host in {HUB, "index.docker.io"}:
        host, path = HUB, path if "/" in path else f"library/{path}"
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


def digest_of(text: str) -> Digest:
    """Return the digest that ``text`` spells; raises `UsageError`."""
    try:
        return Digest.parse(text)
    except ContentError as error:
        raise UsageError(error.message, advice=error.advice) from error
