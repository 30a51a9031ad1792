"""Cases 24 and 38 to 40 of docs/reliability.md: many who write, read and delete at once."""

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.command import await_lock, begin, command
from support.fault_job import RUN, noise, write_batch
from support.fault_proxy import faulty
from support.figures import FULL, figure
from support.images import make_base, make_image, write_layout
from support.registry_server import RegistryServer, made_image, push_image, running
from transship.pipeline.digest import Digest

WRITERS = 20
OF_ONE = WRITERS if FULL else 8
"""How many replace one image."""
BASE = make_base("shared", 1, 50_000)
IMAGES = {f"v{n}": make_image(n, layers=1, base_layers=BASE) for n in range(WRITERS)}


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "layout"
    write_layout(folder, IMAGES)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def copied_at_once(work: Path, pairs: list[tuple[str, str]]) -> list[tuple[int, str]]:
    copies = [begin(work, "copy", "--dest-tls-verify=false", source, to) for source, to in pairs]
    said = [copy.communicate(timeout=120)[1] for copy in copies]
    return [(copy.returncode, text) for copy, text in zip(copies, said, strict=True)]


def test_38_all_who_write_into_one_layout_at_once_are_in_it(tmp_path: Path, layout: Path) -> None:
    ended = copied_at_once(tmp_path, [(f"oci:{layout}:{name}", f"oci:out:{name}") for name in IMAGES])
    listed = json.loads((tmp_path / "out/index.json").read_bytes())["manifests"]
    figure(38, f"one layout: {len(listed)} of {WRITERS} listed, {sum(code != 0 for code, _ in ended)} errors")
    assert [code for code, _ in ended] == [0] * WRITERS, ended
    names = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in listed]
    assert sorted(names) == sorted(IMAGES)
    assert command(tmp_path, "verify", f"oci:out:v{WRITERS - 1}").returncode == 0


@pytest.mark.parametrize("to", ["docker-archive:out.tar:x:v1", "oci-archive:out.tar:v1", "dir:out"])
def test_38_of_those_who_replace_one_image_at_once_one_is_there_whole(tmp_path: Path, layout: Path, to: str) -> None:
    ended = copied_at_once(tmp_path, [(f"oci:{layout}:{name}", to) for name in list(IMAGES)[:OF_ONE]])
    figure(38, f"{to.partition(':')[0]}: one whole, {sum(code != 0 for code, _ in ended)} of {OF_ONE} said an error")
    assert any(code == 0 for code, _ in ended)
    assert all(text.startswith("transship: ") for code, text in ended if code)
    assert command(tmp_path, "verify", to).returncode == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_38_one_tag_ends_on_one_of_the_images_that_were_pushed_to_it(
    tmp_path: Path, layout: Path, server: RegistryServer
) -> None:
    to = f"docker://{server.name}/tagged:v1"
    ended = copied_at_once(tmp_path, [(f"oci:{layout}:{name}", to) for name in list(IMAGES)[:OF_ONE]])
    # Who reads the tag back while another has just moved it says so.
    figure(38, f"one tag: one whole, {sum(code != 0 for code, _ in ended)} of {OF_ONE} say that another was faster")
    assert any(code == 0 for code, _ in ended)
    assert all(text.startswith("transship: ") for code, text in ended if code)
    assert command(tmp_path, "verify", "--tls-verify=false", to).returncode == 0


def test_39_who_reads_while_others_write_and_delete_sees_whole_images(tmp_path: Path, layout: Path) -> None:
    steady = ("copy", f"oci:{layout}:v0", "oci:out:steady")
    assert command(tmp_path, *steady).returncode == 0
    torn: list[str] = []
    reads = Counter[int]()
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            raw = (tmp_path / "out/index.json").read_bytes()
            reads[0] += 1
            try:
                names = {
                    entry["annotations"]["org.opencontainers.image.ref.name"] for entry in json.loads(raw)["manifests"]
                }
            except ValueError:
                torn.append(repr(raw[:100]))
                continue
            if "steady" not in names:
                torn.append(str(names))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        copies = [begin(tmp_path, "copy", f"oci:{layout}:v1", f"oci:out:w{n}") for n in range(3)]
        assert [copy.wait(60) for copy in copies] == [0, 0, 0]
        deletes = [begin(tmp_path, "delete", f"oci:out:w{n}") for n in range(3)]
        [one.communicate(timeout=60) for one in (*copies, *deletes)]
        assert [one.returncode for one in deletes] == [0, 0, 0]
    finally:
        ended.set()
        reader.join()
    figure(39, f"{len(torn)} torn of {reads[0]} reads")
    assert torn == []
    assert reads[0] > 100
    assert command(tmp_path, "verify", "oci:out:steady").returncode == 0


def test_40_a_base_that_all_images_have_is_fetched_once(tmp_path: Path, server: RegistryServer) -> None:
    base, count = noise(40, 1_000_000), 20
    names = [f"based/i{n}" for n in range(count)]
    for n, name in enumerate(names):
        push_image(server, name, "v1", [base, noise(4000 + n, 20_000)])
    shared = Digest.of(made_image([base])[1][1])
    with faulty(server.port) as proxy:
        sources = [f"docker://{proxy.name}/{name}:v1" for name in names]
        work = write_batch(tmp_path / "work", sources, ["oci:out/mirror:{name}"], proxy.name)
        assert command(work, *RUN).returncode == 0
        figure(40, f"fetched {len(proxy.of(f'^GET .*{shared}'))} time for {count} images")
        assert len(proxy.of(f"^GET .*{shared}")) == 1


def test_24_of_two_runs_of_one_folder_one_works_and_a_dead_ones_lock_holds_nobody_up(
    tmp_path: Path, server: RegistryServer
) -> None:
    push_image(server, "locked", "v1", [noise(24, 3_000_000)])
    with ExitStack() as opened:
        proxy = opened.enter_context(faulty(server.port))
        work = write_batch(tmp_path / "w", [f"docker://{proxy.name}/locked:v1"], ["oci:out:x"], proxy.name)
        first = begin(work, *RUN)
        assert await_lock(first, work / "runs/batch")
        second = begin(work, *RUN)
        codes = (first.wait(60), second.wait(60))
        said = first.communicate()[1] + second.communicate()[1]
        figure(24, f"two at once: exits {codes}, {len(proxy.blobs)} blob requests")
        assert first.returncode == 0
        assert second.returncode == 0 or "is in use by process" in said
        assert len(proxy.blobs) == 2
        # The number of a process that is dead, and of one that lives and is another.
        for pid in (subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout, "1\n"):
            (work / "runs/batch/lock").write_text(pid)
            assert command(work, *RUN).returncode == 0
