"""Cases 25 and 26 of docs/reliability.md: between two runs the clock jumped, or what lay about was cleaned away."""

import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import support.command
from support.command import begin, command, tree
from support.fault_job import IN_FLIGHT, RUN, leftovers, noise, write_batch
from support.fault_proxy import FaultProxy, Rule, faulty
from support.figures import figure, megabytes
from support.registry_server import RegistryServer, made_image, push_image, running
from transship.pipeline.digest import Digest

LAYERS = [noise(25, 3_000_000), noise(26, 100_000)]
TO = ["oci:out/mirror:{name}", "dir:out/dir", "docker-archive:out/x.tar:x:v1"]
CLOCK = Path(support.command.__file__).with_name("shifted_clock.py")
DAY = 86400


@dataclass(frozen=True)
class Clocked:
    """A batch of one image before a proxy, and what a calm run makes of it."""

    work: Path
    proxy: FaultProxy
    whole: dict[str, tuple[int, str]]
    size: int

    def kill_at_half(self) -> None:
        """Run, and kill where half of the large layer has come."""
        digest = Digest.of(made_image(LAYERS)[1][1])
        self.proxy.rules.append(Rule("stall", f"^GET .*/blobs/{digest}", 1, self.size // 2))
        process = begin(self.work, *RUN)
        half = self.work / "runs/batch/ingest" / str(digest).replace(":", "-")
        while not (half.exists() and half.stat().st_size >= 1 << 20):
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.kill()
        process.communicate()
        self.proxy.rules.clear()

    def complete(self) -> None:
        """The same command ends well, with all there and nothing beside it."""
        done = command(self.work, *RUN)
        assert (done.returncode, done.stderr) == (0, "")
        assert tree(self.work / "out") == self.whole
        assert leftovers(self.work) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as found:
        push_image(found, "clocked", "v1", LAYERS)
        yield found


@pytest.fixture
def clocked(tmp_path: Path, server: RegistryServer) -> Iterator[Clocked]:
    with faulty(server.port) as proxy:
        made = [write_batch(tmp_path / name, [f"docker://{proxy.name}/clocked:v1"], TO, proxy.name) for name in "ab"]
        for work in made:
            (work / "out").mkdir()
        assert command(made[0], *RUN).returncode == 0
        proxy.passed.clear()
        yield Clocked(made[1], proxy, tree(made[0] / "out"), sum(map(len, made_image(LAYERS)[1])))


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in root.rglob("*")}


def jump(patched: pytest.MonkeyPatch, seconds: int) -> None:
    """Let commands from here on see another time of day."""
    patched.setattr(support.command, "ARGUMENTS", [sys.executable, str(CLOCK), str(seconds)])


@pytest.mark.parametrize("days", [-1, 3650])
def test_25_a_clock_that_jumped_makes_nothing_stale_and_nothing_whole(
    clocked: Clocked, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed by one clock, completed by the other, and run again by the first and by the other."""
    with monkeypatch.context() as patched:
        jump(patched, days * DAY)
        clocked.kill_at_half()
    clocked.complete()
    assert clocked.proxy.down <= clocked.size + IN_FLIGHT
    before, clocked.proxy.passed[:] = stamps(clocked.work / "out"), []
    with monkeypatch.context() as patched:
        jump(patched, days * DAY)
        clocked.complete()
        asked = len(clocked.proxy.passed)
        figure(25, f"{days:+} days: killed at half and completed; run again: {asked} requests, nothing written")
        assert asked == 0
        assert stamps(clocked.work / "out") == before
        shutil.rmtree(clocked.work / "runs")
        shutil.rmtree(clocked.work / "out")
        (clocked.work / "out").mkdir()
    clocked.kill_at_half()
    with monkeypatch.context() as patched:
        jump(patched, days * DAY)
        clocked.complete()


def test_25_what_a_killed_copy_left_in_the_future_is_swept(clocked: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("copy", "--src-tls-verify=false", f"docker://{clocked.proxy.name}/clocked:v1", "dir:out/dir")
    clocked.proxy.rules.append(Rule("stall", "^GET .*/blobs/", 1, 50_000))
    process = begin(clocked.work, *words)
    while not any(one.down >= 50_000 for one in clocked.proxy.blobs):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert [path for path in (clocked.work / "out").iterdir() if path.name.startswith(".")]
    with monkeypatch.context() as patched:
        jump(patched, -DAY)
        assert command(clocked.work, *words).returncode == 0
    assert [path.name for path in (clocked.work / "out").iterdir()] == ["dir"]


@pytest.mark.parametrize("gone", ["ingest", "checkpoints", "blobs", "lock", "batch.json", "."])
def test_26_what_was_cleaned_away_between_two_runs_is_made_anew(clocked: Clocked, gone: str) -> None:
    clocked.kill_at_half()
    victim = clocked.work / "runs/batch" / gone
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    clocked.complete()
    figure(26, f"{gone}: whole, {megabytes(clocked.proxy.down)} of {megabytes(clocked.size)} read")
    half_is_kept = gone not in ("ingest", ".")
    assert clocked.proxy.down <= clocked.size + (IN_FLIGHT // 4 if half_is_kept else clocked.size)


def test_26_a_temporary_folder_that_is_emptied_costs_nothing(
    clocked: Clocked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    clocked.kill_at_half()
    shutil.rmtree(temporary)
    temporary.mkdir()
    clocked.complete()
    assert clocked.proxy.down <= clocked.size + IN_FLIGHT // 4
    assert list(temporary.iterdir()) == []
