"""``python -m benchmarks``: make the corpora, run the scenarios, print and write the table."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.figures import ScenarioFigures
from benchmarks.machine import described
from benchmarks.rounds import run
from benchmarks.scenario import Scenario
from benchmarks.scenarios import scenarios
from benchmarks.sizes import FULL, QUICK, Sizes
from benchmarks.world import built


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the options ask for; return 0, or 1 where a side failed."""
    options = _options().parse_args(arguments)
    sizes: Sizes = QUICK if options.quick else FULL
    chosen = _chosen(sizes, options.only)
    if options.list:
        print("\n".join(f"{one.name:24} {one.title}" for one in chosen))
        return 0
    rounds = options.rounds or (2 if options.quick else 5)
    # Also a plain kill stops the registries and removes the work folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = Path(options.keep or tempfile.mkdtemp(prefix="work-", dir=_out())).resolve()
    try:
        found = _measure(work, sizes, chosen, rounds, options.write)
    finally:
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    return int(any(side.missing.startswith("failed") for one in found for side in one.sides))


def _measure(work: Path, sizes: Sizes, chosen: list[Scenario], rounds: int, target: str) -> list[ScenarioFigures]:
    work.mkdir(parents=True, exist_ok=True)
    machine = described(work)
    found: list[ScenarioFigures] = []
    wanted = {corpus for one in chosen for corpus in one.corpora}
    with built(work, sizes, wanted, _say) as world:
        for scenario in chosen:
            found.append(run(scenario, world, rounds, _say))
            # After each, so that what an interrupted run measured is not lost.
            if target:
                report.write(Path(target), machine, rounds, found)
    print(report.markdown(machine, rounds, found))
    return found


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure transship and the peers installed.")
    parser.add_argument("--quick", action="store_true", help="small sizes, two rounds: does everything work?")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="only this scenario; repeatable")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--rounds", metavar="N", type=int, default=0, help="timed rounds (default: 5)")
    parser.add_argument("--keep", metavar="DIR", default="", help="work here, keep the corpora and use them again")
    parser.add_argument("--write", metavar="FILE.md", default="", help="write the table there, JSON and plot beside it")
    return parser


def _chosen(sizes: Sizes, names: list[str]) -> list[Scenario]:
    every = list(scenarios(sizes))
    unknown = set(names) - {one.name for one in every}
    if unknown:
        raise SystemExit(f"benchmarks: no scenario {', '.join(sorted(unknown))}; see --list")
    return [one for one in every if not names or one.name in names]


def _out() -> Path:
    # In the checkout: a temporary folder may be memory, where nothing costs what it costs on a disk.
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    return out


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
