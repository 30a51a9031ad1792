"""The benchmarks run, and their table says what the samples say."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def benchmarks(*words: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "path")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks")
    target = folder / "page.md"
    small = ("--quick", "--keep", folder / "work", "--write", target, "--rounds", "3")
    benchmarks(*small, "--only", "one-copy", "--only", "again", "--only", "gzip-to-uncompressed")
    return target


def scenario(page: Path, name: str) -> Any:
    document = json.loads(page.with_suffix(".json").read_text())
    return next(one for one in document["scenarios"] if one["name"] == name)


def test_ratios_are_those_of_the_medians(page: Path) -> None:
    for name in ("one-copy", "gzip-to-uncompressed"):
        own, peer = scenario(page, name)["sides"]
        assert (own["name"], peer["name"]) == ("transship copy", "skopeo copy")
        for measure in ("wall", "cpu", "memory"):
            for side in (own, peer):
                rounds = side[measure]["rounds"]
                assert len(rounds) == 3
                assert min(rounds) > 0
                shown = [side[measure][key] for key in ("min", "median", "max")]
                assert shown == [min(rounds), median(rounds), max(rounds)]
            wanted = median(own[measure]["rounds"]) / median(peer[measure]["rounds"])
            assert peer["transship_to_peer"][measure] == pytest.approx(wanted)


def test_both_sides_read_the_same_bytes_from_the_registry_and_leave_them(page: Path) -> None:
    own, peer = scenario(page, "one-copy")["sides"]
    assert own["read"] == peer["read"] > 0
    assert own["blob_requests"] == peer["blob_requests"] == 4
    assert own["disk"] >= own["read"]


def test_a_finished_run_asks_the_registry_for_no_blob(page: Path) -> None:
    (own,) = scenario(page, "again")["sides"]
    assert own["blob_requests"] == 0
    assert own["disk"] > 0


def test_every_table_has_a_row_a_side(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n## ") == 3
    rows = [line for line in text.splitlines() if line.startswith(("| transship ", "| skopeo c"))]
    rows = [row for row in rows if row.count("|") == 10]
    assert len(rows) == 5
    assert all(row.split(" | ")[1].count("/") == 2 for row in rows), "minimum, median and maximum"
    for fact in ("processor", "kernel", "file system", "docker-registry", "skopeo"):
        assert f"\n| {fact} | " in text


def test_images_are_pulled_from_a_served_bundle_and_from_a_registry(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    benchmarks("--quick", "--rounds", "1", "--only", "bundle-serve", "--write", target)
    own, peer = scenario(target, "bundle-serve")["sides"]
    assert (own["name"], peer["name"]) == ("transship serve, the bundle", "docker-registry")
    assert own["disk"] > 10_000_000
    assert own["disk"] == pytest.approx(peer["disk"], rel=0.01)


def test_what_cannot_run_says_so_and_leaves_the_rest() -> None:
    script = (
        "import benchmarks; from benchmarks.rounds import missing; from benchmarks.scenarios import Side\n"
        "for side in (Side('a', str, program='no-such-tool'), Side('b', str, command='no-such'), "
        "Side('c', str, command='copy')): print(missing(side))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "path")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split("\n") == ["not installed", "not in this version", "", ""]
