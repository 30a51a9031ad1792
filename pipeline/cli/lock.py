"""``transship lock``: resolve every tag and selector of a batch, write that down, and say later what has changed."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from transship.pipeline.batch import Expanded, expand_batch
from transship.pipeline.batch.lock import find_lock, read_lock
from transship.pipeline.batch.resolved import Resolved
from transship.pipeline.cli.batches import Fault, listing, resolve_all
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import LONGEST_LINE, NotFoundError, UsageError, shown
from transship.pipeline.locking import differences, lock_document
from transship.pipeline.manifest.document import Object, dump_lines

_SHOWN_FAULTS: Final = 20


def perform(options: argparse.Namespace) -> int:
    """Write the lock, or compare one; return 1 where an image cannot be resolved, or something is another one now."""
    if bool(options.output) == bool(options.check):
        raise UsageError("lock: expected either --output or --check", advice="see transship lock --help")
    path = Path(options.batch)
    if find_lock(path):
        raise UsageError(f"{path}: is a lock already", advice="name the batch file that it was made of")
    if options.check:
        return _check(options, path, Path(options.check))
    return _write(options, path, Path(options.output))


def _write(options: argparse.Namespace, path: Path, target: Path) -> int:
    folder = target.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", advice="make it first")
    if target.is_dir() or os.path.realpath(target) == os.path.realpath(path):
        what = "is a folder" if target.is_dir() else "is the batch file itself"
        raise UsageError(f"--output {target}: {what}", advice="name another file")
    expanded = expand_batch(path, listing(options), aimless=True)
    found = resolve_all(options, expanded)
    if _tell([one for one in found if isinstance(one, Fault)]):
        print(f"{target}: not written", file=sys.stderr)
        return 1
    write_durably(target, dump_lines(lock_document(expanded, _sound(found), folder)))
    print(f"{len(found)} images locked: {target}")
    return 0


def _check(options: argparse.Namespace, path: Path, target: Path) -> int:
    old = _lock_at(target)
    expanded = expand_batch(path, listing(options), aimless=True)
    found = resolve_all(options, expanded)
    faults = [one for one in found if isinstance(one, Fault)]
    _tell(faults)
    if any(not isinstance(fault.error, NotFoundError) for fault in faults):
        print(f"{target}: not compared", file=sys.stderr)
        return 1
    there = [one for one, what in zip(expanded.expansions, found, strict=True) if isinstance(what, Resolved)]
    left = Expanded(expanded.document, expanded.batch, there)
    lines = list(differences(old, lock_document(left, _sound(found), target.absolute().parent)))
    for line in lines:
        print(shown(line, LONGEST_LINE))
    if not lines and not faults:
        print(f"{len(found)} images are as the lock says: {target}")
    return 1 if lines or faults else 0


def _lock_at(path: Path) -> Object:
    document = find_lock(path)
    if document is None:
        why = "not a lock" if path.is_file() else "no such file"
        raise UsageError(f"{path}: {why}", advice="make one with: transship lock BATCH -o FILE")
    read_lock(document, aimless=True)
    value: Object = document.value
    return value


def _sound(found: Sequence[Resolved | Fault]) -> list[Resolved]:
    return [one for one in found if isinstance(one, Resolved)]


def _tell(faults: Sequence[Fault]) -> bool:
    """Print why images cannot be resolved; return whether there are any."""
    for fault in faults[:_SHOWN_FAULTS]:
        print(shown(str(fault), LONGEST_LINE), file=sys.stderr)
    if len(faults) > _SHOWN_FAULTS:
        print(f"... and {len(faults) - _SHOWN_FAULTS} more", file=sys.stderr)
    return bool(faults)
