"""``transship bundle list``: the images in a bundle."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from transship.pipeline.bundle.listing import Listed, listed
from transship.pipeline.bundle.opened import opened
from transship.pipeline.cli.progress import size
from transship.pipeline.errors import LONGEST_LINE, shown
from transship.pipeline.transports.checksums import bundles_named


def perform(options: argparse.Namespace) -> int:
    """Print them; return 0."""
    with opened(bundles_named([Path(options.bundle)])[0]) as trees:
        blobs, base = trees.said.blobs, trees.said.base
        found = listed(trees)
        if options.json:
            document = {"images": [one.document() for one in found], "bytes": sum(blob.size for blob in blobs)}
            print(json.dumps(document, indent=2))
            return 0
        lines = [line for one in found for line in _lines(one)]
    for line in lines:
        print(shown(line, LONGEST_LINE))
    print(f"{len(trees.said.images)} images, {len(blobs)} blobs, {size(sum(blob.size for blob in blobs))}")
    if base:
        left = sum(blob.size for blob in base.blobs)
        print(f"on a base: {len(base.blobs)} blobs, {size(left)}, are left out, of {base.digest}")
    return 0


def _lines(one: Listed) -> Iterator[str]:
    yield f"{one.image.name}  {one.image.digest}  {size(one.bytes)}"
    yield f"  from {one.image.source}, {one.image.pinned}"
    yield from (f"  lost: {loss}" for loss in one.image.losses)
    yield from (f"  with: {referrer}" for referrer in one.image.referrers)
