"""Running a scenario: each side in turn, round after round, each in an empty folder and after ``sync``."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.figures import ScenarioFigures, SideFigures
from benchmarks.measure import Measured, disk_use, measured, traffic
from benchmarks.scenario import TRANSSHIP, Place, Scenario, Side
from benchmarks.world import World

_SMALL: Final = 64 << 10
_LOGGED: Final = 0.2
"""Seconds until the registry has written its log for the last answer."""


@dataclass(slots=True)
class _Runner:
    scenario: Scenario
    world: World
    environment: dict[str, str]
    used: list[Path] = field(default_factory=list)

    def counted(self, side: Side, into: SideFigures) -> None:
        """Run once, untimed, against the registry that logs; it warms the caches, and makes what `again` finds."""
        self._round(side, into, logged=True, timed=False)

    def timed(self, side: Side, into: SideFigures) -> None:
        self._round(side, into, logged=self.scenario.again, timed=True)

    def folder(self, side: Side) -> Path:
        """Return the folder of the side's round; a new one each time, unless the next is to find what this one left."""
        name = f"{self.scenario.name}-{self.scenario.sides.index(side)}"
        return self.world.scratch / (name if self.scenario.again else f"{name}-{len(self.used)}")

    def _round(self, side: Side, into: SideFigures, *, logged: bool, timed: bool) -> None:
        folder = self.folder(side)
        if not folder.exists():
            folder.mkdir(parents=True)
            self.used.append(folder)
        server = self.world.logged if logged else self.world.quiet
        script = side.script(Place(folder, server.name, self.world.data, self.world.local, self.world.bundle))
        start = server.log.stat().st_size
        os.sync()
        got = measured(script, folder, self.environment)
        if got.error:
            into.missing = f"failed: {got.error}"
            return
        if logged:
            time.sleep(_LOGGED)
            into.traffic = traffic(server.log, start)
        if timed:
            into.samples.append(got)
            into.disk.append(disk_use(folder))
        if not self.scenario.again:
            _empty(folder)


def run(scenario: Scenario, world: World, rounds: int, say: Callable[[str], None]) -> ScenarioFigures:
    """Run a scenario's sides in alternation; a side that cannot run, or fails, says why instead of figures."""
    found = [SideFigures(side.name, missing(side)) for side in scenario.sides]
    runner = _Runner(scenario, world, _environment())
    turns: list[Callable[[Side, SideFigures], None]] = [runner.counted] if scenario.counted else []
    turns += [runner.timed] * min(rounds, scenario.max_rounds)
    try:
        for turn in turns:
            for side, figures in zip(scenario.sides, found, strict=True):
                if not figures.missing:
                    turn(side, figures)
                    say(f"{scenario.name}: {side.name}: {_last(figures)}")
    finally:
        if scenario.again:
            for folder in runner.used:
                shutil.rmtree(folder, ignore_errors=True)
    return ScenarioFigures(scenario.name, scenario.title, scenario.note, scenario.images, found)


def _empty(folder: Path) -> None:
    """Free the space of a round and keep its files until the end.

    For minutes after a file was deleted ext4 searches past its inode at each new one: who writes many files would pay
    for the round before.
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > _SMALL:
            path.chmod(0o600)
            os.truncate(path, 0)


def _last(figures: SideFigures) -> str:
    if figures.missing:
        return figures.missing
    if not figures.samples:
        return "untimed round"
    sample: Measured = figures.samples[-1]
    return f"{sample.wall:.2f} s, CPU {sample.cpu:.2f} s, {sample.memory / 1e6:.0f} MB"


def missing(side: Side) -> str:
    """Say why ``side`` cannot run here; "" where it can."""
    if side.program and shutil.which(side.program) is None:
        return "not installed"
    if side.command and not _knows(side.command):
        return "not in this version"
    return ""


def _knows(command: str) -> bool:
    asked = ["/bin/sh", "-c", f"{TRANSSHIP} {command} --help"]
    return subprocess.run(asked, env=_environment(), capture_output=True, timeout=60, check=False).returncode == 0


def _environment() -> dict[str, str]:
    """Return this process's environment with paths that hold in any folder."""
    paths = os.environ.get("PYTHONPATH", "")
    absolute = os.pathsep.join(os.path.abspath(path) for path in paths.split(os.pathsep) if path)
    return {**os.environ, "PYTHONPATH": absolute, "LC_ALL": "C.UTF-8"}
