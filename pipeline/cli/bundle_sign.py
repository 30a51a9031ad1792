"""``transship bundle sign``: signatures beside bundles that are there already."""

import argparse
from pathlib import Path

from transship.pipeline.cli.bundle_keys import sign, signing
from transship.pipeline.errors import UsageError
from transship.pipeline.transports.checksums import bundles_named


def perform(options: argparse.Namespace) -> int:
    """Verify each and sign it, unless that key has signed it already; return 0."""
    with signing(options) as signers:
        if not signers:
            raise UsageError(
                "bundle sign: no key to sign with", advice="say --sign-by or --sign-by-sigstore-private-key"
            )
        for path in bundles_named(map(Path, options.bundles)):
            sign(path, signers)
    return 0
