"""Under which name an image must be signed: the kinds of ``signedIdentity``. Source: containers-policy.json(5)."""

import re
from typing import Final, NamedTuple, TypeAlias

from transship.pipeline.docker_name import DockerReference, named
from transship.pipeline.errors import UsageError, shown

_DOMAIN: Final = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?|\[[0-9A-Fa-f:]+\](?::[0-9]+)?"
_PATH: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*"


class RepoDigestOrExact(NamedTuple):
    """The very name; for an image asked for by digest the repository. What holds where nothing is said."""

    kind: str = "matchRepoDigestOrExact"


class Exact(NamedTuple):
    """The very name, tag or digest included."""

    kind: str = "matchExact"


class Repository(NamedTuple):
    """The repository, under any tag or digest."""

    kind: str = "matchRepository"


class ExactReference(NamedTuple):
    """The name ``reference``, whatever the image is asked for by."""

    reference: DockerReference
    kind: str = "exactReference"


class ExactRepository(NamedTuple):
    """Any name in the repository ``name``, whatever the image is asked for by."""

    name: str
    kind: str = "exactRepository"


class Remapped(NamedTuple):
    """As `RepoDigestOrExact`, with ``signed_prefix`` in place of ``prefix`` in the image's name."""

    prefix: str
    signed_prefix: str
    kind: str = "remapIdentity"


Relative: TypeAlias = RepoDigestOrExact | Exact | Repository | Remapped
"""The kinds that compare with the name of the image."""
Identity: TypeAlias = Relative | ExactReference | ExactRepository


def exact_reference(text: str) -> ExactReference:
    """Return the identity; raises `UsageError` where ``text`` is no name with a tag or a digest."""
    found = named(text)
    if not (found.tag or found.digest):
        raise UsageError(f"{shown(text)!r} has neither a tag nor a digest", advice="expected name:tag or name@digest")
    return ExactReference(found)


def exact_repository(text: str) -> ExactRepository:
    """Return the identity; raises `UsageError` where ``text`` is no name."""
    return ExactRepository(named(text).name)


def remapped(prefix: str, signed_prefix: str) -> Remapped:
    """Return the identity; raises `UsageError` where one of both is no host, nor host and namespace."""
    for text in (prefix, signed_prefix):
        if not re.fullmatch(rf"(?:{_DOMAIN})(?:/{_PATH})?", text):
            raise UsageError(f"prefix {shown(text)!r} is not valid", advice="expected host[:port][/namespace]")
    return Remapped(prefix, signed_prefix)


def matches(identity: Identity, image: DockerReference | None, signed: str) -> bool:
    """Say whether an image known as ``image`` may be signed under the name ``signed``.

    An image without a name, as one in a folder, matches the exact kinds alone. A name that is no name matches nothing.
    """
    try:
        claimed = named(signed)
    except UsageError:
        return False
    if isinstance(identity, ExactRepository):
        return claimed.name == identity.name
    if isinstance(identity, ExactReference):
        return claimed == identity.reference
    return image is not None and _fits(identity, image, claimed)


def _fits(identity: Relative, image: DockerReference, claimed: DockerReference) -> bool:
    if isinstance(identity, Repository):
        return claimed.name == image.name
    if isinstance(identity, Exact):
        return bool(claimed.tag or claimed.digest) and claimed == image
    found = _remap(identity, image) if isinstance(identity, Remapped) else image
    return found is not None and _repo_digest_or_exact(found, claimed)


def _repo_digest_or_exact(image: DockerReference, claimed: DockerReference) -> bool:
    if not (claimed.tag or claimed.digest):
        return False
    if image.tag:
        return claimed == image
    # The digest itself is compared where the signature is: with the manifest that it is about.
    return image.digest is not None and claimed.name == image.name


def _remap(identity: Remapped, image: DockerReference) -> DockerReference | None:
    """Return the image's name with its prefix exchanged, the name itself with another one, None for no name."""
    name = image.name
    if name != identity.prefix and not name.startswith(f"{identity.prefix}/"):
        return image
    made = identity.signed_prefix + name[len(identity.prefix) :]
    try:
        found = named(made)
    except UsageError:
        return None
    return found._replace(tag=image.tag, digest=image.digest) if found.name == made else None
