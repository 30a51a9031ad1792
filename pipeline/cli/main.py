"""``transship``: options shared by all commands, errors as one line, exit codes.

Of skopeo's commands: 0 done; 1 failed, wrong options too; 2 the image was not found. Of
transship's own: 2 options, batch file or reference wrong, or not there. 130 interrupted.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from transship.pipeline import __version__
from transship.pipeline.cli import arguments, global_options
from transship.pipeline.errors import LONGEST_LINE, Error, NotFoundError, UsageError, shown

_COMMANDS: Final = {
    "run": "copy and convert every image of a batch file; run again to resume",
    "status": "show where every image of a run stands",
    "verify": "re-read and re-hash a run's destinations, or any image",
    "report": "show what happened: digests old and new, bytes, losses, errors",
    "serve": "serve a layout, archive or dir: as a read-only registry",
    "copy": "copy one image",
    "inspect": "show what an image is",
    "list-tags": "list the tags of a repository, or the names in a docker-archive",
    "delete": "delete an image from a registry, an OCI layout or Podman's storage",
    "layers": "write the blobs of an image to a folder layers-* here (deprecated: use copy)",
    "manifest-digest": "compute the digest of a manifest in a file",
    "login": "check credentials with a registry and keep them",
    "logout": "forget the credentials for a registry",
    "sync": "copy many images: of a repository, a folder or a source file of skopeo's",
}
_OWN: Final = frozenset({"run", "status", "verify", "report", "serve"})
"""Commands that skopeo does not have."""
INTERRUPTED: Final = 130
TERMINATED: Final = 143


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
        return _code(error, _command(words))
    except global_options.TimeUpError:
        _say("transship: the time of --command-timeout is up; what is done is kept")
        sys.stdout.flush()
        os._exit(1)
    except KeyboardInterrupt as error:
        told = isinstance(error, global_options.TerminatedError)
        why = "told to end" if told else "interrupted"
        _say(f"transship: {why}; what is done is kept, run the same command to go on")
        # Threads that wait for a slow registry would hold the interpreter; all state on disk is safe.
        sys.stdout.flush()
        os._exit(TERMINATED if told else INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _code(error: Error, command: str) -> int:
    if isinstance(error, NotFoundError):
        return 2
    return 2 if isinstance(error, UsageError) and command in _OWN else 1


def _command(words: list[str]) -> str:
    return next((word for word in words if word in _COMMANDS), "")


def _dispatch(words: list[str]) -> int:
    command = _command(words)
    parser = _parser()
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    for name, summary in _COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary.capitalize() + ".", allow_abbrev=False)
        if name == command:
            arguments.ADD[name](sub)
            global_options.add(sub, command=True)
    options = parser.parse_args(words)
    global_options.check(options)
    # What a command needs is loaded once its arguments are sound: help and a misspelt option cost little.
    chosen = importlib.import_module(f"transship.pipeline.cli.{options.command.replace('-', '_')}")
    with global_options.applied(options):
        return int(chosen.perform(options))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="transship",
        description="Move and convert container images in bulk: resumable, verified, reproducible.",
        allow_abbrev=False,
    )
    parser.add_argument("-v", "--version", action="version", version=f"transship {__version__}")
    global_options.add(parser, command=False)
    return parser


def _say(text: str) -> None:
    # Whatever went into it, it stays one line.
    print(shown(text, LONGEST_LINE), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
