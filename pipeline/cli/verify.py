"""``transship verify``: re-read and re-hash what a run wrote, or any image."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.cli.connect import connect, source_settings
from transship.pipeline.cli.folder import open_run
from transship.pipeline.cli.opened import from_source, from_written
from transship.pipeline.digest import Digest
from transship.pipeline.errors import LONGEST_LINE, ContentError, NotFoundError, TransportError, UsageError, shown
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.reference import SINGLE, PathReference, parse_reference
from transship.pipeline.referrers import refuse_untied
from transship.pipeline.registry.registries import Registries
from transship.pipeline.report import Line, fold
from transship.pipeline.verify import Seen, verify

if TYPE_CHECKING:
    from transship.pipeline.bundle.verify import Verdict

_WRITTEN: Final = frozenset({"written", "verified", "failed"})
"""States of images that may be at their destination; one that failed may have been there before."""


def perform(options: argparse.Namespace) -> int:
    """Verify each; return 1 where anything is missing, damaged or not written yet, else 0."""
    registries = connect(options, source_settings(options, ""))
    seen, bundles = Seen(), _Bundles()
    bad = good = waiting = 0
    try:
        for argument in options.what:
            targets, unwritten = _targets(argument)
            if unwritten:
                print(f"{argument}: {unwritten} images not written yet, see transship status", file=sys.stderr)
            waiting += unwritten
            for target in targets:
                made = target.written and target.reference.startswith("bundle:")
                found = bundles.check(target) if made else _check(target, registries, seen, options.shared_blob_dir)
                bad += not found
                good += found
    finally:
        registries.close()
    print(f"{good} images verified, {bad} not" + (f", {waiting} not written yet" if waiting else ""))
    return 1 if bad or waiting else 0


class _Target(NamedTuple):
    """An image to check: the digest it must have, what hangs on it there, and of a sparse index what is there."""

    reference: str
    expected: Digest | None = None
    referrers: tuple[Referrer, ...] = ()
    kept: tuple[Digest, ...] | None = None
    written: bool = False
    """Whether a run wrote it: then no mirror's copy counts."""


def _targets(argument: str) -> tuple[list[_Target], int]:
    """Return the images to check, and how many a run has not written yet."""
    try:
        parse_reference(argument)
    except UsageError:
        root, plan = open_run(argument)
        lines = list(fold(root, plan))
        there = [line for line in lines if line.state in _WRITTEN]
        return [_target(line) for line in there], len(lines) - len(there)
    return [_Target(argument)], 0


def _target(line: Line) -> _Target:
    hanging = line.hanging.referrers if line.hanging else ()
    return _Target(line.destination, _expected(line), hanging, line.kept, written=True)


def _expected(line: Line) -> Digest | None:
    # Some keep no manifest.
    return Digest.parse(line.new) if line.new and line.destination.partition(":")[0] not in SINGLE else None


class _Bundles:
    """The bundles that a run made: each is read through once, and as what it is, which may lack what its base has."""

    def __init__(self) -> None:
        self._verdicts: dict[str, Verdict] = {}

    def check(self, target: _Target) -> bool:
        """Say whether the image is whole in its bundle; what is wrong with that is printed once."""
        reference = parse_reference(target.reference)
        assert isinstance(reference, PathReference)
        try:
            found = self._verdict(reference.path)
        except NotFoundError as error:
            print(shown(f"{target.reference}: {error}", LONGEST_LINE), file=sys.stderr)
            return False
        images = {image.name: image.digest for image in found.said.images} if found.said else {}
        # Where no image is to blame, none can be vouched for.
        whole = found.sound or (found.damaged and reference.name not in found.damaged)
        return bool(whole) and images.get(reference.name) == target.expected

    def _verdict(self, path: str) -> "Verdict":
        if path not in self._verdicts:
            from transship.pipeline.bundle.verify import verify_bundle  # noqa: PLC0415 - few runs make one

            found = self._verdicts[path] = verify_bundle(Path(path))
            for line in found.lines():
                print(shown(f"{path}: {line}", LONGEST_LINE), file=sys.stderr)
        return self._verdicts[path]


def _check(target: _Target, registries: Registries, seen: Seen, shared_blobs: str) -> bool:
    """Say whether one image is whole; what is wrong with it never ends the check of the others."""
    reference = target.reference
    also = [referrer.manifest for referrer in target.referrers]
    try:
        read = from_written if target.written else from_source
        source = read(parse_reference(reference), registries, shared_blobs)
        try:
            walk = verify(source, target.expected, seen, kept=target.kept, also=also)
            if not walk.findings:
                refuse_untied(source, target.referrers)
        finally:
            source.close()
    except (ContentError, TransportError) as error:
        print(shown(f"{reference}: {error}", LONGEST_LINE), file=sys.stderr)
        return False
    for finding in walk.findings:
        print(shown(f"{reference}: {finding.digest} {finding.fault}: {finding.why}", LONGEST_LINE), file=sys.stderr)
    return not walk.findings
