"""``transship``: options shared by all commands, errors as one line, exit codes.

0 done; 1 failed; 2 options, batch file or reference wrong, or (copy) the image was not found;
130 interrupted.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from transship.pipeline import __version__
from transship.pipeline.cli import arguments
from transship.pipeline.errors import Error, NotFoundError, UsageError

_COMMANDS: Final = {
    "run": "copy and convert every image of a batch file; run again to resume",
    "status": "show where every image of a run stands",
    "verify": "re-read and re-hash a run's destinations, or any image",
    "report": "show what happened: digests old and new, bytes, losses, errors",
    "serve": "serve a layout, archive or dir: as a read-only registry",
    "copy": "copy one image",
}
INTERRUPTED: Final = 130


class _Parser(argparse.ArgumentParser):
    """Errors as one line that says where help is."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}", advice=f"see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code. Prints errors to standard error, never a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        return _dispatch(words)
    except Error as error:
        if debug:
            raise
        _say(f"transship: {error}")
        return 2 if isinstance(error, UsageError | NotFoundError) else 1
    except KeyboardInterrupt:
        _say("transship: interrupted; what is done is kept, run the same command to go on")
        # Threads that wait for a slow registry would hold the interpreter; all state on disk is safe.
        sys.stdout.flush()
        os._exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _dispatch(words: list[str]) -> int:
    command = next((word for word in words if word in _COMMANDS), "")
    parser = _parser()
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for name, summary in _COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary.capitalize() + ".", allow_abbrev=False)
        if name == command:
            arguments.ADD[name](sub)
    options = parser.parse_args(words)
    # What a command needs is loaded once its arguments are sound: help and a misspelt option cost little.
    chosen = importlib.import_module(f"transship.pipeline.cli.{options.command}")
    return int(chosen.perform(options))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="transship",
        description="Move and convert container images in bulk: resumable, verified, reproducible.",
        allow_abbrev=False,
    )
    parser.add_argument("-v", "--version", action="version", version=f"transship {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    parser.add_argument(
        "--insecure-policy", action="store_true", help="accept unsigned images (no policy is enforced in this version)"
    )
    return parser


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
