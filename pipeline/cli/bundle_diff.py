"""``transship bundle diff``: what one bundle has and another has not."""

import argparse
import json
from pathlib import Path

from transship.pipeline.bundle.listing import Change, difference
from transship.pipeline.bundle.opened import opened
from transship.pipeline.cli.progress import size
from transship.pipeline.errors import LONGEST_LINE, shown
from transship.pipeline.transports.checksums import bundles_named


def perform(options: argparse.Namespace) -> int:
    """Print it; return 0."""
    before, after = (bundles_named([Path(name)])[0] for name in (options.old, options.new))
    with opened(before) as old, opened(after) as new:
        found = difference(old, new)
    if options.json:
        print(json.dumps(found.document(), indent=2))
        return 0
    for change in found.changes:
        print(shown(_line(change), LONGEST_LINE))
        for sign, layers in (("+", change.came), ("-", change.went)):
            for digest, count in layers.items():
                print(f"  {sign} layer {digest}  {size(count)}")
    sides = [f"{len(blobs)} blobs, {size(sum(blobs.values()))}" for blobs in (found.came, found.went)]
    print(f"{len(found.changes)} images differ; new: {sides[0]}; gone: {sides[1]}")
    return 0


def _line(change: Change) -> str:
    if not change.old:
        return f"{change.name}: new, {change.new}"
    return f"{change.name}: {change.old} -> {change.new}" if change.new else f"{change.name}: gone, was {change.old}"
