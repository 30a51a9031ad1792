"""Figures for docs/reliability.md: what a case came to, said by the test that holds it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

REPORT = os.environ.get("TRANSSHIP_FIGURES", "")
"""Where `make faults-report` collects them; elsewhere nothing is kept and no other tool is run."""
FULL = os.environ.get("TRANSSHIP_FULL", "") == "1"
"""Whether blobs are as large and sweeps as dense as the list of cases says, or scaled down."""


def figure(case: int, said: str, tool: str = "transship") -> None:
    """Note what ``tool`` came to in ``case``; several notes of one case are all shown, in order."""
    _note({"case": case, "tool": tool, "said": said})


def tally(case: int, said: str, total: Mapping[str, float], most: Mapping[str, float] | None = None) -> None:
    """Note a part of a figure that many tests come to together: of ``total`` the sum is shown, of ``most`` the largest.

    ``said`` is what is shown, a format of these names; notes of the same case and words are one figure.
    """
    _note({"case": case, "tool": "transship", "said": said, "total": dict(total), "most": dict(most or {})})


def _note(document: Mapping[str, object]) -> None:
    if REPORT:
        with Path(REPORT).open("a") as stream:
            stream.write(json.dumps(document) + "\n")


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
