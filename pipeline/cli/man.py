"""The pages of the manual for ``man``: ``python -m transship.pipeline.cli.man FOLDER`` writes one a command.

Source of the form: man(7).
"""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from transship.pipeline import __version__
from transship.pipeline.cli.commands import COMMANDS, HIDDEN
from transship.pipeline.cli.main import command_parser, main_parser
from transship.pipeline.cli.manual import Entry, Sheet, sheet

_ESCAPES: Final = str.maketrans({"\\": r"\e", "-": r"\-", "'": r"\(aq", "~": r"\(ti", "^": r"\(ha"})
_WIDTH: Final = 72
_ENVIRONMENT: Final = (
    Entry("REGISTRY_AUTH_FILE", "file of registry credentials, where no --authfile is given"),
    Entry("DOCKER_HOST", "where the Docker Engine is, where no --daemon-host is given"),
    Entry("HTTPS_PROXY, HTTP_PROXY, NO_PROXY", "proxy on the way to registries, and hosts that are reached without it"),
    Entry("TMPDIR", "folder for large temporary files, where no --tmpdir is given"),
    Entry("TRANSSHIP_COMPLETION_DESCRIPTIONS", "0 has shells complete words alone, without what they do"),
)


def write(folder: Path) -> list[Path]:
    """Write every page to ``folder``, made where there is none; return the files. The same pages are the same bytes.

    Raises:
        OSError: the disk refused.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for command in ("", *COMMANDS, *HIDDEN):
        found = sheet(command_parser(command) if command else main_parser())
        path = folder / f"{_name(command)}.1"
        path.write_text("\n".join(_lines(found)) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _name(command: str) -> str:
    return f"transship-{command.replace(' ', '-')}" if command else "transship"


def _lines(found: Sheet) -> Iterator[str]:
    name = _name(found.command)
    yield f'.TH {_bare(name).upper()} 1 "" "transship {__version__}" "transship"'
    yield from (".SH NAME", f"{_bare(name)} \\- {_bare(found.summary)}")
    yield from (".SH SYNOPSIS", f".B {_bare(found.synopsis)}")
    yield ".SH DESCRIPTION"
    for number, paragraph in enumerate(found.page.description):
        yield from ([".PP"] if number else [])
        yield from _paragraph(paragraph)
    yield from _entries("ARGUMENTS" if found.command else "COMMANDS", found.arguments)
    for title, entries in found.options:
        yield from _entries(title.upper(), entries)
    if not found.command:
        yield from _entries("ENVIRONMENT", _ENVIRONMENT)
    yield from _entries("EXIT STATUS", [Entry(str(code), text) for code, text in found.page.codes])
    if found.page.examples:
        yield ".SH EXAMPLES"
        for number, (what, line) in enumerate(found.page.examples):
            yield from ([".PP"] if number else [])
            yield from (f"{_bare(what[:1].upper() + what[1:])}:", ".PP", ".RS 4", ".nf", _bare(line), ".fi", ".RE")
    others = [""] if found.command else [*COMMANDS]
    yield ".SH SEE ALSO"
    yield from (f".BR {_bare(_name(other))} (1){',' if other != others[-1] else ''}" for other in others)


def _entries(title: str, entries: Sequence[Entry]) -> Iterator[str]:
    if not entries:
        return
    yield f".SH {_bare(title)}"
    for entry in entries:
        yield from (".TP", f".B {_bare(entry.spelt)}", *_paragraph(entry.text))


def _paragraph(text: str) -> Iterator[str]:
    """Yield lines of text; one that roff would take for a request does not begin as that."""
    for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False):
        yield f"\\&{_bare(line)}" if line.startswith(".") else _bare(line)


def _bare(text: str) -> str:
    """Return text that roff shows as it is."""
    return text.translate(_ESCAPES)


if __name__ == "__main__":
    for page in write(Path(sys.argv[1])):
        print(page)
