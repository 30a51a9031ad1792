"""The parser of a command line: errors of one line, and help as a manual page has it."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NoReturn

from transship.pipeline.errors import UsageError

_WIDTH: Final = 80


class Parser(argparse.ArgumentParser):
    """The parser of one command, or of what stands before it; ``listed`` are its arguments as they were added."""

    def __init__(self, prog: str) -> None:
        self.listed: list[argparse.Action] = []
        # Each argument is tried on a formatter, which without a width asks the terminal for its own.
        formatter = partial(argparse.HelpFormatter, width=_WIDTH)
        super().__init__(prog=prog, allow_abbrev=False, add_help=False, formatter_class=formatter)
        self.add_argument("-h", "--help", action="help", help="print this page and end")

    def add_argument(self, *names: str, **words: Any) -> argparse.Action:
        """Add an argument, as `argparse.ArgumentParser.add_argument` does, and list it."""
        action = super().add_argument(*names, **words)
        self.listed.append(action)
        return action

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Return what ``args`` say; as in skopeo a value may begin with ``-``: ``--append-suffix -mirror``."""
        return super().parse_args(self._joined(args or ()), namespace)

    def _joined(self, words: Sequence[str]) -> list[str]:
        """Put each value to its option by ``=``, so that none is taken for an option."""
        valued, found, left = self.valued(), list[str](), iter(words)
        for word in left:
            if word == "--":
                return [*found, word, *left]
            value = next(left, None) if word in valued else None
            found.append(word if value is None else f"{word}={value}")
        return found

    def format_help(self) -> str:
        """Return the help of the command."""
        from transship.pipeline.cli.manual import help_text  # noqa: PLC0415  (few ask for it)

        return help_text(self)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError`."""
        command = self.prog.partition(" ")[2]
        raise UsageError(f"{command}: {message}" if command else message, advice=f"see {self.prog} --help")

    def valued(self) -> frozenset[str]:
        """Return the options that take the next word for their value."""
        return frozenset(
            name
            for action in self.listed
            if action.option_strings and action.nargs is None
            for name in action.option_strings
        )
