"""``transship bundle verify``: every byte of a bundle, offline."""

import argparse
import sys
from pathlib import Path

from transship.pipeline.bundle.verify import Verdict, verify_bundle
from transship.pipeline.cli.bundle_keys import vouching
from transship.pipeline.errors import LONGEST_LINE, ContentError, RefusedError, shown
from transship.pipeline.transports.checksums import bundles_named


def perform(options: argparse.Namespace) -> int:
    """Verify each; return 1 where something is wrong with one, else 0."""
    bad = 0
    with vouching(options) as vouched:
        for path in bundles_named(map(Path, options.bundles)):
            try:
                said = vouched(path)
            except (RefusedError, ContentError) as error:
                print(shown(f"transship: {error}", LONGEST_LINE), file=sys.stderr)
                bad += 1
                continue
            found = verify_bundle(path, said)
            _tell(str(path), found)
            bad += not found.sound
    return 1 if bad else 0


def _tell(name: str, found: Verdict) -> None:
    for line in found.lines():
        print(shown(f"{name}: {line}", LONGEST_LINE), file=sys.stderr)
    if found.said is None:
        print(f"{name}: no image in it can be vouched for")
        return
    whole = len(found.said.images) - len(found.damaged)
    more = f", {len(found.damaged)} damaged" if found.damaged else ""
    print(f"{name}: {whole} images whole{more}, {len(found.said.blobs)} blobs, {found.bytes} bytes")
