"""``transship report --rewrite``: new references for old in files of the user's."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from transship.pipeline.disk import at_disk
from transship.pipeline.durable import write_durably
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.report import Line
from transship.pipeline.rewrite import rewrite
from transship.pipeline.rewrite.references import References

_MAX_FILE: Final = 16 << 20


def rewrite_files(names: Sequence[str], lines: Iterable[Line], to: str, *, write: bool) -> int:
    """Print the unified diff of each file, and what was left as it is and why; ``write`` them once all are sound.

    Returns 1 where a reference could not be decided or its image is not verified, else 0.

    Raises:
        UsageError: a file cannot be read as what it is, or a reference went to several places; nothing is written.
    """
    references = References.of(lines, to)
    if references.empty:
        raise UsageError(
            f"report: no image of this run went to {to or 'a registry'} from a registry",
            advice="files name images in registries; see the destinations with: transship report RUN",
        )
    made = [(name, rewrite(name, _read(Path(name)), references)) for name in names]
    for name, found in made:
        sys.stdout.write(found.diff(shown(name)))
        for note in found.notes:
            print(f"transship: {note}", file=sys.stderr)
    sys.stdout.flush()
    changed = [(name, found) for name, found in made if found.before != found.after]
    for name, found in changed if write else ():
        # A link stays one.
        path = Path(name).resolve()
        write_durably(path, found.after.encode(), mode=path.stat().st_mode & 0o7777)
    print(_summary(len(changed), len(made), write=write), file=sys.stderr)
    return 1 if any(found.notes for _, found in made) else 0


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    with at_disk(path), path.open("rb") as stream:
        raw = stream.read(_MAX_FILE + 1)
    if len(raw) > _MAX_FILE:
        raise UsageError(f"{path}: over {_MAX_FILE >> 20} MiB", advice="split it, or leave it out")
    return raw


def _summary(changed: int, files: int, *, write: bool) -> str:
    if write:
        return f"{changed} of {files} files rewritten"
    return f"{changed} of {files} files would change" + ("; write them with --in-place" if changed else "")
