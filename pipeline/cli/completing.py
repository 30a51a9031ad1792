"""What may come next on a command line, for the scripts of ``transship completion``. Loaded when a shell asks."""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, NoReturn

from argcomplete.finders import CompletionFinder

from transship.pipeline.cli.commands import COMMANDS, GROUPS, HIDDEN
from transship.pipeline.cli.main import add_arguments, main_parser
from transship.pipeline.cli.parser import Parser
from transship.pipeline.reference import READ_ONLY, TRANSPORTS

DESCRIPTIONS: Final = "TRANSSHIP_COMPLETION_DESCRIPTIONS"
"""Set to 0, what an option or command does is not shown beside it; the name is as cobra's, for skopeo's users."""
_FOLDERS: Final = frozenset({"oci", "dir"})
_NO_FILES: Final = frozenset({"docker", "docker-daemon", "containers-storage"})


def answer() -> NoReturn:
    """Write what may come next where the shell's script reads it, and end the process."""
    CompletionFinder()(_whole_parser(), always_complete_options=False, exclude=HIDDEN)
    os._exit(1)


def _whole_parser() -> Parser:
    """Return one parser with every command in it."""
    parser = main_parser()
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    described = os.environ.get(DESCRIPTIONS) != "0"
    groups = {name: commands.add_parser(name, help=GROUPS[name] if described else "") for name in sorted(GROUPS)}
    below = {name: group.add_subparsers(metavar="COMMAND", parser_class=Parser) for name, group in groups.items()}
    for name, summary in {**COMMANDS, **HIDDEN}.items():
        group, _, last = name.rpartition(" ")
        chosen = below[group] if group else commands
        add_arguments(chosen.add_parser(last, help=summary if described else ""), name)
    topics = commands.add_parser("help", help="show the help of a command" if described else "")
    topics.add_argument("topic", choices=tuple(name for name in COMMANDS if " " not in name), help="the command")
    parsers = [parser, *commands.choices.values()]
    parsers += [found for group in below.values() for found in group.choices.values()]
    for listed in parsers:
        for action in listed.listed:
            _teach(action, listed.prog.rpartition(" ")[2])
            if not described and action.help != argparse.SUPPRESS:
                action.help = ""
    return parser


def _teach(action: argparse.Action, command: str) -> None:
    """Say what the values of an argument are, by what help calls them."""
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    chosen: Callable[..., Iterable[str]] | None = None
    if metavar in ("FILE", "OLD-FILE", "NEW-FILE", "BATCH", "MANIFEST-FILE", "PATH"):
        chosen = _files
    elif metavar == "DIR":
        chosen = _folders
    elif metavar in ("SRC", "IMAGE-NAME", "DST", "SOURCE-IMAGE"):
        chosen = _References(_transports(command, metavar))
    elif metavar in ("RUN", "RUN|REFERENCE"):
        chosen = _Runs(TRANSPORTS if "REFERENCE" in metavar else ())
    elif metavar in ("SOURCE", "DESTINATION"):
        chosen = _files
    elif not action.choices and action.nargs is None:
        chosen = _nothing
    if chosen is not None:
        action.completer = chosen  # type: ignore[attr-defined] # what argcomplete looks for


def _transports(command: str, metavar: str) -> tuple[str, ...]:
    if command == "list-tags":
        return ("docker", "docker-archive", "bundle")
    if command == "delete":
        return ("docker", "oci", "containers-storage")
    return tuple(name for name in TRANSPORTS if metavar != "DST" or name not in READ_ONLY)


def _nothing(**_: object) -> list[str]:
    return []


def _files(prefix: str, **_: object) -> list[str]:
    return list(_paths(prefix))


def _folders(prefix: str, **_: object) -> list[str]:
    return [path for path in _paths(prefix) if path.endswith("/")]


def _paths(prefix: str) -> Iterator[str]:
    """Yield what begins so, folders with a ``/``; hidden ones only where that is asked for."""
    folder, name = os.path.split(prefix)
    with suppress(OSError), os.scandir(os.path.expanduser(folder) or ".") as entries:
        for entry in entries:
            if entry.name.startswith(name) and entry.name.startswith(".") <= name.startswith("."):
                yield os.path.join(folder, entry.name) + ("/" if entry.is_dir() else "")


class _References:
    """Completes references: the transport, then a path where it has one."""

    def __init__(self, transports: Iterable[str]) -> None:
        self._transports = tuple(transports)

    def __call__(self, prefix: str, **_: object) -> list[str]:
        transport, colon, rest = prefix.partition(":")
        if not colon:
            return [f"{name}:" for name in self._transports]
        if transport not in self._transports:
            return []
        if transport in _NO_FILES:
            return ["docker://"] if transport == "docker" and "//".startswith(rest) else []
        # A tarball has several.
        done, more, rest = rest.rpartition(":") if transport == "tarball" else ("", "", rest)
        paths = _folders(rest) if transport in _FOLDERS else _files(rest)
        return [f"{transport}:{done}{more}{path}" for path in paths]


class _Runs:
    """Completes run folders, names of runs under runs/, and references where ``transports`` are taken."""

    def __init__(self, transports: Iterable[str]) -> None:
        self._references = _References(transports)

    def __call__(self, prefix: str, **_: object) -> list[str]:
        names: list[str] = []
        with suppress(OSError):
            names = [entry.name for entry in os.scandir("runs") if entry.is_dir()]
        return [*names, *_folders(prefix), *self._references(prefix)]
