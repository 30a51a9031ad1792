"""One run on several machines, each with a host name of its own, by a real luigid and a shared run folder."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from luigi.rpc import RemoteScheduler
from luigi.task_status import RUNNING

from support.command import command, tree
from support.corpus import pack, push, sample
from support.luigid import Luigid, free_port, luigid
from support.registry_server import RegistryServer, running
from transship.tasks.gauge import Gauge

IMAGES = 60
_PACKAGE = Path(__file__).parent / "path"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running(tmp_path_factory.mktemp("registry"), access_log=True) as server:
        for number in range(IMAGES):
            layer = pack({"f": bytes([number]) * 50_000})
            push(server.name, sample(f"app{number}", "v1", [layer], f"hello {number}"))
        yield server


@pytest.fixture
def scheduler(tmp_path):
    with luigid(tmp_path / "luigid") as server:
        yield server


def batch(folder: Path, registry: RegistryServer, missing: int = -1) -> Path:
    folder.mkdir()
    tags = ["gone" if number == missing else "v1" for number in range(IMAGES)]
    lines = [f"  - from: docker://{registry.name}/app{number}:{tag}" for number, tag in enumerate(tags)]
    head = f"version: 1\nregistries: {{'{registry.name}': {{tls-verify: false}}}}\n"
    to = "['oci:out/mirror:{name}', 'docker-archive:out/all.tar:{name}:{tag}', 'dir:out/{name}']"
    (folder / "batch.yaml").write_text("\n".join([f"{head}defaults: {{to: {to}}}\nimages:", *lines, ""]))
    return folder


def machine(name: str, folder: Path, scheduler: Luigid) -> "subprocess.Popen[str]":
    """Start a run under a host name of its own; its progress goes to a file of that name."""
    words = ("run", "batch.yaml", "--scheduler", scheduler.url, "--processes", "1", "--progress", "json")
    own = ["unshare", "--uts", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = 'hostname "$0" && exec "$@"'
    with (folder.parent / name).open("w") as stream:
        return subprocess.Popen(
            [*own, "sh", "-c", script, name, sys.executable, "-m", "transship.pipeline.cli.main", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_PACKAGE)},
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )


def settled(folder: Path, name: str) -> list[str]:
    """Return the deliveries that one machine settled."""
    lines = [json.loads(line) for line in (folder.parent / name).read_text().splitlines()]
    return [line["delivery"] for line in lines if "delivery" in line]


def ended(process: "subprocess.Popen[str]") -> str:
    out, _ = process.communicate(timeout=90)
    assert process.returncode == 0, out
    return out


def alone(folder: Path, registry: RegistryServer) -> Path:
    done = command(batch(folder, registry), "run", "batch.yaml")
    assert done.returncode == 0, done.stderr
    return folder


def test_three_machines_share_the_images_evenly_and_do_each_once(tmp_path, registry, scheduler):
    before = len(registry.requests())
    work = batch(tmp_path / "work", registry)
    names = ["one", "two", "three"]
    with scheduler.held(len(names)):
        processes = [machine(name, work, scheduler) for name in names]
    for process in processes:
        assert ended(process).startswith(f"{3 * IMAGES} images verified")
    time.sleep(0.1)
    asked = Counter(line.split('"GET ')[1].split(" ")[0] for line in registry.requests()[before:] if '"GET ' in line)
    assert asked.pop("/v2/") == 3
    assert len(asked) == IMAGES * 4
    assert set(asked.values()) == {1}
    counts = [len([one for one in settled(work, name) if "all.tar" not in one]) for name in names]
    assert sum(counts) == 2 * IMAGES
    assert max(counts) - min(counts) <= 0.4 * sum(counts) / 3, counts
    assert tree(work / "out") == tree(alone(tmp_path / "alone", registry) / "out")


def test_luigid_shows_which_images_of_which_run(tmp_path, registry, scheduler):
    work = batch(tmp_path / "work", registry)
    ended(machine("one", work, scheduler))
    shown = json.loads(scheduler.tasks())["response"]
    names = {task["name"] for task in shown.values()}
    assert names == {"Segment", "Archive"}
    assert {task["status"] for task in shown.values()} == {"DONE"}
    ranges = [
        (int(task["params"]["first"]), int(task["params"]["last"]))
        for task in shown.values()
        if task["name"] == "Segment"
    ]
    assert sorted(number for first, last in ranges for number in range(first, last + 1)) == list(range(1, IMAGES + 1))
    assert all(task["params"]["run_name"].startswith("batch-") for task in shown.values())


def test_luigid_shows_how_far_a_segment_is(scheduler):
    server = RemoteScheduler(scheduler.url)
    server.add_task(worker="w", task_id="Segment_1", status=RUNNING)
    percent, message = (
        partial(tell, "Segment_1") for tell in (server.set_task_progress_percentage, server.set_task_status_message)
    )
    with Gauge(4, percent, message) as gauge:
        gauge.count(True)
        gauge.count(False)
        shown = {}
        while not shown.get("status_message"):
            time.sleep(0.05)
            shown = json.loads(scheduler.tasks())["response"]["Segment_1"]
    assert shown["progress_percentage"] == 50
    assert shown["status_message"] == "1 of 4 deliveries verified, 1 failed"


def test_a_luigid_that_is_gone_holds_up_no_segment(scheduler):
    server = RemoteScheduler(scheduler.url)
    server._rpc_retry_attempts = 1
    told = []

    def percent(value):
        told.append(value)
        server.set_task_progress_percentage("Segment_1", value)

    scheduler.kill()
    with Gauge(2, percent, lambda _: None) as gauge:
        gauge.count(True)
        while not told:
            time.sleep(0.05)
    assert told[0] == 50


def test_what_a_killed_machine_had_is_done_by_the_others(tmp_path, registry, scheduler):
    work = batch(tmp_path / "work", registry)
    victim, other = machine("one", work, scheduler), machine("two", work, scheduler)
    while len(list(work.glob("runs/batch/checkpoints/*/VerifyDigests.json"))) < 6:
        assert victim.poll() is None
        time.sleep(0.005)
    victim.kill()
    victim.communicate()
    assert ended(other).startswith(f"{3 * IMAGES} images verified")
    assert tree(work / "out") == tree(alone(tmp_path / "alone", registry) / "out")


def test_a_luigid_that_is_killed_and_started_anew_costs_nothing(tmp_path, registry, scheduler):
    work = batch(tmp_path / "work", registry)
    processes = [machine("one", work, scheduler), machine("two", work, scheduler)]
    while len(list(work.glob("runs/batch/checkpoints/*/VerifyDigests.json"))) < 6:
        assert processes[0].poll() is None
        time.sleep(0.005)
    scheduler.kill()
    time.sleep(0.5)
    scheduler.start()
    for process in processes:
        assert ended(process).startswith(f"{3 * IMAGES} images verified")
    assert tree(work / "out") == tree(alone(tmp_path / "alone", registry) / "out")


def test_an_image_that_fails_ends_the_run_of_all_and_is_named(tmp_path, registry, scheduler):
    work = batch(tmp_path / "work", registry, missing=7)
    processes = [machine("one", work, scheduler), machine("two", work, scheduler)]
    for process in processes:
        out, _ = process.communicate(timeout=90)
        assert process.returncode == 1
        assert out.startswith(f"{2 * (IMAGES - 1)} images verified, {IMAGES + 2} not")
    assert "app7:gone" in (tmp_path / "one").read_text() + (tmp_path / "two").read_text()


def test_no_luigid_is_one_line(tmp_path, registry):
    work = batch(tmp_path / "work", registry)
    url = f"http://127.0.0.1:{free_port()}"
    done = command(work, "run", "batch.yaml", "--scheduler", url)
    assert done.returncode == 1
    assert done.stderr == f"transship: no luigid answers at {url}; start one with: luigid\n"
