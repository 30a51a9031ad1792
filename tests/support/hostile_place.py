"""A folder with a sentinel beside what is read, for hostile archives, layouts and folders."""

import shutil
import time
import zlib
from pathlib import Path

from support.command import tree
from support.figures import tally
from support.hostile_world import IMAGE as OWN
from support.hostile_world import MOST_MEMORY, OBEYED
from support.images import write_layout
from support.zygote import Done, Zygote

READERS = ("copy", "copy --all", "inspect", "inspect --config", "verify", "layers", "run")
MOVERS = ("copy", "copy --all", "verify", "layers", "run")
"""Those of them that read layers."""
_MET = (
    "{commands:.0f} commands: {touched:.0f} files outside the destination touched, "
    "at most {above:.0f} MiB above an idle process, {took:.1f} s"
)


def bundle_words(path: str = "in.tar") -> dict[str, tuple[str, ...]]:
    """Return the words of each command that reads the bundle at ``path``; the first three verify all of it."""
    return {
        "bundle verify": ("bundle", "verify", path),
        "bundle load": ("bundle", "load", path, "--to", "oci:out", "--progress", "none"),
        "bundle apply": ("bundle", "apply", path, "--to", "oci:out", "--progress", "none"),
        "bundle list": ("bundle", "list", path),
        "bundle diff": ("bundle", "diff", path, path),
        "bundle create": ("bundle", "create", "own.yaml", "-o", "out.tar", "--since", path, "--progress", "none"),
        "copy": ("copy", "--all", f"bundle:{path}:team/app:v1", "oci:out:x"),
        "inspect": ("inspect", f"bundle:{path}:team/app:v1"),
        "list-tags": ("list-tags", f"bundle:{path}"),
        # An address of nobody: what is sound is not served either.
        "serve": ("serve", "--address=192.0.2.1", path),
    }


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

    def bundle_refused(self, says: str, reads: str = "", path: str = "in.tar") -> None:
        """Hold that no command that verifies the bundle takes it, for what it ``says``, and that none leaves anything.

        The commands that read it without verifying it say ``reads``; they may take it where that is empty. Each input
        gets one or two of each kind, by the test's name.
        """
        words = bundle_words(path)
        write_layout(self.folder / "own", {"x": OWN})
        (self.folder / "own.yaml").write_text("version: 1\nimages: [{from: 'oci:own:x'}]\n")
        turn = zlib.crc32(self.folder.name.encode())
        names = list(words)
        for name in ("bundle verify", names[1 + turn % 2], names[3 + turn % 7]):
            done = self.run(*words[name], may_change=("out", "runs"))
            wanted = says if name in names[:3] else reads
            assert not OBEYED.search(done.out + done.err), (name, ascii(done.err))
            if not wanted:
                assert done.code in (0, 2), (name, done.err)
            else:
                assert done.code in (1, 2), (name, done)
                assert wanted in done.err.splitlines()[0], (name, done.err)
                assert name == "bundle verify" or len(done.err.splitlines()) == 1, (name, done.err)
                assert not list(self.folder.glob("out*")), name
            for left in (*self.folder.glob("out*"), self.folder / "runs"):
                shutil.rmtree(left, ignore_errors=True)
                left.unlink(missing_ok=True)

    def copy_refused(self, source: str, destination: str, says: str, *extra: str) -> Done:
        done = self.run("copy", *extra, source, destination)
        assert done.code == 1, done.err
        assert says in done.err, done.err
        assert len(done.err.splitlines()) == 1
        assert not (self.folder / "out").exists()
        return done

    def _but(self, names: tuple[str, ...]) -> dict[str, tuple[int, str]]:
        return {name: state for name, state in tree(self.folder).items() if not name.startswith(names)}
