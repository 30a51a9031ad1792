"""Figures for docs/reliability.md: what a case came to, said by the test that holds it."""

import json
import os
from pathlib import Path

REPORT = os.environ.get("TRANSSHIP_FIGURES", "")
"""Where `make faults-report` collects them; elsewhere nothing is kept and no other tool is run."""
FULL = os.environ.get("TRANSSHIP_FULL", "") == "1"
"""Whether blobs are as large and sweeps as dense as the list of cases says, or scaled down."""


def figure(case: int, said: str, tool: str = "transship") -> None:
    """Note what ``tool`` came to in ``case``; several notes of one case are all shown, in order."""
    if REPORT:
        with Path(REPORT).open("a") as stream:
            stream.write(json.dumps({"case": case, "tool": tool, "said": said}) + "\n")


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
