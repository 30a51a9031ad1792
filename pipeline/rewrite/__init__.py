"""Puts the new references of a run's images into files that name the old ones; all other bytes stay."""

import difflib
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import NamedTuple

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.rewrite import dockerfile, plain, yaml_file
from transship.pipeline.rewrite.references import References
from transship.pipeline.rewrite.spot import Spot, lines_of

_YAML = frozenset({".yaml", ".yml", ".json"})
_DOCKERFILES = ("dockerfile", "containerfile")


class Rewritten(NamedTuple):
    """A file's text before and after, and what in it could not be decided, each a line that says where."""

    before: str
    after: str
    notes: tuple[str, ...]

    def diff(self, name: str) -> str:
        """Return the unified diff, empty where nothing changes."""
        lines = lines_of(self.before), lines_of(self.after)
        return "".join(
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(*lines, f"a/{name}", f"b/{name}")
        )


def rewrite(name: str, raw: bytes, references: References) -> Rewritten:
    """Return ``raw``, the file ``name``, with the new references in the places of the old ones.

    YAML and JSON by their ending, a Dockerfile by its name, all else is a list with a reference a line.
    Decode and encode nothing else: ``after.encode()`` differs from ``raw`` in references alone.

    Raises:
        UsageError: it is no UTF-8, or YAML that cannot be read, or a reference went to several places.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}: not UTF-8 text, at byte {error.start}", advice="leave it out") from error
    parts: list[str] = []
    notes: list[str] = []
    at = 0
    for spot in sorted(_finder(name)(text, name)):
        new, note = None, "holds a variable, not looked into"
        if not spot.variable:
            new, note = references.new(spot.text, short=spot.image)
        if note:
            line = text.count("\n", 0, spot.start) + 1
            notes.append(f"{name}:{line}: {shown(spot.text)}: {note}")
        if new is not None:
            parts += [text[at : spot.start], new]
            at = spot.start + len(spot.text)
    return Rewritten(text, "".join((*parts, text[at:])), tuple(notes))


def _finder(name: str) -> Callable[[str, str], Iterator[Spot]]:
    path = PurePath(name.lower())
    if path.suffix in _YAML:
        return yaml_file.find
    is_dockerfile = path.name.partition(".")[0] in _DOCKERFILES or path.suffix.lstrip(".") in _DOCKERFILES
    return dockerfile.find if is_dockerfile else plain.find
