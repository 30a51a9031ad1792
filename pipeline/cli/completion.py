"""``transship completion``: the script that has a shell ask transship itself what may come next."""

import argparse
from typing import Final

_BARE: Final = {
    "bash": "export {}=0",
    "zsh": "export {}=0",
    "fish": "set -gx {} 0",
    "powershell": '$env:{} = "0"',
}


def perform(options: argparse.Namespace) -> int:
    """Print it; return 0."""
    from argcomplete.shell_integration import shellcode  # noqa: PLC0415

    from transship.pipeline.cli.completing import DESCRIPTIONS  # noqa: PLC0415

    print(shellcode(["transship"], shell=options.shell).strip("\n"))
    if options.no_descriptions:
        print(_BARE[options.shell].format(DESCRIPTIONS))
    return 0
