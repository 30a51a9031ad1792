"""The map of a run: what references of before are called now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import UsageError
from transship.pipeline.reference import parse_reference
from transship.pipeline.report import Line


class Moved(NamedTuple):
    """An image that went from ``source`` to ``destination``; ``digests`` are its manifests', new by old.

    ``verified`` is false where it has not arrived, as far as is known.
    """

    source: DockerReference
    destination: DockerReference
    root: str
    digests: Mapping[str, str]
    verified: bool


class References:
    """All images of a run that went from registry to registry."""

    def __init__(self, moved: Iterable[Moved]) -> None:
        self._moved: defaultdict[str, list[Moved]] = defaultdict(list)
        for image in moved:
            self._moved[image.source.name].append(image)

    @classmethod
    def of(cls, lines: Iterable[Line], to: str = "") -> "References":
        """Return those of a run's report; of the destinations only those that begin with ``to``."""
        moved = []
        for line in lines:
            source, destination = parse_reference(line.source), parse_reference(line.destination)
            if not isinstance(source, DockerReference) or not isinstance(destination, DockerReference):
                continue
            if str(destination).removeprefix("docker://").startswith(to):
                manifests = {change.old: change.new for change in line.changes if change.kind == "manifest"}
                digests = {line.old: line.new or line.old} | manifests
                moved.append(Moved(source, destination, line.new, digests, line.state == "verified"))
        return cls(moved)

    @property
    def empty(self) -> bool:
        """Whether nothing went from a registry to one."""
        return not self._moved

    def new(self, text: str, *, short: bool) -> tuple[str | None, str]:
        """Return the new reference for ``text``, None if it is none of the run's; and why it is None although it is.

        docker.io, library/ and :latest may be left out where ``short`` says so; else registry and tag or digest
        must stand there.

        Raises:
            UsageError: it went to several places.
        """
        base, at, digest = text.partition("@")
        tagged = ":" in base.rpartition("/")[2]
        host = base.partition("/")[0]
        complete = (tagged or at) and "/" in base and (set(".:") & set(host) or host == "localhost")
        if not (short or complete):
            return None, ""
        try:
            old = DockerReference.parse(base)
        except UsageError:
            return None, ""
        found = [
            image
            for image in self._moved.get(old.name, ())
            if (digest in image.digests if at else image.source.tag == old.tag)
        ]
        ready = [image for image in found if image.verified]
        if found and not ready:
            return None, "not rewritten, its image is not verified"
        made = dict.fromkeys(_named(image, image.digests[digest] if at else "", tagged) for image in ready)
        if len(made) > 1:
            raise UsageError(f"{text} went to several places: {', '.join(made)}", advice="say --to with one of them")
        return next(iter(made), None), ""


def _named(image: Moved, digest: str, tagged: bool) -> str:
    """Return the new name: by digest where the old one was, with a tag where the old one had one."""
    destination = image.destination
    if digest or not destination.tag:
        tag = f":{destination.tag}" if tagged and destination.tag else ""
        return f"{destination.name}{tag}@{digest or image.root}"
    return f"{destination.name}:{destination.tag}"
