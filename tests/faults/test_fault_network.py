"""Cases 1 to 12 and 16 of the list: what a network may do to a blob that is read. Numbers as in docs/reliability.md."""

import contextlib
import random
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from support.command import command, tree
from support.fault_job import IN_FLIGHT, LARGE, QUICK, RUN, leftovers, noise, skopeo, write_batch
from support.fault_proxy import Do, FaultProxy, Rule, faulty
from support.figures import FULL, figure, megabytes
from support.registry_server import RegistryServer, made_image, push_image, running
from transship.pipeline.digest import Digest

HALF = LARGE // 2
LAYER = noise(1, LARGE)
IMAGE = "faults/large:v1"


@dataclass(frozen=True)
class Held:
    """The registry, and the one large blob in it."""

    server: RegistryServer
    digest: str
    size: int

    def get(self, do: Do, times: int = -1, at: int = 0, **more: int) -> Rule:
        """Return a rule for the blob."""
        return Rule(do, f"^GET .*/blobs/{self.digest}", times, at, **more)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    blob = made_image([LAYER])[1][1]
    with running(tmp_path_factory.mktemp("registry")) as server:
        push_image(server, "faults/large", "v1", [LAYER])
        yield Held(server, str(Digest.of(blob)), len(blob))


def run(work: Path, proxy: FaultProxy, image: str = IMAGE) -> str:
    """Run one image to a layout; return what is said of a failure, "" where there is none."""
    write_batch(work, [f"docker://{proxy.name}/{image}"], ["oci:out:x"], proxy.name)
    done = command(work, *RUN)
    assert "Traceback" not in done.stderr
    assert (done.returncode == 0) is (done.stderr == ""), done.stderr
    return done.stderr


def assert_whole(work: Path, held: Held) -> None:
    """The layout is whole: `verify` has read every byte; and nothing is left beside it."""
    done = command(work, "verify", "oci:out:x")
    assert done.returncode == 0, done.stderr
    assert (work / "out/blobs/sha256" / held.digest.partition(":")[2]).stat().st_size == held.size
    assert leftovers(work) == []


@dataclass(frozen=True)
class Row:
    """What is done to the blob, and how many times its size may be sent at most."""

    case: int
    said: str
    rules: tuple[tuple[Do, int, float], ...]
    most: float
    gets: int


