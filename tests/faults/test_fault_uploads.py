"""Cases 9, 13 to 15 and 21 of docs/reliability.md: what a network or a signal may do to a push."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.command import begin, command
from support.fault_job import IN_FLIGHT, LARGE, QUICK, RUN, write_batch
from support.fault_proxy import Rule, faulty
from support.figures import figure, megabytes
from support.images import ImageBytes, make_image, write_layout
from support.registry_server import RegistryServer, running
from support.upload_proxy import Break, Passed, proxied

SIZE = 2 * LARGE
"""What gzip halves."""


@dataclass(frozen=True)
class Pushed:
    """An image with one large layer in a layout, and the registry it is to go to."""

    image: ImageBytes
    layout: Path
    server: RegistryServer

    @property
    def size(self) -> int:
        return len(self.image.layers[0].packed)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageBytes, Path]:
    folder = tmp_path_factory.mktemp("source")
    image = make_image("large", layers=1, layer_size=SIZE)
    write_layout(folder / "layout", {"v1": image})
    return image, folder / "layout"


@pytest.fixture
def pushed(tmp_path: Path, source: tuple[ImageBytes, Path]) -> Iterator[Pushed]:
    with running(tmp_path / "registry") as server:
        yield Pushed(*source, server)


def stale(server: RegistryServer) -> list[Path]:
    """Return the uploads that the registry still has open."""
    return list(server.log.parent.rglob("_uploads/*/data"))


def assert_there(pushed: Pushed, repository: str = "pushed") -> None:
    """Another tool reads the image back from the registry, and hashes all of it."""
    at = f"docker://{pushed.server.name}/{repository}:v1"
    out = pushed.server.log.parent / "back"
    done = subprocess.run(
        ["skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false", at, f"dir:{out}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (out / "manifest.json").read_bytes() == pushed.image.manifest_raw


def push(work: Path, pushed: Pushed, name: str) -> "subprocess.CompletedProcess[str]":
    write_batch(work, [f"oci:{pushed.layout}:v1"], [f"docker://{name}/pushed:v1"], name)
    return command(work, *RUN)


def test_13_an_upload_that_is_reset_at_half_goes_on_from_where_the_registry_has_it(
    tmp_path: Path, pushed: Pushed
) -> None:
    half = pushed.size // 2
    left = [1]

    def rule(seen: Passed) -> Break | None:
        return (
            Break(half)
            if seen.method in ("PATCH", "PUT") and "/blobs/uploads/" in seen.target and left and left.pop()
            else None
        )

    with proxied(pushed.server.port, rule, "kept") as proxy:
        done = push(tmp_path / "work", pushed, proxy.name)
        figure(13, f"exit {done.returncode}, {megabytes(proxy.uploaded)} of {megabytes(pushed.size)} sent")
        assert (done.returncode, done.stderr) == (0, "")
        assert proxy.uploaded <= 1.025 * pushed.size + (1 << 20)
        assert stale(pushed.server) == []
        assert_there(pushed)


@pytest.mark.parametrize("what", ["^PUT .*/blobs/uploads/", "^PUT .*/manifests/"])
def test_14_a_reply_that_was_lost_is_settled_by_asking(tmp_path: Path, pushed: Pushed, what: str) -> None:
    with faulty(pushed.server.port, Rule("rst_reply", what, 1)) as proxy:
        done = push(tmp_path / "work", pushed, proxy.name)
        whole = sum(map(len, pushed.image.blobs.values()))
        figure(14, f"{what[1:]}: exit {done.returncode}, {megabytes(proxy.up)} of {megabytes(whole)} sent")
        assert (done.returncode, done.stderr) == (0, "")
        assert [one.did for one in proxy.of(what)].count("rst_reply") == 1
        assert proxy.up == whole
        assert stale(pushed.server) == []
        assert_there(pushed)


def test_15_an_upload_that_the_registry_has_forgotten_begins_anew(tmp_path: Path, pushed: Pushed) -> None:
    with faulty(pushed.server.port, Rule("status", "^PATCH", 1, status=404)) as proxy:
        done = push(tmp_path / "work", pushed, proxy.name)
        figure(15, f"404 on PATCH: exit {done.returncode}, {len(stale(pushed.server))} stale uploads")
        assert (done.returncode, done.stderr) == (0, "")
        assert stale(pushed.server) == []
        assert_there(pushed)


def test_15_a_registry_that_is_started_again_in_the_middle_of_a_push_gets_all_of_it(
    tmp_path: Path, pushed: Pushed
) -> None:
    """Another process with the same folder, and by its defaults another key: it takes no upload of the first."""
    with ExitStack() as opened:
        proxy = opened.enter_context(faulty(pushed.server.port, Rule("rst_early", "^PUT .*/blobs/uploads/", -1)))
        write_batch(tmp_path / "work", [f"oci:{pushed.layout}:v1"], [f"docker://{proxy.name}/pushed:v1"], proxy.name)
        process = begin(tmp_path / "work", *RUN)
        while not proxy.of("^PUT .*/blobs/uploads/"):
            assert process.poll() is None
            time.sleep(0.01)
        second = opened.enter_context(running(pushed.server.log.parent))
        proxy.upstream = second.port
        proxy.rules.clear()
        out, err = process.communicate(timeout=600)
        figure(
            15, f"registry restarted: exit {process.returncode}, {megabytes(proxy.up)} of {megabytes(pushed.size)} sent"
        )
        assert (process.returncode, err) == (0, ""), out
        assert_there(pushed)


VERBS = ("^HEAD .*/blobs/", "^POST ", "^PATCH ", "^PUT .*/blobs/", "^PUT .*/manifests/", "^HEAD .*/manifests/")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_9_a_status_that_passes_is_waited_out_on_every_verb_of_a_push(
    tmp_path: Path, pushed: Pushed, status: int
) -> None:
    rules = [Rule("status", verb, 2, status=status, headers={"Retry-After": "0"}) for verb in VERBS]
    with faulty(pushed.server.port, *rules) as proxy:
        done = push(tmp_path / "work", pushed, proxy.name)
        figure(9, f"{status} twice on each verb of a push: exit {done.returncode}")
        assert (done.returncode, done.stderr) == (0, "")
        assert {rule.match for rule in rules if rule.times} == set()
        assert stale(pushed.server) == []
        assert_there(pushed)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("words", ["run", "copy"])
def test_21_a_push_that_is_stopped_cancels_its_upload(
    tmp_path: Path, pushed: Pushed, number: signal.Signals, code: int, words: str
) -> None:
    work = tmp_path / "work"
    with faulty(pushed.server.port, Rule("status", "^PUT .*/blobs/", -1, status=503)) as proxy:
        to = f"docker://{proxy.name}/pushed:v1"
        write_batch(work, [f"oci:{pushed.layout}:v1"], [to], proxy.name, {**QUICK, "tries": 1000})
        copying = ("copy", "--dest-tls-verify=false", f"oci:{pushed.layout}:v1", to)
        process = begin(work, *(RUN if words == "run" else copying))
        while not proxy.of("^PUT .*/blobs/"):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        assert stale(pushed.server)
        begun = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        took = time.monotonic() - begun
        left = len(stale(pushed.server))
        said = f"exit {process.returncode} in {took:.1f} s, {left} stale uploads"
        figure(21, f"{words} that pushes, {number.name}: {said}")
        assert process.returncode == code, err
        assert re.fullmatch(r"transship: (interrupted|told to end); what is done is kept, .*\n", err), err
        assert took < 10
        # An interrupt waits two seconds for the registry, and no longer.
        assert not left or took > 2
        proxy.rules.clear()
        assert command(work, *(RUN if words == "run" else copying)).returncode == 0
        assert_there(pushed)
        assert json.loads((pushed.server.log.parent / "back/manifest.json").read_bytes())["schemaVersion"] == 2


def test_21_a_run_that_waits_for_a_registry_that_says_nothing_ends_at_once(tmp_path: Path, pushed: Pushed) -> None:
    work = tmp_path / "work"
    assert push(tmp_path / "first", pushed, pushed.server.name).returncode == 0
    rule = Rule("stall", "^GET .*/blobs/", -1, pushed.size // 2)
    for words in (RUN, ("copy", "--src-tls-verify=false", "docker://{0}/pushed:v1", "oci:out:x")):
        with faulty(pushed.server.port, rule) as proxy:
            write_batch(work, [f"docker://{proxy.name}/pushed:v1"], ["oci:out:x"], proxy.name, {})
            said = tuple(word.format(proxy.name) for word in words)
            process = begin(work, *said)
            while not any(one.down >= pushed.size // 2 for one in proxy.blobs):
                assert process.poll() is None
                time.sleep(0.01)
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
            took = time.monotonic() - begun
            figure(21, f"{words[0]} before a registry that stalls: ends {took:.1f} s after SIGTERM")
            assert (process.returncode, took < 10) == (143, True)
            assert [path.name for path in work.iterdir() if path.name.startswith(".")] == []
            proxy.rules.clear()
            proxy.passed.clear()
            assert command(work, *said).returncode == 0
            if words == RUN:
                assert proxy.down <= pushed.size - pushed.size // 2 + IN_FLIGHT


def test_21_what_a_killed_copy_left_is_gone_after_the_next(tmp_path: Path, pushed: Pushed) -> None:
    assert push(tmp_path / "first", pushed, pushed.server.name).returncode == 0
    with faulty(pushed.server.port, Rule("stall", "^GET .*/blobs/", 1, pushed.size // 2)) as proxy:
        words = ("copy", "--src-tls-verify=false", f"docker://{proxy.name}/pushed:v1", "oci:out:x")
        process = begin(tmp_path, *words)
        while not any(one.down >= pushed.size // 2 for one in proxy.blobs):
            time.sleep(0.01)
        process.kill()
        process.communicate()
        assert list(tmp_path.glob(".transship-*"))
        assert command(tmp_path, *words).returncode == 0
        assert list(tmp_path.glob(".transship-*")) == []
