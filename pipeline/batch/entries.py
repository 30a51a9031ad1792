"""The entries of a batch file, defaults merged in and checked as far as no network is needed."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from transship.pipeline.batch.keys import read_keys
from transship.pipeline.batch.model import Platforms, RegistrySettings, Wish
from transship.pipeline.batch.reading import Document
from transship.pipeline.batch.reading import Path as Place
from transship.pipeline.batch.select import Selector, pattern, version_range
from transship.pipeline.batch.signatures import NOTHING, SigningWords, read_signing
from transship.pipeline.compression.codecs import Compression, wrong_level
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.manifest.platform import Platform
from transship.pipeline.reference import READ_ONLY, PathReference, Reference, TarballReference, parse_reference

PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_WORDS: Final = ("registry", "repository", "name", "tag", "digest")
_WISHES: Final = (
    "manifests",
    "config",
    "layers",
    "level",
    "force",
    "foreign",
    "max-layer-size",
    "max-layer-ratio",
    "reversible",
    "fail-on-loss",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of ``images``; ``source`` is a repository where ``selector`` is set. Templates are unfilled.

    ``said`` is the entry as it stands, with the defaults.
    """

    at: Place
    source: Reference
    selector: Selector | None
    platforms: Platforms
    explicit_platforms: bool
    wish: Wish
    templates: tuple[tuple[Place, str], ...]
    referrers: bool = False
    sparse: bool = False
    signing: SigningWords = NOTHING
    said: Mapping[str, Any] = field(default_factory=dict)

    def repository(self) -> DockerReference:
        """Return the repository that ``selector`` chooses from."""
        if not isinstance(self.source, DockerReference):
            raise TypeError("only a registry has tags to select from")
        return self.source


def read_entry(document: Document, folder: Path, defaults: Mapping[str, Any], number: int, image: Any) -> Entry:
    """Return entry ``number`` of ``images``, without templates where ``to`` is nowhere said.

    Relative paths are taken from ``folder``.

    Raises:
        UsageError: a value is malformed, or not supported yet.
    """
    at: Place = ("images", number)
    merged = {**defaults, **image}
    places: dict[str, Place] = {key: (*at, key) if key in image else ("defaults", key) for key in merged}
    if merged.get("sparse") and not isinstance(merged.get("platforms"), list):
        raise document.refusal(places["sparse"], "goes with a list of platforms", "say platforms: [linux/amd64, ...]")
    return Entry(
        at=at,
        source=_source(document, folder, places["from"], merged),
        selector=_selector(document, places["tags"], merged["tags"]) if "tags" in merged else None,
        platforms=_platforms(document, places, merged.get("platforms", "all")),
        # `all` under defaults says no more than the default itself does: of an index, a docker-archive
        # then gets this machine's image.
        explicit_platforms="platforms" in image or merged.get("platforms", "all") != "all",
        wish=_wish(document, folder, places, merged),
        templates=tuple(_template(document, (*places["to"], n), text) for n, text in enumerate(merged.get("to", ()))),
        referrers=merged.get("referrers", False),
        sparse=merged.get("sparse", False),
        signing=read_signing(document, folder, places, merged),
        said=merged,
    )


def refuse_aimless(document: Document, entry: Entry) -> None:
    """Raise `UsageError` where an image goes nowhere."""
    if not entry.templates:
        raise document.refusal(entry.at, "no destination", "say to: here or under defaults")


def read_registries(document: Document, folder: Path, registries: Mapping[str, Any]) -> dict[str, RegistrySettings]:
    """Return the settings of each registry by host[:port]; relative paths are taken from ``folder``.

    Raises:
        UsageError: a key is no registry, or two are the same one.
    """
    found: dict[str, RegistrySettings] = {}
    for host, said in registries.items():
        at: Place = ("registries", host)
        name = _host(document, at, host)
        if name in found:
            raise document.refusal(at, f"{name} stands twice")
        found[name] = RegistrySettings(
            tls_verify=said.get("tls-verify"),
            concurrency=said.get("concurrency"),
            authfile=absolute(folder, said["authfile"]) if "authfile" in said else "",
            cert_dir=absolute(folder, said["cert-dir"]) if "cert-dir" in said else "",
            patience=said.get("patience", {}),
        )
    return found