# Places are fractions of the blob; 1 time or, as -1, every time.
READS = [
    Row(1, "reset at half", (("rst", 1, 0.5),), 1, 2),
    Row(2, "closed at half", (("fin", 1, 0.5),), 1, 2),
    Row(3, "reset every fifth", (("rst", -1, 0.2),), 1, 6),
    Row(4, "reset every 512 KiB", (("rst", -1, 524288 / LARGE),), 1.005, LARGE // 512_000 + 2),
    Row(5, "reset at half, no ranges", (("rst", 1, 0.5), ("norange", -1, 0)), 1.5, 2),
    Row(6, "reset, then a 206 from elsewhere", (("rst", 1, 0.5), ("wrong_range", 1, 0.01)), 1.5, 3),
    Row(6, "reset, then a 206 of another total", (("rst", 1, 0.5), ("wrong_total", 1, 0.01)), 1.5, 3),
    Row(6, "reset, then a rest of other bytes", (("rst", 1, 0.5), ("flip", 1, 0.1)), 2, 3),
    Row(7, "half with a Content-Length to match", (("shortcl", 1, 0.5),), 1, 2),
    Row(7, "half without a length", (("nocl_trunc", 1, 0.5),), 1, 2),
    Row(8, "one bit flipped", (("flip", 1, 0.7),), 2, 2),
]


@pytest.mark.parametrize("row", READS, ids=[f"{row.case}-{row.said}" for row in READS])
def test_a_blob_that_is_tampered_with_once_arrives_whole_and_costs_no_more_than_it_must(
    tmp_path: Path, held: Held, row: Row
) -> None:
    rules = [held.get(do, times, int(at * held.size)) for do, times, at in row.rules]
    with faulty(held.server.port, *deepcopy(rules)) as proxy:
        assert run(tmp_path / "work", proxy) == ""
        sent, gets = proxy.down, len(proxy.of(held.digest))
        figure(row.case, f"{row.said}: exit 0, {megabytes(sent)}, {gets} GETs")
        assert_whole(tmp_path / "work", held)
        assert held.size <= sent <= row.most * held.size + IN_FLIGHT
        assert gets <= row.gets
        skopeo(row.case, proxy, rules, IMAGE, tmp_path / "peer")


@pytest.mark.parametrize(
    ("case", "do", "words", "gets"),
    [
        (7, "shortcl", "Content-Length is", 2),
        (8, "flip", "blob digest does not match", 2),
    ],
)
def test_a_blob_that_is_always_wrong_is_fetched_once_more_and_then_refused(
    tmp_path: Path, held: Held, case: int, do: Do, words: str, gets: int
) -> None:
    work = tmp_path / "work"
    with faulty(held.server.port, held.get(do, -1, HALF)) as proxy:
        said = run(work, proxy)
        figure(case, f"always so: exit 1, {len(proxy.of(held.digest))} GETs, names the blob")
        assert words in said
        assert held.digest in said
        assert len(proxy.of(held.digest)) == gets
        assert not (work / "out/index.json").exists()
        assert leftovers(work / "out") == []
        proxy.rules.clear()
        assert run(work, proxy) == ""
        assert_whole(work, held)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_9_a_status_that_passes_is_waited_out_on_every_read(tmp_path: Path, held: Held, status: int) -> None:
    rules = [Rule("status", match, 3, status=status) for match in ("/manifests/", f"^GET .*{held.digest}")]
    with faulty(held.server.port, *deepcopy(rules)) as proxy:
        assert run(tmp_path / "work", proxy) == ""
        figure(9, f"{status} three times: exit 0, {megabytes(proxy.down)}")
        assert len([one for one in proxy.passed if one.status == status]) == 6
        assert held.size <= proxy.down < held.size + IN_FLIGHT
        skopeo(9, proxy, [Rule("status", "/blobs/", 1, status=status)], IMAGE, tmp_path / "peer")


@pytest.mark.parametrize(
    ("said", "least"),
    [("1", 0.98), ("date", 0.5), ("3600", 0.98), ("-5", 0.0), ("", 0.0), ("soon", 0.0)],
)
def test_10_retry_after_is_kept_up_to_the_cap_that_is_set(tmp_path: Path, held: Held, said: str, least: float) -> None:
    """A date has whole seconds; the cap is one second, so that nobody waits for an hour here."""
    value = formatdate(time.time() + 3600, usegmt=True) if said == "date" else said
    rule = Rule("status", f"^GET .*{held.digest}", 1, status=429, headers={"Retry-After": value} if value else {})
    with faulty(held.server.port, rule) as proxy:
        assert run(tmp_path / "work", proxy) == ""
        first, second = proxy.of(f"^GET .*{held.digest}")
        figure(10, f"Retry-After {said or 'absent'}, cap 1 s: exit 0 after {second.at - first.at:.1f} s")
        assert second.at - first.at >= least


def test_10_a_pause_is_the_hosts_and_not_one_requests(tmp_path: Path, held: Held) -> None:
    images = [f"faults/small{n}" for n in range(4)]
    for n, name in enumerate(images):
        push_image(held.server, name, "v1", [noise(n, 1000)])
    with faulty(held.server.port, Rule("status", "/manifests/", 1, status=429, headers={"Retry-After": "1"})) as proxy:
        work = write_batch(
            tmp_path / "work",
            [f"docker://{proxy.name}/{name}:v1" for name in images],
            ["oci:out:{name}"],
            proxy.name,
        )
        assert command(work, *RUN, "--workers", "1").returncode == 0
        first = next(one for one in proxy.passed if one.status == 429)
        later = [one.at for one in proxy.passed if one.at > first.at]
        figure(10, f"after one 429 of a host nothing is asked for {min(later) - first.at:.1f} s")
        assert min(later) - first.at >= 0.98


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("no answer", Rule("hang", "^GET .*/manifests/", 1)),
        ("a head byte by byte", Rule("slow_head", "^GET .*/manifests/", 1)),
        ("nothing more from half on", Rule("stall", "^GET .*/blobs/", 1, HALF)),
        ("100 bytes a second", Rule("throttle", "^GET .*/blobs/", 1, bps=100)),
    ],
)
def test_11_what_stands_still_or_crawls_is_left_and_asked_again(
    tmp_path: Path, held: Held, said: str, rule: Rule
) -> None:
    work = tmp_path / "work"
    if "blobs" in rule.match:
        rule.match = f"^GET .*/blobs/{held.digest}"
    with faulty(held.server.port, deepcopy(rule)) as proxy:
        patience = {**QUICK, "answer-timeout": 1, "idle-timeout": 1}
        write_batch(work, [f"docker://{proxy.name}/{IMAGE}"], ["oci:out:x"], proxy.name, patience)
        begun = time.monotonic()
        done = command(work, *RUN)
        figure(11, f"{said}, time-outs 1 s: exit {done.returncode} in {time.monotonic() - begun:.0f} s")
        assert (done.returncode, done.stderr) == (0, "")
        assert_whole(work, held)
        assert proxy.down <= held.size + IN_FLIGHT
        assert any(one.did == rule.do for one in proxy.passed)
        skopeo(11, proxy, [rule], IMAGE, tmp_path / "peer")


