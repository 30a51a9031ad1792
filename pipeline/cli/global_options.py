"""skopeo's global options: taken before the command and after it, never ignored."""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from transship.pipeline.cli.flags import duration, flag
from transship.pipeline.errors import UsageError

_FILES: Final = ("registries.d", "registries-conf", "tls-details", "user-agent-prefix")
_CHOOSES: Final = frozenset(
    {"copy", "inspect", "list-tags", "delete", "layers", "manifest-digest", "login", "logout", "sync"}
)
"""skopeo's commands; for the others ``--override-*`` would mean nothing, as a batch file names its platforms."""


_ASKS_NONE: Final = frozenset(
    {
        *("run", "status", "report", "serve", "manifest-digest", "completion"),
        *("bundle create", "bundle verify", "bundle list", "bundle diff"),
    }
)
"""Commands that reach no registry, or by what a batch file says."""


class TimeUpError(KeyboardInterrupt):
    """``--command-timeout`` has passed; like a Ctrl-C, nothing on the way handles it as a failure of one image."""


class TerminatedError(KeyboardInterrupt):
    """A SIGTERM has come; as clean a stop as a Ctrl-C, as a service manager and a shutdown expect."""


def add(parser: argparse.ArgumentParser, *, command: bool) -> None:
    """Add the options to the main parser, or hidden, and without defaults, to that of a ``command``."""

    def unless_command(value: object) -> object:
        return argparse.SUPPRESS if command else value

    def said(text: str) -> str:
        return argparse.SUPPRESS if command else text

    def valued(name: str, metavar: str, text: str, default: str | None = "") -> None:
        parser.add_argument(
            f"--{name}", metavar=metavar, default=unless_command(default), dest=_dest(name), help=said(text)
        )

    flag(
        parser,
        "--debug",
        help=said("log what is done on standard error, and show tracebacks of errors"),
        default=unless_command(False),
    )
    flag(
        parser,
        "--insecure-policy",
        help=said("accept images whatever a policy says, signed or not"),
        default=unless_command(False),
    )
    valued(
        "policy",
        "FILE",
        "the signature policy (default: policy.json of the user, else of the system; else none)",
        default=None,
    )
    flag(
        parser,
        "--require-signed",
        help=said("refuse images of which the policy asks no signature"),
        default=unless_command(False),
    )
    valued("override-arch", "ARCH", "choose images for this architecture (default: this machine's)")
    valued("override-os", "OS", "choose images for this operating system (default: linux)")
    valued(
        "override-variant", "VARIANT", "choose images for this variant of the architecture (default: this machine's)"
    )
    valued(
        "tmpdir",
        "DIR",
        "folder for large temporary files (default: TMPDIR, else /tmp or /var/tmp)",
    )
    parser.add_argument(
        "--command-timeout",
        metavar="DURATION",
        type=duration,
        default=unless_command(0.0),
        help=said("give up after so long, such as 90s or 5m (default: never)"),
    )
    valued("registries.d", "DIR", "where signatures are kept, by *.yaml files there (default: registries.d)")
    parser.add_argument("--registries-conf", default=unless_command(""), help=argparse.SUPPRESS)
    valued("tls-details", "FILE", "TLS versions, ciphers and groups allowed: containers-tls-details.yaml")
    valued("user-agent-prefix", "TEXT", "put this before transship's User-Agent")
    if not command:
        # Where old scripts for skopeo have it; a command's own says otherwise.
        flag(parser, "--tls-verify", help=argparse.SUPPRESS, default=None)


def check(options: argparse.Namespace) -> None:
    """Raise `UsageError` for an option that means nothing to the command, or excludes another."""
    words = vars(options)
    if words["insecure_policy"] and words["require_signed"]:
        raise UsageError("--insecure-policy and --require-signed exclude each other", advice="keep one of them")
    if words["policy"] == "":
        # A variable that a script forgot to set must not mean that nothing is asked.
        raise UsageError("--policy: names no file", advice="name one, or leave it out for the usual places")
    if words["tls_verify"] is not None and options.command in _ASKS_NONE:
        raise UsageError(f"--tls-verify: {options.command} asks no registry by it", advice="leave it out")
    for name in ("override-arch", "override-os", "override-variant"):
        if words[_dest(name)] and options.command not in _CHOOSES:
            raise UsageError(f"--{name}: {options.command} does not choose by it", advice="name the platforms instead")
    if any(words[_dest(name)] for name in _FILES):
        from transship.pipeline.cli.connect import check_files  # noqa: PLC0415 - loads what help needs not

        check_files(options)


@contextmanager
def applied(options: argparse.Namespace) -> Iterator[None]:
    """Use ``--debug``, ``--tmpdir`` and ``--command-timeout`` inside.

    Raises there `TimeUpError` once the time is up, `TerminatedError` on a SIGTERM.
    """
    import signal  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _terminate)
    if options.tmpdir:
        import tempfile  # noqa: PLC0415

        tempfile.tempdir = options.tmpdir
    with ExitStack() as entered:
        if options.debug:
            from transship.pipeline.cli.debug_log import debug_log  # noqa: PLC0415

            entered.enter_context(debug_log())
        if options.command_timeout:
            entered.enter_context(_limited(options.command_timeout))
        yield


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    import signal  # noqa: PLC0415

    def stop(*_: object) -> None:
        raise TimeUpError

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _terminate(*_: object) -> None:
    raise TerminatedError


def _dest(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")
