"""``transship standalone-sign``: an OpenPGP signature of a manifest in a file."""

import argparse
from pathlib import Path

from transship.pipeline.cli.manifest_digest import read_manifest
from transship.pipeline.docker_name import named
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import UsageError, once_found
from transship.pipeline.signature import to_file
from transship.pipeline.trust.signing import GpgSigner, sign


def perform(options: argparse.Namespace) -> int:
    """Write it; return 0."""
    if not options.output:
        raise UsageError("standalone-sign: --output is missing", advice="say -o FILE")
    manifest = read_manifest(options.manifest)
    signer = GpgSigner(options.key_fingerprint, options.passphrase_file)
    made = sign(signer, manifest.digest, named(options.docker_reference), options.docker_reference)
    with once_found():
        write_durably(Path(options.output), to_file(made))
    return 0
