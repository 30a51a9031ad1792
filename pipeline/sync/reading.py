"""The source file of ``sync --src yaml``: registries, what to copy of each and how to reach it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from transship.pipeline.batch.reading import Document, read_document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.batch.select import Selector, pattern, version_range
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.settings import HostSettings
from transship.schemas import SchemaError, validate

_SELECTIONS: Final = ("images", "images-by-tag-regex", "images-by-semver")


@dataclass(frozen=True, slots=True)
class Selection:
    """Images of one repository: the ``named`` ones, or those tags that ``selector`` lets pass."""

    repository: DockerReference
    named: tuple[DockerReference, ...] = ()
    selector: Selector | None = None


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A source file: what to copy, in the file's order; how to reach each registry it says something of.

    ``choice`` is the file without its credentials, for telling whether it asks for something else than before.
    """

    selections: tuple[Selection, ...]
    settings: Mapping[str, HostSettings]
    choice: Mapping[str, Any]


def read_source_file(path: Path, default: HostSettings) -> SourceFile:
    """Return what the file holds; a registry that it says nothing of is reached by ``default``.

    Raises:
        UsageError: unreadable or malformed; names line and key, never a value of ``credentials``.
    """
    document = read_document(path, literal=True)
    try:
        validate("sync", document.value, "")
    except SchemaError as error:
        raise document.refusal(error.path, error.reason) from error
    selections: list[Selection] = []
    settings: dict[str, HostSettings] = {}
    for registry, said in document.value.items():
        selections += _selections(document, registry, said)
        found = _settings(document, (registry,), said, default)
        host = _parse(document, (registry,), f"{registry}/any").registry
        if settings.setdefault(host, found) != found:
            raise document.refusal((registry,), f"{host} stands twice, and is reached in two ways", "say it once")
    choice = {
        registry: {key: value for key, value in said.items() if key != "credentials"}
        for registry, said in document.value.items()
    }
    return SourceFile(tuple(selections), settings, choice)


def _selections(document: Document, registry: str, said: Mapping[str, Any]) -> list[Selection]:
    found: list[Selection] = []
    for key in _SELECTIONS:
        for repository, wanted in said.get(key, {}).items():
            at: Place = (registry, key, repository)
            name = _parse(document, at, f"{registry}/{repository}")
            try:
                found.append(_selection(name, key, wanted))
            except UsageError as error:
                raise document.refusal(at, error.message, error.advice) from error
    return found


def _selection(repository: DockerReference, key: str, wanted: Any) -> Selection:
    if key == "images-by-tag-regex":
        return Selection(repository, selector=Selector(regex=pattern(wanted)))
    if key == "images-by-semver":
        return Selection(repository, selector=Selector(versions=version_range(wanted)))
    if not wanted:
        return Selection(repository, selector=Selector())
    return Selection(repository, tuple(_image(repository, text) for text in wanted))


def _image(repository: DockerReference, text: str) -> DockerReference:
    try:
        return repository._replace(digest=Digest.parse(text))
    except ContentError:
        return DockerReference.parse(f"{repository.name}:{text}")


def _settings(document: Document, at: Place, said: Mapping[str, Any], default: HostSettings) -> HostSettings:
    found = default
    if "credentials" in said:
        found = found._replace(credentials=_credentials(document, (*at, "credentials"), said["credentials"]))
    if "tls-verify" in said:
        found = found._replace(tls_verify=said["tls-verify"].lower() == "true")
    if "cert-dir" in said:
        found = found._replace(cert_dir=said["cert-dir"])
    return found


def _credentials(document: Document, at: Place, said: object) -> Credentials:
    if not isinstance(said, dict) or not set(said) <= {"username", "password"}:
        raise document.refusal(at, "expected username and password")
    username, password = said.get("username"), said.get("password")
    if not isinstance(username, str) or not isinstance(password, str):
        raise document.refusal(at, "username or password is missing, or no text")
    return Credentials(username, password)


def _parse(document: Document, at: Place, text: str) -> DockerReference:
    try:
        return DockerReference.parse_repository(f"docker://{text}")
    except UsageError as error:
        raise document.refusal(at, error.message, error.advice) from error
