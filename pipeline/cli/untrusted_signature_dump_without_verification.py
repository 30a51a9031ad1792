"""What an OpenPGP signature claims, unverified: for who looks why one is refused, and for nothing else."""

import argparse
import json
from datetime import UTC, datetime

from transship.pipeline.errors import ContentError
from transship.pipeline.trust.material import read_file
from transship.pipeline.trust.openpgp import read_message
from transship.pipeline.trust.payload import SIMPLE, parse


def perform(options: argparse.Namespace) -> int:
    """Print it as JSON with skopeo's keys; return 0."""
    path = options.signature
    message = read_message(read_file(path, "signature"), path)
    said = parse(message.text, SIMPLE, path)
    claims = {
        "UntrustedDockerManifestDigest": str(said.digest),
        "UntrustedDockerReference": said.reference,
        "UntrustedCreatorID": said.creator,
        "UntrustedTimestamp": None if said.timestamp is None else _local(said.timestamp, path),
        "UntrustedShortKeyIdentifier": message.key_id,
    }
    print(json.dumps(claims, indent=4, ensure_ascii=False))
    return 0


def _local(seconds: int, path: str) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat().replace("+00:00", "Z")
    except (OverflowError, OSError, ValueError) as error:
        raise ContentError(f"{path}: timestamp {seconds} is no time") from error
