"""``transship bundle sign``: signatures beside bundles that are there already."""

import argparse
from pathlib import Path

from transship.pipeline.cli.bundle_keys import sign, signing
from transship.pipeline.errors import UsageError


def perform(options: argparse.Namespace) -> int:
    """Verify each and sign it, unless that key has signed it already; return 0."""
    with signing(options) as signers:
        if not signers:
            raise UsageError(
                "bundle sign: no key to sign with", advice="say --sign-by or --sign-by-sigstore-private-key"
            )
        for name in options.bundles:
            sign(Path(name), signers)
    return 0
