"""Runs that are killed, interrupted, doubled, refreshed, or find a tag missing: the same command puts it right."""

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.command import await_lock, begin, command, tree
from support.command import killed as command_killed
from support.corpus import Sample, corpus, push, sample, sha256
from support.figures import figure, megabytes
from support.registry_server import RegistryServer, running

# `make acceptance` sets them, for 20 kills of a run of 20 images of some 40 MB.
IMAGES = int(os.environ.get("TRANSSHIP_IMAGES", "6"))
BASE = int(os.environ.get("TRANSSHIP_BASE_MIB", "6")) << 20
OWN = int(os.environ.get("TRANSSHIP_OWN_MIB", "0")) << 20
UNIQUE = BASE + IMAGES * OWN
RUN = ("run", "batch.yaml", "--progress", "none")
KILLS = int(os.environ.get("TRANSSHIP_KILLS", "6"))
REQUEST = re.compile(r'"GET (\S+) HTTP/1.1" (\d+) (\d+)')
DESTINATIONS = (
    "['oci:out/mirror:{repository}:{tag}', 'dir:out/dir-{name}', 'docker-archive:out/{name}.tar:{name}:{tag}']"
)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return corpus(IMAGES, BASE, OWN)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as server:
        for image in samples:
            push(server.name, image)
        yield server


@pytest.fixture
def work(tmp_path: Path, registry: RegistryServer, samples: list[Sample]) -> Path:
    return batch(tmp_path / "work", registry, samples)


@pytest.fixture
def small(tmp_path: Path, registry: RegistryServer, samples: list[Sample]) -> Path:
    """The batch of two of the images, for what does not depend on how long a run takes."""
    return batch(tmp_path / "small", registry, samples[:2])


def batch(folder: Path, registry: RegistryServer, samples: list[Sample], to: str = DESTINATIONS) -> Path:
    folder.mkdir()
    lines = [f"  - from: docker://{registry.name}/{one.repository}:{one.tag}" for one in samples]
    head = f"version: 1\nregistries: {{'{registry.name}': {{tls-verify: false}}}}\ndefaults: {{to: {to}}}\nimages:"
    (folder / "batch.yaml").write_text("\n".join([head, *lines, ""]))
    return folder


class Log:
    """What the registry was asked from here on."""

    def __init__(self, registry: RegistryServer) -> None:
        self._registry = registry
        self._begin = len(registry.requests())

    def asked(self) -> list[tuple[str, int, int]]:
        """Return path, status and body bytes of each request; the registry writes its log as answers end."""
        time.sleep(0.1)
        found = (REQUEST.search(line) for line in self._registry.requests()[self._begin :])
        return [(one[1], int(one[2]), int(one[3])) for one in found if one]

    def blobs(self) -> list[tuple[str, int, int]]:
        return [(path.rpartition("/")[2], status, size) for path, status, size in self.asked() if "/blobs/" in path]


def half_blobs(run: Path) -> dict[str, int]:
    sizes = {}
    for path in run.glob("**/ingest/sha256-*"):
        try:
            sizes[path.name.replace("-", ":")] = path.stat().st_size
        except FileNotFoundError:
            continue
    return sizes


def done_tasks(run: Path) -> int:
    return sum(1 for _ in run.glob("checkpoints/*/[!.]*.json"))


def killed(folder: Path, growth: int, tasks: int) -> dict[str, int] | None:
    """Run, and kill as half blobs grew by ``growth`` bytes or ``tasks`` more are done; None if it ended before.

    Most of a run's time is not in the blobs.
    """
    run = folder / "runs/batch"
    process = begin(folder, *RUN)
    await_lock(process, run)
    most_bytes, most_tasks = sum(half_blobs(run).values()) + growth, done_tasks(run) + tasks
    met = command_killed(process, lambda: sum(half_blobs(run).values()) >= most_bytes or done_tasks(run) >= most_tasks)
    return half_blobs(run) if met else None


