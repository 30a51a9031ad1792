"""The pages of the manual, made of the arguments themselves: what ``--help`` prints, and `man` writes.

Loaded when help is asked for.
"""

import argparse
import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from transship.pipeline.cli.commands import COMMANDS, summary
from transship.pipeline.cli.page import Page
from transship.pipeline.cli.pages import PAGES
from transship.pipeline.cli.parser import Parser

_WIDEST: Final = 100
_NARROWEST: Final = 40
_COLUMN: Final = 28
_SIDES: Final = {"src-": "Reaching the source", "dest-": "Reaching the destination"}
_REACHING: Final = frozenset(
    {
        *("authfile", "cert-dir", "tls-verify", "creds", "username", "password", "registry-token", "no-creds"),
        *("daemon-host", "shared-blob-dir"),
    }
)


class Entry(NamedTuple):
    """An argument as it is spelt, with its value, and what it is for."""

    spelt: str
    text: str


class Sheet(NamedTuple):
    """One page: ``options`` are sections of them by title."""

    command: str
    summary: str
    synopsis: str
    arguments: Sequence[Entry]
    options: Sequence[tuple[str, Sequence[Entry]]]
    page: Page


def sheet(parser: Parser) -> Sheet:
    """Return the page of a command, or of transship itself."""
    command = parser.prog.partition(" ")[2]
    shown = [action for action in parser.listed if action.help != argparse.SUPPRESS]
    options = [action for action in shown if action.option_strings]
    places = [action for action in shown if not action.option_strings]
    placed = " ".join(_place(action) for action in places) if command else "COMMAND ..."
    needed = " ".join(f"{action.option_strings[-1]} {_value(action)}" for action in options if action.required)
    synopsis = " ".join(part for part in (parser.prog, needed, "[OPTIONS]", placed) if part)
    titles: dict[str, list[Entry]] = {}
    for action in options:
        titles.setdefault(_section(action), []).append(Entry(_spelt(action), action.help or ""))
    arguments = [Entry(str(action.metavar), action.help or "") for action in places]
    if not command:
        arguments = [Entry(name, text) for name, text in COMMANDS.items()]
    said = summary(command) if command else "move and convert container images in bulk"
    return Sheet(command, said, synopsis, arguments, list(titles.items()), PAGES[command])


def help_text(parser: Parser) -> str:
    """Return a page for a terminal."""
    found = sheet(parser)
    width = _width()
    said = f"{found.summary[:1].upper()}{found.summary[1:]}."
    blocks = [[f"usage: {found.synopsis}"], _wrapped(said, width)]
    blocks += [_wrapped(paragraph, width) for paragraph in found.page.description]
    blocks.append(_listed("Arguments" if found.command else "Commands", found.arguments, width))
    blocks += [_listed(title, entries, width) for title, entries in found.options]
    codes = [Entry(str(code), text) for code, text in found.page.codes]
    blocks.append(_listed("Exit codes", codes, width))
    if found.page.examples:
        blocks.append(["Examples:", *(f"  {line}" for line in _examples(found.page))])
    more = "Help of a command: transship COMMAND --help" if not found.command else "Global options: transship --help"
    blocks.append([more])
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _examples(page: Page) -> Iterable[str]:
    for what, line in page.examples:
        yield from (f"# {what}", line)


def _width() -> int:
    try:
        columns = int(os.environ.get("COLUMNS") or os.get_terminal_size().columns)
    except (OSError, ValueError):
        columns = 80
    return max(_NARROWEST, min(columns, _WIDEST)) - 1


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _listed(title: str, entries: Sequence[Entry], width: int) -> list[str]:
    if not entries:
        return []
    lines = [f"{title}:"]
    column = min(_COLUMN, max(len(entry.spelt) for entry in entries) + 4)
    for entry in entries:
        text = _wrapped(entry.text, max(width - column, _NARROWEST // 2))
        first = f"  {entry.spelt}"
        if len(first) + 2 > column:
            lines.append(first)
            first = ""
        lines += [(first if number == 0 else "").ljust(column) + line for number, line in enumerate(text)]
    return lines


def _section(action: argparse.Action) -> str:
    name = action.option_strings[-1].removeprefix("--")
    for prefix, title in _SIDES.items():
        if name.startswith(prefix) and name.removeprefix(prefix) in _REACHING:
            return title
    return "Reaching a registry, engine or layout" if name in _REACHING else "Options"


def _spelt(action: argparse.Action) -> str:
    names = ", ".join(sorted(action.option_strings, key=len))
    value = _value(action)
    return f"{names} {value}" if value else names


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    value = "|".join(action.choices) if action.choices else str(action.metavar)
    return f"{value}..." if action.nargs in ("+", "*") else value


def _place(action: argparse.Action) -> str:
    name = str(action.metavar)
    return {"?": f"[{name}]", "*": f"[{name}...]", "+": f"{name}..."}.get(str(action.nargs), name)
