"""Writes docs/reliability.md from the figures that the tests noted: `make faults-report`."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from faults.cases import CASES

_HEAD = """# Reliability: what faults cost, and what comes of them

Made by `make faults-report` from what the tests in `tests/faults/`, `tests/hostile/` and `tests/fuzz/` saw when they
ran; each holds the case of its number, and fails where the figure gets worse. All against a real registry on loopback,
behind a proxy that breaks connections as told (`tests/support/fault_proxy.py`). Blobs are of {size} here: 20 MB, or
200 MB with `TRANSSHIP_FULL=1`, which also kills and fails a run at every step. Seconds are those of a busy machine. The
columns of skopeo and crane are what others measured once, on one machine, with skopeo 1.22.0-dev (b71619af) and crane
v0.21.10-0 (3f4ff3ca); what stands behind "here:" is {version}, given the same faults in this run.

| # | fault | transship | skopeo | crane |
|---|---|---|---|---|
"""


def told(notes: Iterable[dict[str, Any]]) -> list[tuple[tuple[int, str], str]]:
    """Return what is to be shown, by case and tool, in the order of the notes; parts of one figure are added up."""
    parts: dict[tuple[tuple[int, str], str], dict[str, float]] = {}
    for note in notes:
        found = parts.setdefault(((note["case"], note["tool"]), note["said"]), {})
        for name, value in note.get("total", {}).items():
            found[name] = found.get(name, 0) + value
        for name, value in note.get("most", {}).items():
            found[name] = max(found.get(name, 0), value)
    return [(key, words.format_map(found) if found else words) for (key, words), found in parts.items()]


def report(figures: Path, size: str) -> str:
    """Return the document; a case that no test noted anything of says so."""
    said: dict[tuple[int, str], dict[str, None]] = defaultdict(dict)
    for (case, tool), words in told(map(json.loads, figures.read_text().splitlines())):
        said[case, tool][words.replace("|", "\\|")] = None
    version = subprocess.run(["skopeo", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    rows = []
    for number, case in CASES.items():
        ours = "<br>".join(said[number, "transship"]) or "no figure"
        here = "<br>".join(said[number, "skopeo"])
        skopeo = "<br>".join(part for part in (case.skopeo, f"here: {here}" if here else "") if part)
        rows.append(f"| {number} | {case.fault} | {ours} | {skopeo or '-'} | {case.crane or '-'} |")
    return _HEAD.format(size=size, version=version) + "\n".join(rows) + "\n"


if __name__ == "__main__":
    figures, size, target = sys.argv[1:]
    Path(target).write_text(report(Path(figures), size))