@pytest.mark.timeout(300 + 10 * (UNIQUE >> 20))
def test_killed_again_and_again_the_result_is_that_of_an_undisturbed_run(
    tmp_path: Path, work: Path, registry: RegistryServer, samples: list[Sample]
) -> None:
    calm = batch(tmp_path / "calm", registry, samples)
    undisturbed = command(calm, *RUN)
    assert undisturbed.returncode == 0, undisturbed.stderr
    tasks = done_tasks(calm / "runs/batch")

    source, log, kills = random.Random(20), Log(registry), 0
    left: list[dict[str, int]] = [{}]
    again: list[int] = []
    for number in range(KILLS):
        growth = source.randrange(1, 2 * UNIQUE // KILLS) if number < KILLS // 2 else UNIQUE * 10
        answers = Log(registry)
        found = killed(work, growth, source.randrange(1, max(2, tasks // KILLS)))
        kills += found is not None
        if found:
            again += sent_ahead(answers, left[-1], found)
        left.append(found or {})
    last = command(work, *RUN)
    assert (last.returncode, last.stderr) == (0, "")
    assert kills > KILLS // 3
    figure(19, f"sent again of {len(again)} half blobs: {sum(again)} bytes, at most {max(again)} of one")
    assert max(again) <= 1 << 20

    made, wanted = tree(work / "out"), tree(calm / "out")
    assert sorted(made) == sorted(wanted)
    assert made == wanted
    assert not half_blobs(work / "runs/batch")
    size = megabytes(sum(len(blob) for blob in {blob for one in samples for blob in one.blobs}))
    said = f"{kills} kills of a run of {size}: the same result, nothing left, no byte on the disk asked for again"
    print(said)
    figure(19, said)
    assert_fetched_once(log.blobs(), samples, left)


def sent_ahead(answers: Log, before: dict[str, int], after: dict[str, int]) -> list[int]:
    """Return how many bytes of each blob that a kill left half the registry sent in vain, by its own count."""
    grown = {digest: size - before.get(digest, 0) for digest, size in after.items() if size != before.get(digest, 0)}
    deadline = time.monotonic() + 10
    while True:
        sent = Counter[str]()
        for digest, _, count in answers.blobs():
            sent[digest] += count
        # It notes an answer once that has failed.
        if sent.keys() >= grown.keys() or time.monotonic() > deadline:
            return [sent[digest] - size for digest, size in grown.items()]


def assert_fetched_once(blobs: list[tuple[str, int, int]], samples: list[Sample], left: list[dict[str, int]]) -> None:
    """The last answer for a blob begins where its half one ended: nothing that was on the disk is sent again."""
    sizes = {sha256(blob): len(blob) for one in samples for blob in one.blobs}
    served, last = Counter[str](), {}
    for digest, status, count in blobs:
        served[digest] += count
        last[digest] = (status, count)
    more = sum(count - sizes[digest] for digest, count in served.items())
    print(f"{more} bytes sent again, {sum(served.values()) / sum(sizes.values()):.3f} times those of the blobs")
    assert all(served[digest] >= size for digest, size in sizes.items())
    whole = Counter(digest for digest, status, count in blobs if status == 200 and count == sizes[digest])
    empty = Counter(digest for half in left for digest, count in half.items() if count == 0)
    assert [digest for digest, count in whole.items() if count > 1 + empty[digest]] == []
    # One killed between its last byte and its name is whole: its last answer began at the half before.
    kept = {digest: count for half in left for digest, count in half.items() if count < sizes[digest]}
    resumed = {digest: count for digest, count in kept.items() if 0 < count < sizes[digest]}
    assert resumed, "no kill met a half blob"
    assert {digest: last[digest] for digest in resumed} == {d: (206, sizes[d] - count) for d, count in resumed.items()}


def stamps(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in root.rglob("*")}


def test_a_finished_run_asks_for_nothing(small: Path, registry: RegistryServer) -> None:
    assert command(small, *RUN).returncode == 0
    before, stamped, log = tree(small / "out"), stamps(small / "out"), Log(registry)
    again = command(small, *RUN)
    figure(20, f"exit {again.returncode}, {len(log.asked())} requests")
    assert (again.returncode, again.stderr, log.asked()) == (0, "", [])
    assert tree(small / "out") == before
    assert stamps(small / "out") == stamped


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.25])
def test_an_interrupt_ends_it_at_once_and_the_same_command_goes_on(work: Path, seconds: float) -> None:
    process = begin(work, *RUN)
    assert await_lock(process, work / "runs/batch")
    time.sleep(seconds)
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - begun < 2
    assert process.returncode == 130, err
    assert err == "transship: interrupted; what is done is kept, run the same command to go on\n"
    assert command(work, *RUN).returncode == 0


def test_a_second_process_on_the_run_folder_is_refused(small: Path) -> None:
    first = begin(small, *RUN)
    assert await_lock(first, small / "runs/batch")
    first.send_signal(signal.SIGSTOP)
    try:
        second = command(small, *RUN)
    finally:
        first.send_signal(signal.SIGCONT)
    assert (second.returncode, second.stdout) == (1, "")
    assert re.fullmatch(rf"transship: run folder \S+ is in use by process {first.pid}\b.*\n", second.stderr)
    first.communicate(timeout=30)
    assert first.returncode == 0


def fresh(registry: RegistryServer, samples: list[Sample], prefix: str) -> list[Sample]:
    """Push small images of a repository of their own, for a test that changes them."""
    base = [replace(one, repository=f"{prefix}/{one.repository.rpartition('/')[2]}") for one in samples]
    for one in base:
        push(registry.name, one)
    return base


def test_refresh_redoes_only_the_image_whose_tag_moved(
    tmp_path: Path, registry: RegistryServer, samples: list[Sample]
) -> None:
    images = fresh(registry, samples[:3], "moving")
    work = batch(tmp_path / "work", registry, images, "['dir:out/{name}']")
    assert command(work, *RUN).returncode == 0
    before = tree(work / "out")
    stamps = {name: (work / "out" / name).lstat().st_mtime_ns for name in before}
    moved = replace(sample("new", "v1", [], "hello again"), repository=images[1].repository)
    push(registry.name, moved)

    assert command(work, *RUN).returncode == 0
    assert tree(work / "out") == before

    log = Log(registry)
    again = command(work, *RUN, "--refresh")
    assert (again.returncode, again.stderr) == (0, "1 images changed at their source\n")
    after = tree(work / "out")
    changed = {name for name in after if (work / "out" / name).lstat().st_mtime_ns != stamps.get(name)}
    assert {name.partition("/")[0] for name in changed} == {"app1"}
    assert {name: one for name, one in after.items() if not name.startswith("app1")} == {
        name: one for name, one in before.items() if not name.startswith("app1")
    }
    assert {digest for digest, _, _ in log.blobs()} == {sha256(blob) for blob in moved.blobs}
    assert after.keys() >= {f"app1/{sha256(blob).removeprefix('sha256:')}" for blob in moved.blobs}


def test_a_missing_tag_fails_alone_and_the_same_command_completes_once_it_is_there(
    tmp_path: Path, registry: RegistryServer, samples: list[Sample]
) -> None:
    images = [*samples[:4], late := replace(samples[4], tag="late")]
    work = batch(tmp_path / "work", registry, images, "['oci:out/mirror:{name}:{tag}']")
    first = command(work, *RUN)
    assert first.returncode == 1
    assert first.stdout.startswith("4 images verified, 1 not, in ")
    (line,) = first.stderr.splitlines()
    named = f"docker://{registry.name}/{late.repository}:late"
    assert line.startswith(f"{named} -> ")
    assert "not found" in line.lower() or "unknown" in line.lower(), line
    status, report = command(work, "status", "runs/batch"), command(work, "report", "runs/batch")
    assert status.returncode == 0
    assert re.search(rf"^failed +{named} -> .*: .", status.stdout, re.MULTILINE), status.stdout
    assert status.stdout.endswith("batch: 1 failed, 4 verified\n")
    assert report.returncode == 1
    assert f"failed: {named} -> " in report.stdout
    assert "error in FetchManifest: " in report.stdout
    assert "4 of 5 images verified" in report.stdout

    push(registry.name, late)
    second = command(work, *RUN)
    assert (second.returncode, second.stderr) == (0, "")
    assert command(work, "report", "runs/batch").returncode == 0
