"""``transship``: options shared by all commands, errors as one line, exit codes.

Of skopeo's commands: 0 done; 1 failed, wrong options too; 2 the image was not found. Of
transship's own: 2 options, batch file or reference wrong, or not there. 130 interrupted.
"""

import gc
import importlib
import os
import resource
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from transship.pipeline import __version__
from transship.pipeline.cli import arguments, global_options, streams
from transship.pipeline.cli.commands import ABSENT, COMMANDS, GROUPS, OWN, grouped, nearest, summary
from transship.pipeline.cli.parser import Parser
from transship.pipeline.errors import LONGEST_LINE, Error, NotFoundError, UsageError, shown

INTERRUPTED: Final = 130
TERMINATED: Final = 143
_NAMELESS: Final = "a temporary file"
_YOUNG: Final = 20_000
"""Objects made before they are looked through for cycles: loading modules makes tens of thousands, and no cycles."""


def start() -> NoReturn:
    """Run the command line of this process to the end of the process.

    Ends it without taking the interpreter apart, which takes longer than a small command: the kernel frees
    memory faster. What a command began has ended before; standard output is flushed here.
    """
    gc.set_threshold(_YOUNG)
    # A core file would hold passwords and keys. Of a limit of one byte also those know who are piped cores: core(5).
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (min(1, most) if most >= 0 else 1, most))
    streams.take_over()
    try:
        code = main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else bool(ended.code)
    _end(code)


def _end(code: int) -> NoReturn:
    """Write out what the streams hold, and end the process at once."""
    try:
        sys.stdout.flush()
    except streams.OutputError as error:
        _say(f"transship: {error}")
        code = code or 1
    sys.stderr.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Prints errors to standard error, never a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "_ARGCOMPLETE" in os.environ:
        importlib.import_module("transship.pipeline.cli.completing").answer()
    parser = main_parser()
    before, command, after = split(parser, words)
    try:
        return _dispatch(parser, before, command, after)
    except Error as error:
        _show(words)
        _say(f"transship: {error}")
        return _code(error, command)
    except global_options.TimeUpError:
        _say("transship: the time of --command-timeout is up; what is done is kept")
        _end(1)
    except KeyboardInterrupt as error:
        told = isinstance(error, global_options.TerminatedError)
        why = "told to end" if told else "interrupted"
        _say(f"transship: {why}; what is done is kept, run the same command to go on")
        # Threads that wait for a slow registry would hold the interpreter; all state on disk is safe.
        _end(TERMINATED if told else INTERRUPTED)
    except OSError as error:
        _show(words)
        from transship.pipeline.disk import disk_error  # noqa: PLC0415 - help and a misspelt option cost little

        _say(f"transship: {disk_error(error.filename or _NAMELESS, error)}")
        return 1


def _show(words: Sequence[str]) -> None:
    """Print the traceback of the error at hand where ``--debug`` asks for it."""
    if "--debug" in words:
        import traceback  # noqa: PLC0415 - nobody else has a use for it

        traceback.print_exc()


def _code(error: Error, command: str) -> int:
    if isinstance(error, NotFoundError):
        return 2
    return 2 if isinstance(error, UsageError) and command in OWN else 1


def split(parser: Parser, words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Return what stands before the command, the command, of two words where it has two, and what follows it."""
    valued = parser.valued()
    position = 0
    while position < len(words) and words[position].startswith("-"):
        position += 2 if words[position] in valued else 1
    return list(words[:position]), *grouped("".join(words[position : position + 1]), words[position + 1 :])


def _dispatch(parser: Parser, before: list[str], command: str, after: list[str]) -> int:
    found = parser.parse_args(before)
    if not command:
        raise UsageError("no command", advice="see transship --help")
    if command == "help":
        return _help(parser, after)
    if command in GROUPS:
        return _group(command, after)
    options = command_parser(command).parse_args(after, found)
    options.command = command
    global_options.check(options)
    # What a command needs is loaded once its arguments are sound: help and a misspelt option cost little.
    chosen = importlib.import_module(f"transship.pipeline.cli.{command.replace('-', '_').replace(' ', '_')}")
    with global_options.applied(options):
        return int(chosen.perform(options))


def _help(parser: Parser, topic: list[str]) -> int:
    command, _ = grouped("".join(topic[:1]), topic[1:])
    if command in GROUPS:
        return _group(command, ["--help"])
    (command_parser(command) if command and not command.startswith("-") else parser).print_help()
    return 0


def _group(command: str, after: Sequence[str]) -> int:
    """Say what commands begin so, where that was asked; else refuse."""
    found = {name: text for name, text in COMMANDS.items() if name.startswith(f"{command} ")}
    if not {"-h", "--help"} & set(after):
        wrong = f"{command} {shown(after[0])} is no command" if after else f"{command}: a word is missing"
        words = ", ".join(name.partition(" ")[2] for name in found)
        raise UsageError(wrong, advice=f"expected {command} and one of {words}")
    print(f"usage: transship {command} COMMAND ...\n\nCommands:")
    for name, text in found.items():
        print(f"  {name:<16}{text}")
    print(f"\nHelp of a command: transship {command} COMMAND --help")
    return 0


def main_parser() -> Parser:
    """Return the parser of what stands before a command."""
    parser = Parser("transship")
    parser.add_argument(
        "-v", "--version", action="version", version=f"transship {__version__}", help="print the version and end"
    )
    global_options.add(parser, command=False)
    return parser


def command_parser(command: str) -> Parser:
    """Return the parser of what follows ``command``.

    Raises:
        UsageError: there is no such command; the message says which may be meant.
    """
    if command in ABSENT:
        raise UsageError(f"{command} is not offered: {ABSENT[command]}", advice="use skopeo's")
    if not summary(command):
        meant = nearest(command)
        advice = f"did you mean {meant}?" if meant else "see transship --help"
        raise UsageError(f"unknown command {shown(command)!r}", advice=advice)
    parser = Parser(f"transship {command}")
    add_arguments(parser, command)
    return parser


def add_arguments(parser: Parser, command: str) -> None:
    """Add what a command takes, the global options too."""
    arguments.ADD[command](parser)
    global_options.add(parser, command=True)


def _say(text: str) -> None:
    # Whatever went into it, it stays one line.
    print(shown(text, LONGEST_LINE), file=sys.stderr, flush=True)


if __name__ == "__main__":
    start()