def absolute(folder: Path, path: str) -> str:
    """Return ``path`` as seen from ``folder``: absolute, without ``.`` and ``..``."""
    return os.path.normpath(folder / path)


def settle(folder: Path, reference: PathReference) -> PathReference:
    """Return ``reference`` with its path absolute.

    Raises:
        UsageError: the folder's own name cannot be spelt in a reference of this transport.
    """
    return PathReference(reference.transport, absolute(folder, reference.path), reference.name, reference.index)


def _settle_tarball(folder: Path, reference: TarballReference) -> TarballReference:
    if "-" in reference.paths:
        raise UsageError(f"{reference}: standard input cannot be read again", advice="name a file")
    found = parse_reference(f"tarball:{':'.join(absolute(folder, path) for path in reference.paths)}")
    assert isinstance(found, TarballReference)
    if len(found.paths) != len(reference.paths):
        raise UsageError(f"{reference}: {shown(str(folder))} holds a ':'", advice="rename or link it")
    return found


def _source(document: Document, folder: Path, at: Place, merged: Mapping[str, Any]) -> Reference:
    try:
        if "tags" in merged:
            return DockerReference.parse_repository(merged["from"])
        found = parse_reference(merged["from"])
        if isinstance(found, TarballReference):
            return _settle_tarball(folder, found)
        return settle(folder, found) if isinstance(found, PathReference) else found
    except UsageError as error:
        raise document.refusal(at, error.message, error.advice) from error


def _selector(document: Document, at: Place, tags: Any) -> Selector:
    if isinstance(tags, list):
        for number, tag in enumerate(tags):
            _refuse_tag(document, (*at, number), tag)
        return Selector(names=tuple(tags))
    made: dict[str, Any] = {}
    for key, build in (("regex", pattern), ("exclude", pattern), ("semver", version_range)):
        if key in tags:
            try:
                made["versions" if key == "semver" else key] = build(tags[key])
            except UsageError as error:
                raise document.refusal((*at, key), error.message, error.advice) from error
    return Selector(**made, newest=tags.get("newest"))


def _refuse_tag(document: Document, at: Place, tag: str) -> None:
    try:
        if DockerReference.parse(f"x.y/z:{tag}").tag == tag:
            return
    except UsageError as error:
        raise document.refusal(at, error.message, error.advice) from error
    raise document.refusal(at, f"{shown(tag)!r} is not a tag")


def _platforms(document: Document, places: Mapping[str, Place], said: Any) -> Platforms:
    for number, name in enumerate(said if isinstance(said, list) else [said]):
        if isinstance(said, list) or name not in {"all", "host"}:
            at = (*places["platforms"], number) if isinstance(said, list) else places["platforms"]
            try:
                Platform.parse(name)
            except UsageError as error:
                advice = error.advice if isinstance(said, list) else f"{error.advice}, all or host"
                raise document.refusal(at, error.message, advice) from error
    return tuple(said) if isinstance(said, list) else str(said)


def _wish(document: Document, folder: Path, places: Mapping[str, Place], merged: Mapping[str, Any]) -> Wish:
    keys = read_keys(document, partial(absolute, folder), places, merged)
    wish = Wish(**keys, **{key.replace("-", "_"): merged[key] for key in _WISHES if key in merged})
    wrong = wrong_level(Compression(wish.layers), wish.level) if wish.level and wish.layers != "keep" else ""
    if wrong:
        raise document.refusal(places["level"], wrong)
    return wish


def _template(document: Document, at: Place, text: str) -> tuple[Place, str]:
    transport = text.partition(":")[0]
    if transport in READ_ONLY:
        advice = "write to any other transport"
        raise document.refusal(at, f"{shown(text)!r} cannot be written to", advice)
    for name in PLACEHOLDER.findall(text):
        if name not in _WORDS:
            known = ", ".join(f"{{{word}}}" for word in _WORDS)
            raise document.refusal(at, f"unknown placeholder {{{shown(name)}}}", f"known are {known}")
    return at, text


def _host(document: Document, at: Place, host: str) -> str:
    try:
        found = DockerReference.parse_repository(f"docker://{host}/library/x")
    except UsageError as error:
        raise document.refusal(at, error.message, error.advice) from error
    if found.repository != "library/x":
        raise document.refusal(at, f"{shown(host)!r} is no registry", "expected host[:port]")
    return found.registry
