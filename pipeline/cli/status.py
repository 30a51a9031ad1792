"""``transship status``: where every image of a run stands, also while it runs."""

import argparse
import json
from collections import Counter

from transship.pipeline.cli.folder import open_run
from transship.pipeline.errors import LONGEST_LINE, shown
from transship.pipeline.report import fold


def perform(options: argparse.Namespace) -> int:
    """Print the states; return 0 whatever they are."""
    root, plan = open_run(options.run)
    lines = list(fold(root, plan))
    counts = Counter(line.state for line in lines)
    if options.json:
        images = [{"source": ln.source, "destination": ln.destination, "state": ln.state} for ln in lines]
        print(json.dumps({"name": plan.name, "states": dict(counts), "images": images}, indent=2))
        return 0
    for line in lines:
        if line.state != "verified":
            why = f": {shown(line.error, LONGEST_LINE)}" if line.error else ""
            print(f"{line.state:9} {line.source} -> {line.destination}{why}")
    print(f"{plan.name}: " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    return 0