def test_11_a_blob_may_be_given_a_time_in_all_and_goes_on_by_the_next_request(tmp_path: Path, held: Held) -> None:
    work = tmp_path / "work"
    seconds = 20 if FULL else 1
    with faulty(held.server.port, held.get("throttle", 2, bps=held.size // (4 * seconds))) as proxy:
        patience = {**QUICK, "blob-timeout": seconds}
        write_batch(work, [f"docker://{proxy.name}/{IMAGE}"], ["oci:out:x"], proxy.name, patience)
        done = command(work, *RUN)
        assert (done.returncode, done.stderr) == (0, "")
        assert_whole(work, held)
        assert len(proxy.of(held.digest)) == 3
        assert proxy.down <= held.size + 2 * IN_FLIGHT


class BlackHole:
    """Takes connections and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(self._listener.accept()[0])

    def close(self) -> None:
        # Closing alone does not wake who accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self.taken:
            one.close()


@pytest.mark.parametrize("verify", [True, False])
def test_12_a_black_hole_where_tls_should_be_costs_its_time_outs_once_and_not_once_an_image(
    tmp_path: Path, verify: bool
) -> None:
    with contextlib.closing(BlackHole()) as hole:
        patience = {"tries": 2, "connect-timeout": 0.5, "answer-timeout": 0.5, "first-wait": 0.01}
        work = write_batch(tmp_path, [f"docker://127.0.0.1:{hole.port}/i{n}:v1" for n in range(10)], ["oci:out:{name}"])
        settings = f'"registries": {{"127.0.0.1:{hole.port}": {{"tls-verify": {str(verify).lower()}, "patience": '
        text = (work / "batch.yaml").read_text()
        pairs = ", ".join(f'"{name}": {value}' for name, value in patience.items())
        (work / "batch.yaml").write_text(text.replace('"registries": {', f"{settings}{{{pairs}}}}}"))
        begun = time.monotonic()
        done = command(work, *RUN, "--workers", "1")
        figure(12, f"10 images, connect time-out 0.5 s: exit 1 in {time.monotonic() - begun:.1f} s")
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 10
        assert re.search(r"no (answer|connection) within the time allowed", done.stderr)
        assert len(hole.taken) <= 2 * 2


def faults(images: Sequence[bytes], random_: random.Random) -> Iterator[Rule]:
    """Yield a fault for about every twentieth blob."""
    kinds: tuple[Do, ...] = ("rst", "fin", "flip", "shortcl", "nocl_trunc", "status", "rst_early")
    for blob in images:
        if random_.random() < 0.05:
            at = random_.randrange(len(blob))
            yield Rule(random_.choice(kinds), f"^GET .*/blobs/{Digest.of(blob)}", 1, at)


def test_16_a_hundred_blobs_with_a_fault_at_every_twentieth_all_arrive(tmp_path: Path, held: Held) -> None:
    source, rules, sizes = random.Random(16), [], 0
    names = [f"dribble/i{n}" for n in range(20)]
    for n, name in enumerate(names):
        layers = [noise(1000 + 10 * n + m, 200_000) for m in range(5)]
        push_image(held.server, name, "v1", layers)
        blobs = made_image(layers)[1]
        rules += list(faults(blobs[1:], source))
        sizes += sum(map(len, blobs))
    with faulty(held.server.port, *rules) as proxy:
        work = write_batch(
            tmp_path / "work", [f"docker://{proxy.name}/{name}:v1" for name in names], ["oci:out:{name}"], proxy.name
        )
        done = command(work, *RUN)
        met = [one.did for one in proxy.passed if one.did]
        figure(16, f"{len(met)} faults: exit 0, {proxy.down / sizes:.3f} times the bytes")
        assert (done.returncode, done.stderr) == (0, "")
        assert len(met) == len(rules) >= 3
        assert sizes <= proxy.down <= 1.05 * sizes
        before = tree(work / "out")
        assert command(work, "verify", "runs/batch").returncode == 0
        assert tree(work / "out") == before
