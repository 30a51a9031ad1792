"""A run on several processes: units are drawn once, deaths lose nothing, ends are prompt."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support.command import await_lock, begin, command, tree
from support.corpus import pack, push, sample
from support.registry_server import RegistryServer, running
from transship.pipeline.cli.run import processes_for
from transship.pipeline.jobs import ImageJob, Plan
from transship.tasks.processes import Events, fan_out
from transship.tasks.share import Share

IMAGES = 24
RUN = ("run", "batch.yaml", "--processes", "3", "--progress", "none")


def test_each_number_goes_to_one_of_those_who_draw():
    share = Share(100)
    left, right = share.draw(), share.draw()
    drawn = [next(left) for _ in range(30)] + list(right)
    assert drawn == list(range(100))
    assert list(left) == []
    share.close()


def test_nothing_is_drawn_after_the_end():
    share = Share(100)
    numbers = share.draw()
    assert next(numbers) == 0
    share.end()
    assert list(numbers) == []
    share.close()


def heard(count, processes, work, go_on=True):
    events: list[Events] = []

    def listen(told):
        events.append(told)
        return go_on

    fan_out(count, processes, work, listen)
    return [one for told in events for one in told.settled]


def test_every_unit_is_done_once_and_all_processes_work(tmp_path):
    def work(numbers, teller):
        for number in numbers:
            (tmp_path / str(os.getpid())).touch()
            while len(list(tmp_path.iterdir())) < 3:
                time.sleep(0.002)
            teller.settled(f"{number} {os.getpid()}", True)

    settled = [key.split() for key, _ in heard(60, 3, work)]
    assert sorted(int(number) for number, _ in settled) == list(range(60))
    workers = {pid for _, pid in settled}
    assert len(workers) == 3
    assert str(os.getpid()) not in workers


def test_a_process_that_is_killed_takes_only_what_it_had_begun():
    def work(numbers, teller):
        for number in numbers:
            if number == 10:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.002)
            teller.settled(str(number), True)
            teller.flush()

    settled = {int(key) for key, _ in heard(60, 2, work)}
    assert settled == set(range(60)) - {10}


def test_no_unit_is_begun_once_the_listener_says_so():
    def work(numbers, teller):
        for number in numbers:
            teller.settled(str(number), False)
            teller.flush()
            time.sleep(0.05)

    assert len(heard(100, 2, work, go_on=False)) < 10


def test_an_interrupt_ends_the_processes_in_the_middle_of_a_unit(tmp_path):
    def work(numbers, teller):
        for number in numbers:
            (tmp_path / f"{number}-{os.getpid()}").touch()
            time.sleep(60)

    def interrupt():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    # Where the tests run in the background, it is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            heard(2, 2, work)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 10
    for path in tmp_path.iterdir():
        assert not Path(f"/proc/{path.name.partition('-')[2]}").exists()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as server:
        for number in range(IMAGES):
            push(server.name, sample(f"app{number}", "v1", [pack({"f": bytes([number]) * 200_000})], f"hello {number}"))
        yield server


def batch(folder: Path, registry: RegistryServer) -> Path:
    folder.mkdir()
    lines = [f"  - from: docker://{registry.name}/app{number}:v1" for number in range(IMAGES)]
    head = f"version: 1\nregistries: {{'{registry.name}': {{tls-verify: false}}}}\n"
    to = "['oci:out/mirror:{name}', 'docker-archive:out/all.tar:{name}:{tag}', 'dir:out/{name}']"
    (folder / "batch.yaml").write_text("\n".join([f"{head}defaults: {{to: {to}}}\nimages:", *lines, ""]))
    return folder


def children(process: "subprocess.Popen[str]") -> list[int]:
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
    return [int(pid) for pid in found.split()]


def begun(folder: Path, tasks: int) -> "subprocess.Popen[str]":
    """Start a run on several processes; return it when these are at work and ``tasks`` are done."""
    process = begin(folder, *RUN)
    assert await_lock(process, folder / "runs/batch")
    while len(children(process)) < 3 or len(list(folder.glob("runs/batch/checkpoints/*/*.json"))) < tasks:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    return process


@pytest.fixture(scope="module")
def calm(tmp_path_factory, registry):
    folder = batch(tmp_path_factory.mktemp("calm") / "work", registry)
    done = command(folder, "run", "batch.yaml", "--processes", "1", "--progress", "none")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return folder


def test_several_processes_make_what_one_makes_and_fetch_nothing_twice(tmp_path, registry, calm):
    before = len(registry.requests())
    work = batch(tmp_path / "work", registry)
    done = command(work, *RUN)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert tree(work / "out") == tree(calm / "out")
    time.sleep(0.1)
    asked = [line.split('"GET ')[1].split(" ")[0] for line in registry.requests()[before:] if '"GET ' in line]
    blobs = [path.rpartition("/")[2] for path in asked if "/blobs/" in path]
    assert len(blobs) == len(set(blobs)) == 3 * IMAGES
    assert len([path for path in asked if "/manifests/" in path]) == IMAGES


@pytest.mark.parametrize("tasks", [1, 40, 90])
def test_killed_all_processes_end_and_the_same_command_goes_on(tmp_path, registry, calm, tasks):
    work = batch(tmp_path / "work", registry)
    process = begun(work, tasks)
    forks = children(process)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in forks):
        assert time.monotonic() < deadline, "a fork outlives its run"
        time.sleep(0.001)
    again = command(work, *RUN)
    assert (again.returncode, again.stderr) == (0, ""), again.stderr
    assert tree(work / "out") == tree(calm / "out")


def test_a_fork_that_is_killed_costs_no_image(tmp_path, registry, calm):
    work = batch(tmp_path / "work", registry)
    process = begun(work, 10)
    os.kill(children(process)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), err
    assert out.startswith(f"{3 * IMAGES} images verified")
    assert tree(work / "out") == tree(calm / "out")


def test_an_interrupt_ends_all_processes_with_one_line(tmp_path, registry):
    work = batch(tmp_path / "work", registry)
    process = begun(work, 10)
    forks = children(process)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - start < 2
    assert process.returncode == 130
    assert err == "transship: interrupted; what is done is kept, run the same command to go on\n"
    assert not [pid for pid in forks if Path(f"/proc/{pid}").exists()]
    assert command(work, *RUN).returncode == 0


def test_failures_in_any_process_are_named_and_hold_back_their_archive_only(tmp_path, registry):
    work = batch(tmp_path / "work", registry)
    text = (work / "batch.yaml").read_text()
    (work / "batch.yaml").write_text(text.replace("app3:v1", "app3:gone").replace("app20:v1", "app20:gone"))
    done = command(work, *RUN)
    assert done.returncode == 1
    images = json.loads((work / "runs/batch/report.json").read_bytes())["images"]
    own = [one for one in images if not one["destination"].startswith("docker-archive:")]
    failed = {one["source"].rpartition("/")[2]: one["error"]["message"] for one in own if "error" in one}
    assert set(failed) == {"app3:gone", "app20:gone"}
    assert all("404" in message for message in failed.values()), failed
    assert done.stdout.startswith(f"{2 * (IMAGES - 2)} images verified, {IMAGES + 4} not")
    assert not (work / "out/all.tar").exists()


@pytest.mark.parametrize(
    ("images", "wanted", "processes"), [(1, 0, 1), (63, 0, 1), (64, 0, 2), (64, 3, 3), (999, 0, 3)]
)
def test_a_second_process_is_for_many_images_or_who_asks_for_it(monkeypatch, images, wanted, processes):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(3), raising=False)
    jobs = [ImageJob(f"docker://host/app{n}:v1", "host") for n in range(images)]
    assert processes_for(Plan("p", "d", {job.key: job for job in jobs}, {}), wanted) == processes
