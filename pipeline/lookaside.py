"""Where signatures of images are kept, by registries.d; no I/O. Source: containers-registries.d(5).

A value that the most exact scope does not have comes from the next one: the manual says otherwise, but this is
what container tools do.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, shown


class Section(NamedTuple):
    """What one section says, None where it is silent; ``origin`` is ``file:line``."""

    read: str | None = None
    write: str | None = None
    attachments: bool | None = None
    origin: str = ""


class Signatures(NamedTuple):
    """For one image: the URLs to read signatures from and to write them to, and whether registries hold any.

    ``read`` and ``write`` are without an ending slash, and are followed by ``@<algorithm>=<hex>/signature-<n>``.
    ``attachments``: sigstore's signatures are in the registry, as images of their own.
    """

    read: str
    write: str
    attachments: bool


class RegistriesD(NamedTuple):
    """All files together: the default and the sections by scope."""

    default: Section = Section()
    scopes: Mapping[str, Section] = {}

    def add(self, default: Section | None, scopes: Mapping[str, Section]) -> "RegistriesD":
        """Return these sections with those of one more file.

        Raises:
            UsageError: a scope stands in two files.
        """
        if default and self.default.origin:
            raise _twice("default-docker", default, self.default)
        for scope, section in scopes.items():
            if scope in self.scopes:
                raise _twice(shown(scope), section, self.scopes[scope])
        return RegistriesD(default or self.default, {**self.scopes, **scopes})

    def signatures(self, reference: DockerReference, usual: str) -> Signatures:
        """Return what holds for an image; ``usual`` is the URL of the store where nothing is said."""
        found = [self.scopes[scope] for scope in scopes(reference) if scope in self.scopes] + [self.default]
        read = next((url for section in found if (url := section.read)), usual)
        write = next((url for section in found if (url := section.write or section.read)), usual)
        said = next((section.attachments for section in found if section.attachments is not None), False)
        path = reference.repository
        return Signatures(f"{read.rstrip('/')}/{path}", f"{write.rstrip('/')}/{path}", said)


def scopes(reference: DockerReference) -> Iterator[str]:
    """Yield the scopes that hold for an image, the most exact first: itself, its namespaces, its registry, domains.

    Source: containers-policy.json(5), "docker:"; a registry with a port has no scope without it.
    """
    yield str(reference).removeprefix("docker://")
    parts = reference.name.split("/")
    yield from ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
    labels = reference.registry.partition(":")[0].split(".")
    yield from (f"*.{'.'.join(labels[count:])}" for count in range(1, len(labels)))


def _twice(what: str, section: Section, other: Section) -> UsageError:
    return UsageError(f"{section.origin}: {what} stands in {other.origin} too", advice="keep one of them")
