"""``transship verify``: re-read and re-hash what a run wrote, or any image."""

import argparse
import sys
from collections.abc import Iterator

from transship.pipeline.cli.connect import connect, source_settings
from transship.pipeline.cli.folder import open_run
from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError
from transship.pipeline.reference import parse_reference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.report import fold
from transship.pipeline.transports import open_source
from transship.pipeline.verify import Seen, verify


def perform(options: argparse.Namespace) -> int:
    """Verify each; return 1 where anything is missing or damaged, else 0."""
    registries = connect({}, source_settings(options, ""))
    seen = Seen()
    bad = good = 0
    try:
        for argument in options.what:
            for reference, expected in _targets(argument):
                found = _check(reference, expected, registries, seen)
                bad += not found
                good += found
    finally:
        registries.close()
    print(f"{good} images verified, {bad} not")
    return 1 if bad else 0


def _targets(argument: str) -> Iterator[tuple[str, Digest | None]]:
    """Yield the references to check; a run gives those that it has written, and the digests they must have."""
    try:
        parse_reference(argument)
    except UsageError:
        root, plan = open_run(argument)
        for line in fold(root, plan):
            known = line.new and not line.destination.startswith("docker-archive:")
            yield line.destination, Digest.parse(line.new) if known else None
        return
    yield argument, None


def _check(reference: str, expected: Digest | None, registries: Registries, seen: Seen) -> bool:
    source = open_source(parse_reference(reference), registries)
    try:
        walk = verify(source, expected, seen)
    finally:
        source.close()
    for finding in walk.findings:
        print(f"{reference}: {finding.digest} {finding.fault}: {finding.why}", file=sys.stderr)
    return not walk.findings
