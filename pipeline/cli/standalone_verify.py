"""``transship standalone-verify``: an OpenPGP signature of a manifest, both in files."""

import argparse
from contextlib import closing

from transship.pipeline.cli.manifest_digest import read_manifest
from transship.pipeline.docker_name import named
from transship.pipeline.errors import ContentError, UsageError
from transship.pipeline.signature import SimpleSignature, from_file
from transship.pipeline.trust.gpg import Keyring
from transship.pipeline.trust.identity import ExactReference
from transship.pipeline.trust.material import read_file
from transship.pipeline.trust.simple import Signatory, verified

_ANY = "any"


def perform(options: argparse.Namespace) -> int:
    """Print by which key it is; return 0."""
    manifest, expected = read_manifest(options.manifest), named(options.docker_reference)
    fingerprints = tuple(text.strip().upper() for text in options.key_fingerprints.split(","))
    anybody = options.key_fingerprints == _ANY
    if anybody and not options.public_key_file:
        raise UsageError("any: says nothing without --public-key-file", advice="name the fingerprints, or the file")
    raw = read_file(options.signature, "standalone-verify")
    signature = from_file(raw, options.signature)
    if not isinstance(signature, SimpleSignature):
        raise ContentError(f"{options.signature}: is no OpenPGP signature")
    given = [read_file(options.public_key_file, "--public-key-file")] if options.public_key_file else None
    with closing(Keyring(given, "--public-key-file")) as keyring:
        by = Signatory(keyring, keyring.fingerprints if anybody else fingerprints)
        signer = verified(signature, by, manifest, None, ExactReference(expected))
    print(f"Signature verified using fingerprint {signer}, digest {manifest.digest}")
    return 0
