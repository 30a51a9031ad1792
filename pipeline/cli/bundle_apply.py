"""``transship bundle apply``: bundles that leave out what an older one brought, to where that was loaded."""

import argparse
from pathlib import Path

from transship.pipeline.cli.bundle_load import Loading, bundles_of, load
from transship.pipeline.transports.checksums import bundles_named


def perform(options: argparse.Namespace) -> int:
    """Load them; return 0 where every image is verified, 1 where the base is not there or something failed."""
    bases = bundles_named(Path(name).absolute() for name in options.base)
    return load(options, Loading(bundles_of(options, bases), bases))
