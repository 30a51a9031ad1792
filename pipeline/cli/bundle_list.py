"""``transship bundle list``: the images in a bundle."""

import argparse
import json
from pathlib import Path

from transship.pipeline.bundle.listing import listed
from transship.pipeline.bundle.opened import opened
from transship.pipeline.cli.progress import size
from transship.pipeline.errors import LONGEST_LINE, shown
from transship.pipeline.transports.checksums import bundles_named


def perform(options: argparse.Namespace) -> int:
    """Print them; return 0."""
    with opened(bundles_named([Path(options.bundle)])[0]) as trees:
        found = list(listed(trees))
        blobs, base = trees.said.blobs, trees.said.base
    if options.json:
        document = {"images": [one.document() for one in found], "bytes": sum(blob.size for blob in blobs)}
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return 0
    for one in found:
        print(shown(f"{one.image.name}  {one.image.digest}  {size(one.bytes)}", LONGEST_LINE))
        print(shown(f"  from {one.image.source}, {one.image.pinned}", LONGEST_LINE))
        for loss in one.image.losses:
            print(shown(f"  lost: {loss}", LONGEST_LINE))
        for referrer in one.image.referrers:
            print(shown(f"  with: {referrer}", LONGEST_LINE))
    print(f"{len(found)} images, {len(blobs)} blobs, {size(sum(blob.size for blob in blobs))}")
    if base:
        left = sum(blob.size for blob in base.blobs)
        print(f"on a base: {len(base.blobs)} blobs, {size(left)}, are left out, of {base.digest}")
    return 0
