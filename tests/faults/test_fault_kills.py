"""Cases 1, 18 and 19 of docs/reliability.md: runs killed where bytes come in, and what the next one asks for."""

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.command import begin, command, tree
from support.command import killed as command_killed
from support.fault_job import IN_FLIGHT, LARGE, QUICK, RUN, leftovers, noise, write_batch
from support.fault_proxy import FaultProxy, Rule, faulty
from support.figures import FULL, figure, megabytes
from support.registry_server import RegistryServer, made_image, push_image, running
from transship.pipeline.digest import Digest

SCALE = 1_000_000 if FULL else 50_000
IMAGES, KILLS = (20, 20) if FULL else (10, 6)
NAMES = [f"killed/i{n}" for n in range(IMAGES)]
PLACES = ["oci:out/mirror:{name}", "dir:out/dir-{name}"]


@dataclass(frozen=True)
class Held:
    """The registry with the images, on one base, and one of one large layer."""

    server: RegistryServer
    unique: int
    large: int
    digest: Digest


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """In full as the list of cases has it: 8 MB that all share, 12 MB of each one's own, of 20 images 248 MB."""
    base, large = noise(18, 8 * SCALE), noise(1, LARGE)
    blobs: dict[Digest, int] = {}
    with running(tmp_path_factory.mktemp("registry")) as server:
        for n, name in enumerate(NAMES):
            layers = [base, *(noise(1800 + 2 * n + own, 6 * SCALE) for own in range(2))]
            push_image(server, name, "v1", layers)
            blobs |= {Digest.of(blob): len(blob) for blob in made_image(layers)[1]}
        push_image(server, "killed/large", "v1", [large])
        blob = made_image([large])[1][1]
        yield Held(server, sum(blobs.values()), len(blob), Digest.of(blob))


def batch(work: Path, proxy: FaultProxy, to: list[str], target: RegistryServer | None = None) -> Path:
    made = write_batch(work, [f"docker://{proxy.name}/{name}:v1" for name in NAMES], to, proxy.name)
    (work / "out").mkdir()
    if target:
        document = json.loads((work / "batch.yaml").read_text())
        document["registries"][target.name] = {"tls-verify": False}
        (work / "batch.yaml").write_text(json.dumps(document))
    return made


def killed(work: Path, proxy: FaultProxy, growth: int) -> int | None:
    """Run, and kill once ``growth`` bytes more were sent; return how many blobs were under way, None if it ended."""
    before, begun = proxy.down, len(proxy.blobs)
    # Nothing more comes until then: on a busy machine the run would end before anybody looks.
    proxy.most = before + growth
    met = command_killed(begin(work, *RUN), lambda: proxy.down >= proxy.most)
    proxy.most = 0
    if not met:
        return None
    # What came of a blob lies in the store, whole or half: the rest of what was asked for was on its way.
    whole = sum(1 for _ in work.glob("runs/batch/blobs/sha256/*"))
    return max(1, len(list(work.glob("runs/batch/ingest/sha256-*"))), len(proxy.blobs) - begun - whole)


def assert_within(sent: int, unique: int, in_flight: int) -> None:
    """What is sent again is what was under way: at most 4 MiB of each blob that was, at each kill."""
    assert unique <= sent <= 1.05 * unique + IN_FLIGHT * in_flight


@pytest.mark.parametrize("transport", ["oci", "dir", "oci-archive", "docker-archive", "docker"])
def test_18_a_run_killed_at_half_of_its_bytes_is_completed_by_the_same_command(
    tmp_path: Path, held: Held, transport: str
) -> None:
    with ExitStack() as opened:
        proxy = opened.enter_context(faulty(held.server.port))
        target = opened.enter_context(running(tmp_path / "target")) if transport == "docker" else None
        to = {
            "oci": "oci:out/mirror:{name}",
            "dir": "dir:out/dir-{name}",
            "oci-archive": "oci-archive:out/{name}.tar:v1",
            "docker-archive": "docker-archive:out/{name}.tar:{name}:v1",
            "docker": f"docker://{target.name if target else ''}/{{place}}/{{repository}}:v1",
        }[transport]
        trees = []
        for place in ("calm", "work"):
            work = batch(tmp_path / place, proxy, [to.replace("{place}", place)], target)
            in_flight = killed(work, proxy, held.unique // 2) if place == "work" else 0
            done = command(work, *RUN)
            assert (done.returncode, done.stderr) == (0, "")
            trees.append(tree(work / "out"))
            if place == "calm":
                proxy.passed.clear()
        assert in_flight
        figure(18, f"{transport}: exit 0, {proxy.down / held.unique:.3f} times the bytes")
        assert_within(proxy.down, held.unique, in_flight)
        assert trees[0] == trees[1]
        assert leftovers(work) == []
        plain = ["--tls-verify=false"] if target else []
        assert command(work, "verify", *plain, "runs/batch").returncode == 0


def test_19_killed_at_random_again_and_again_it_ends_as_a_calm_run_does(tmp_path: Path, held: Held) -> None:
    source = random.Random(19)
    with faulty(held.server.port) as proxy:
        calm = batch(tmp_path / "calm", proxy, PLACES)
        assert command(calm, *RUN).returncode == 0
        proxy.passed.clear()
        work = batch(tmp_path / "work", proxy, PLACES)
        met = [killed(work, proxy, source.randrange(1, held.unique * 3 // 2 // KILLS)) for _ in range(KILLS)]
        done = command(work, *RUN)
        assert (done.returncode, done.stderr) == (0, "")
    kills = [count for count in met if count is not None]
    ratio = f"{proxy.down / held.unique:.3f} times the {megabytes(held.unique)} of {IMAGES} images"
    figure(19, f"{len(kills)} kills at random, {sum(kills)} blobs under way in all: the same result, {ratio}")
    assert len(kills) >= KILLS - 2
    assert_within(proxy.down, held.unique, sum(kills))
    assert tree(work / "out") == tree(calm / "out")
    assert leftovers(work) == []


@pytest.mark.parametrize("end", ["reset", "kill"])
def test_1_what_came_of_a_blob_before_the_process_ended_is_not_asked_for_again(
    tmp_path: Path, held: Held, end: str
) -> None:
    blob = f"^GET .*/blobs/{held.digest}"
    rule = Rule("rst" if end == "reset" else "stall", blob, 1, held.large // 2)
    with faulty(held.server.port, rule) as proxy:
        work = tmp_path / "work"
        source = f"docker://{proxy.name}/killed/large:v1"
        write_batch(work, [source], ["oci:out:x"], proxy.name, {**QUICK, "tries": 1, "idle-timeout": 60})
        if end == "reset":
            proxy.rules.append(Rule("status", blob, -1, status=503))
            assert command(work, *RUN).returncode == 1
        else:
            assert killed(work, proxy, held.large // 2 - IN_FLIGHT // 4)
        proxy.rules.clear()
        done = command(work, *RUN)
        assert (done.returncode, done.stderr) == (0, "")
        figure(1, f"{end} at half, then another process: exit 0, {megabytes(proxy.down)}")
        # Beside it there is a config of a few bytes.
        assert held.large <= proxy.down <= held.large + (1000 if end == "reset" else IN_FLIGHT)
        assert command(work, "verify", "oci:out:x").returncode == 0
        assert leftovers(work) == []
