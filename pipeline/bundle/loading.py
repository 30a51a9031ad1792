"""From a bundle to the batch that loads it: each image under the name that it has there. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from transship.pipeline.batch import Batch, Destination, Job, RegistrySettings, Wish
from transship.pipeline.batch.model import Platforms, Target
from transship.pipeline.batch.resolved import Resolved
from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.manifest.document import Json
from transship.pipeline.reference import BUNDLE, DaemonReference, PathReference, StorageReference, parse_reference
from transship.pipeline.referrers import Found
from transship.pipeline.transports.bundle_file import BundleFile

_TARGETS: Final = "docker://registry/prefix, oci:DIR, docker-daemon: or containers-storage:"
_HOST: Final = re.compile(r"localhost|[^/]*[.:][^/]*")


Placing: TypeAlias = Callable[[str, Digest], Target]
"""Says where an image goes, by its name in a bundle and its digest; raises `UsageError` where it has no name there."""


def load_batch(
    bundles: Sequence[tuple[Path, BundleFile]],
    to: str,
    name: str,
    settings: RegistrySettings,
    bases: Sequence[Path] = (),
) -> Batch:
    """Return the batch, called ``name``, that loads all images of ``bundles`` to where ``to`` says.

    ``settings`` say how to reach a registry there. What a bundle leaves out is read from the others, and from the
    bundles ``bases``; what none of them has must be at the destination.

    Raises:
        UsageError: nothing can be loaded there, or two images would have one name.
    """
    target = placing(to)
    jobs: list[Job] = []
    sources: dict[str, str] = {}
    for path, said in bundles:
        wishes = _wishes(said)
        others = tuple(str(other) for other in (*(one for one, _ in bundles), *bases) if other != path)
        base = others if said.base else None
        for image in said.images:
            destination = target(image.name, image.digest)
            source, there = PathReference(BUNDLE, str(path), image.name), str(destination)
            if sources.setdefault(there, str(source)) != str(source):
                raise UsageError(
                    f"{shown(str(source))} would be loaded as {there}, as {shown(sources[there])} is",
                    advice="load one of the bundles elsewhere, or to oci:DIR",
                )
            platforms, sparse = wishes.get(image.name, ("all", False))
            explicit, hanging = sparse, bool(image.referrers)
            goes = (Destination(destination),)
            # What was verified, and may have been signed: the file could be another one by the time it is read again.
            known = Resolved(
                image.digest, image.media_type, image.size, {}, {}, Found(image.referrers) if hanging else None
            )
            job = Job(source, platforms, explicit, Wish(), goes, hanging, sparse, resolved=known, base=base)
            jobs.append(job)
    places = [goes.reference for job in jobs for goes in job.destinations]
    hosts = {place.registry for place in places if isinstance(place, DockerReference)}
    return Batch(name, tuple(jobs), dict.fromkeys(hosts, settings))


def _wishes(said: BundleFile) -> Mapping[str, tuple[Platforms, bool]]:
    """Return of each image that has the index of its source, and not all that is named there, what it has."""
    listed = said.lock.get("images")
    found: dict[str, tuple[Platforms, bool]] = {}
    by_source: dict[str, Json] = {}
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and one.get("sparse") is True:
            by_source[str(one.get("from"))] = one.get("platforms")
    for image in said.images:
        wanted = by_source.get(image.source)
        if isinstance(wanted, list):
            found[image.name] = tuple(str(text) for text in wanted), True
    return found


def placing(to: str) -> Placing:
    """Return where ``to`` has images go; raises `UsageError` where none can go there."""
    transport, colon, rest = to.partition(":")
    if transport == "docker" and rest.startswith("//") and rest.strip("/"):
        return _naming(partial(_in_registry, rest[2:].strip("/")))
    if transport == "oci" and rest:
        folder = str(Path(rest).absolute())
        return _naming(partial(_in_layout, folder))
    if transport in ("docker-daemon", "containers-storage") and colon and (not rest or rest.startswith("[")):
        return _naming(partial(_in_engine, f"{transport}:{rest}"))
    raise UsageError(f"--to {shown(to)}: nothing can be loaded there", advice=f"expected {_TARGETS}")


def _naming(target: Placing) -> Placing:
    def named(name: str, digest: Digest) -> Target:
        try:
            return target(name, digest)
        except UsageError as error:
            raise UsageError(f"{shown(name)}: has no name there: {error.message}", advice=error.advice) from error

    return named


def _in_layout(folder: str, name: str, _digest: Digest) -> Target:
    made = PathReference("oci", folder, name)
    if parse_reference(str(made)) != made:
        raise UsageError(f"{shown(str(made))} would be another place", advice="name a folder without colons")
    return made


def _in_registry(prefix: str, name: str, digest: Digest) -> DockerReference:
    name, at, _ = name.partition("@")
    host, slash, rest = name.partition("/")
    repository = rest if slash and _HOST.fullmatch(host) else name
    # By the digest that it has here: what it had at its source may be another.
    text = f"{prefix}/{repository}" + (f"@{digest}" if at else "")
    return DockerReference.parse(text)


def _in_engine(place: str, name: str, _digest: Digest) -> Target:
    found = parse_reference(f"{place}{name.partition('@')[0]}")
    if not isinstance(found, DaemonReference | StorageReference) or found.named is None or "@" in name:
        raise UsageError("an engine has names with tags alone", advice="load it to a registry or oci:DIR")
    return found
