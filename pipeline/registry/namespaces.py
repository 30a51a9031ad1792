"""Where images are that have a name, by registries.conf: prefixes, locations, mirrors. No I/O.

Source: containers-registries.conf(5). The longest prefix decides alone. ``example.com`` is a prefix of
``example.com:5000`` too, as container tools have it.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import DeniedError, UsageError, shown

AUTH_FILES: Final = "containers-auth.json"
"""The credential helper that is the auth files."""
When: TypeAlias = Literal["all", "digest-only", "tag-only"]


class Endpoint(NamedTuple):
    """Where a prefix really is: ``location`` takes its place, empty for the name as it stands.

    ``insecure`` accepts any certificate and plain HTTP; ``when`` says for which references a mirror is asked.
    """

    location: str
    insecure: bool = False
    when: When = "all"


class Namespace(NamedTuple):
    """One ``[[registry]]``: what names it is about and where those images are; ``origin`` is ``file:line``."""

    prefix: str
    primary: Endpoint
    mirrors: tuple[Endpoint, ...] = ()
    blocked: bool = False
    origin: str = ""


class Place(NamedTuple):
    """Where one image really is. ``blocked`` is the origin of what forbids to ask there, empty for nothing."""

    reference: DockerReference
    insecure: bool = False
    blocked: str = ""

    def checked(self) -> "Place":
        """Return this place.

        Raises:
            DeniedError: it is blocked.
        """
        if self.blocked:
            raise DeniedError(f"{self.reference.name or self.reference.registry}: blocked by {self.blocked}")
        return self


class RegistriesConf(NamedTuple):
    """All registries.conf files together; ``search`` are the unqualified-search registries, ``helpers`` in order."""

    namespaces: tuple[Namespace, ...] = ()
    search: tuple[str, ...] = ()
    helpers: tuple[str, ...] = (AUTH_FILES,)

    def find(self, name: str) -> Namespace | None:
        """Return what has the longest prefix of ``name``: a registry, or a reference without its transport."""
        fitting = [one for one in self.namespaces if match(name, one.prefix) is not None]
        return max(fitting, key=lambda one: len(one.prefix), default=None)

    def registry(self, name: str) -> tuple[bool, str]:
        """Return whether the registry ``name`` (host[:port]) is insecure, and what blocks it, empty for nothing."""
        found = self.find(name)
        return (found.primary.insecure, _block(found)) if found else (False, "")

    def named(self, reference: DockerReference) -> Place:
        """Return an image or a repository where its name says, wherever it is read from; it may be blocked."""
        found = self.find(_spelt(reference))
        return Place(reference, found.primary.insecure, _block(found)) if found else Place(reference)

    def primary(self, reference: DockerReference) -> Place:
        """Return where an image or a repository is read from that no mirror has; it may be blocked.

        Raises:
            UsageError: what the file makes of it is no reference.
        """
        found = self.find(_spelt(reference))
        if found is None:
            return Place(reference)
        place = self._place(reference, found, found.primary)
        return place._replace(blocked=_block(found) or place.blocked)

    def to_read(self, reference: DockerReference) -> list[Place]:
        """Return where to ask for an image, in order: its mirrors, then the place itself; none of them is blocked.

        A registry that is blocked may have mirrors, which then are all that is asked.

        Raises:
            DeniedError: all are blocked.
            UsageError: as `primary`.
        """
        found = self.find(_spelt(reference))
        mirrors = [
            self._place(reference, found, mirror)
            for mirror in (found.mirrors if found else ())
            if found and mirror.when in ("all", "digest-only" if reference.digest else "tag-only")
        ]
        primary = self.primary(reference)
        places = [place for place in (*mirrors, primary) if not place.blocked]
        return places or [primary.checked()]

    def _place(self, reference: DockerReference, found: Namespace, endpoint: Endpoint) -> Place:
        if not endpoint.location:
            return Place(reference, endpoint.insecure)
        spelt = _spelt(reference)
        there = f"{endpoint.location}{spelt[match(spelt, found.prefix) or 0 :]}"
        try:
            moved = DockerReference.parse_repository(f"docker://{there}") if _bare(reference) else None
            moved = moved or DockerReference.parse(there)
        except UsageError as error:
            raise UsageError(f"{found.origin}: {reference} would be {shown(there)!r}: {error.message}") from error
        if _spelt(moved) != there:
            raise UsageError(
                f"{found.origin}: {reference} would be {shown(there)!r}, which is no full name",
                advice="begin the location with host[:port], and docker.io/library/ where that is meant",
            )
        return Place(moved, endpoint.insecure, _block(self.find(there)))


def match(name: str, prefix: str) -> int | None:
    """Return how much of ``name`` the prefix covers, None where it is none of it.

    ``*.example.com`` covers the host of every name below that domain, at any depth.
    """
    if prefix.startswith("*."):
        host = name.partition("/")[0].partition("@")[0].partition(":")[0]
        return len(host) if host.endswith(prefix[1:]) else None
    if name == prefix or (name.startswith(prefix) and name[len(prefix)] in ":/@"):
        return len(prefix)
    return None


def _block(found: Namespace | None) -> str:
    return found.origin if found and found.blocked else ""


def _spelt(reference: DockerReference) -> str:
    return str(reference).removeprefix("docker://")


def _bare(reference: DockerReference) -> bool:
    return not reference.tag and reference.digest is None
