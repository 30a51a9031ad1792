"""References in a Dockerfile.

Source: the Dockerfile reference, "Parser directives", "FROM", "ARG", "COPY --from", "RUN --mount".
"""

import re
from collections.abc import Iterator
from typing import Final

from transship.pipeline.rewrite.spot import VARIABLE, Spot, lines_of

_DIRECTIVE: Final = re.compile(r"\s*#\s*(\w+)\s*=\s*(\S+)\s*", re.ASCII)
_HEREDOC: Final = re.compile(r"<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2")
_WORD: Final = re.compile(r"\S+")
_MOUNT: Final = re.compile(r"(?:^--mount=|,)from=([^,\s]+)")
_TAKES_HEREDOCS: Final = frozenset({"RUN", "COPY", "ADD"})
_NO_IMAGE: Final = "scratch"


def find(text: str, name: str) -> Iterator[Spot]:
    """Yield the images of FROM, of COPY --from and of RUN --mount, and the defaults of the ARGs that FROM takes whole.

    A name of an earlier stage is none. What ``# syntax=`` names is an image too: the one that reads the file.
    """
    yield from (spot for name, spot in _directives(lines_of(text)) if name == "syntax")
    stages: set[str] = {_NO_IMAGE}
    defaults: dict[str, Spot] = {}
    begun = False
    for words in _instructions(text):
        kind = words[0].text.upper()
        rest = words[1:]
        if kind == "FROM":
            begun = True
            yield from _from([word for word in rest if not word.text.startswith("--")], stages, defaults)
        elif kind == "ARG" and not begun:
            defaults.update(_defaults(rest))
        else:
            for spot in _mentioned(rest):
                if spot.text.lower() not in stages and not spot.text.isdigit():
                    yield spot._replace(variable="$" in spot.text)


def _from(words: list[Spot], stages: set[str], defaults: dict[str, Spot]) -> Iterator[Spot]:
    if words and words[0].text.lower() not in stages:
        image = words[0]
        variable = VARIABLE.fullmatch(image.text)
        if variable:
            spot = defaults.pop(variable[1] or variable[2], None)
            if spot:
                yield spot
            if variable[3]:
                yield Spot(image.start + variable.start(3), variable[3])
        else:
            yield image._replace(variable="$" in image.text)
    if len(words) > 2 and words[1].text.upper() == "AS":
        stages.add(words[2].text.lower())


def _defaults(words: list[Spot]) -> Iterator[tuple[str, Spot]]:
    for word in words:
        name, joint, value = word.text.partition("=")
        if joint:
            bare = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
            yield name, Spot(word.start + len(name) + 1 + (bare != value), bare, variable="$" in bare)


def _mentioned(words: list[Spot]) -> Iterator[Spot]:
    for word in words:
        if not word.text.startswith("--"):
            break
        if word.text.startswith("--from="):
            yield Spot(word.start + len("--from="), word.text.removeprefix("--from="))
        for mount in _MOUNT.finditer(word.text) if word.text.startswith("--mount=") else ():
            yield Spot(word.start + mount.start(1), mount[1])


def _instructions(text: str) -> Iterator[list[Spot]]:
    """Yield the words of each instruction, with their places; what is below a heredoc is none."""
    lines = lines_of(text)
    escape = _escape(lines)
    at = number = 0
    while number < len(lines):
        begun, joined = at, ""
        goes_on = True
        while goes_on and number < len(lines):
            line = lines[number]
            bare = line.rstrip()
            comment = bare.lstrip().startswith("#") or not bare
            goes_on = bare.endswith(escape) if not comment else bool(joined)
            # As long as the text, so that places in it are places in the file.
            joined += " " * len(line) if comment else bare.removesuffix(escape if goes_on else "").ljust(len(line))
            at += len(line)
            number += 1
        words = [Spot(begun + word.start(), word[0]) for word in _WORD.finditer(joined)]
        if words and words[0].text.upper() == "ONBUILD":
            words = words[1:]
        if words:
            yield words
        if words and words[0].text.upper() in _TAKES_HEREDOCS:
            for heredoc in _HEREDOC.finditer(joined):
                while number < len(lines):
                    line = lines[number].rstrip("\r\n")
                    at += len(lines[number])
                    number += 1
                    if (line.lstrip("\t") if heredoc[1] else line) == heredoc[3]:
                        break


def _escape(lines: list[str]) -> str:
    return next((spot.text for name, spot in _directives(lines) if name == "escape"), "\\")


def _directives(lines: list[str]) -> Iterator[tuple[str, Spot]]:
    """Yield name and value of each parser directive; the first line that is none ends them."""
    at = 0
    for line in lines:
        found = _DIRECTIVE.fullmatch(line)
        if not found:
            break
        yield found[1].lower(), Spot(at + found.start(2), found[2])
        at += len(line)
