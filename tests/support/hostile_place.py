"""A folder with a sentinel beside what is read, for hostile archives, layouts and folders."""

import shutil
import time
import zlib
from pathlib import Path

from support.command import tree
from support.figures import tally
from support.hostile_world import MOST_MEMORY
from support.zygote import Done, Zygote

READERS = ("copy", "copy --all", "inspect", "inspect --config", "verify", "layers", "run")
MOVERS = ("copy", "copy --all", "verify", "layers", "run")
"""Those of them that read layers."""
_MET = (
    "{commands:.0f} commands: {touched:.0f} files outside the destination touched, "
    "at most {above:.0f} MiB above an idle process, {took:.1f} s"
)


class Place:
    """The folder with a sentinel beside what is read, and what holds after each command there."""

    def __init__(self, folder: Path, forks: Zygote) -> None:
        self.folder = folder
        self.forks = forks
        self.case = 34
        (folder / "sentinel").mkdir()
        (folder / "sentinel/letter").write_text("dear all\n")
        self.outside = folder / "sentinel/letter"

    def run(self, *words: str, may_change: tuple[str, ...] = ("out",), **environ: str) -> Done:
        before = self._but(may_change)
        begun = time.monotonic()
        done = self.forks.run(self.folder, *words, seconds=60, **environ)
        took, above = time.monotonic() - begun, done.memory - self.forks.idle
        after = self._but(may_change)
        touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        tally(
            self.case,
            _MET,
            {"commands": 1, "touched": len(touched)},
            {"above": above / (1 << 20), "took": took},
        )
        assert touched == set()
        assert "Traceback" not in done.err
        assert done.code in (0, 1, 2), done.err
        assert above <= MOST_MEMORY
        return done

    def refused(self, source: str, says: str) -> None:
        """Hold that none of a third of those who read the source, by the test's name, takes it, nor `serve`."""
        self.every_reader_refuses(source, says, "serve", turn=zlib.crc32(self.folder.name.encode()))

    def every_reader_refuses(
        self, source: str, says: str, *besides: str, turn: int | None = None, readers: tuple[str, ...] = READERS
    ) -> None:
        """Hold of the ``readers`` of ``source`` and the commands ``besides`` that each says why, and leaves nothing.

        Where many inputs take the same way through the code, each gets a third of the commands, by its ``turn``.
        """
        path = source.partition(":")[2]
        (self.folder / "reads.yaml").write_text(f"version: 1\nimages: [{{from: '{source}', to: ['dir:out']}}]\n")
        words = {
            "copy": ("copy", source, "dir:out"),
            "copy --all": ("copy", "--all", source, "oci:out:x"),
            "inspect": ("inspect", source),
            "inspect --config": ("inspect", "--config", source),
            "verify": ("verify", source),
            "layers": ("layers", source),
            "run": ("run", "reads.yaml"),
            "list-tags": ("list-tags", source),
            "serve": ("serve", "--port=0", path.partition(":")[0]),
            "delete": ("delete", source),
        }
        for name in (*readers[(turn or 0) % 3 :: 1 if turn is None else 3], *besides):
            done = self.run(*words[name], may_change=("out", "runs"))
            said = [line for line in done.err.splitlines() if "layers is deprecated" not in line]
            assert done.code in (1, 2), (name, done)
            assert len(said) == 1, (name, done.err)
            assert says in said[0], (name, done.err)
            assert not (self.folder / "out").exists(), name
            assert not list(self.folder.glob("layers-*")), name
            shutil.rmtree(self.folder / "runs", ignore_errors=True)

    def copy_refused(self, source: str, destination: str, says: str, *extra: str) -> Done:
        done = self.run("copy", *extra, source, destination)
        assert done.code == 1, done.err
        assert says in done.err, done.err
        assert len(done.err.splitlines()) == 1
        assert not (self.folder / "out").exists()
        return done

    def _but(self, names: tuple[str, ...]) -> dict[str, tuple[int, str]]:
        return {name: state for name, state in tree(self.folder).items() if not name.startswith(names)}
