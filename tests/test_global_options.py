"""skopeo's global options, and what a command line may not say."""

import time
from pathlib import Path

import pytest

from support.command import command
from support.hostile import Reply, Seen, serving
from support.images import make_image, write_layout
from support.peers import ours


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_layout(folder / "layout", {"one": make_image("one", docker=False)})
    return folder


@pytest.mark.parametrize("name", ["policy"])
@pytest.mark.parametrize("after", [False, True])
def test_what_is_not_built_is_refused_and_not_ignored(world: Path, name: str, after: bool) -> None:
    option, words = (f"--{name}", "file"), ("inspect", "oci:layout:one")
    done = command(world, *((*words, *option) if after else (*option, *words)))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"--{name}: " in done.stderr


def test_the_global_options_are_taken_before_and_after_the_command(world: Path) -> None:
    plain = ours(world, "inspect", "oci:layout:one")
    accepted = ("--insecure-policy", "--tmpdir", str(world), "--command-timeout", "1m30s")
    assert ours(world, *accepted, "inspect", "oci:layout:one") == plain
    assert ours(world, "inspect", *accepted, "oci:layout:one") == plain
    assert command(world, "--override-arch", "arm64", "verify", "oci:layout:one").returncode == 2


def test_a_command_ends_when_its_time_is_up(tmp_path: Path) -> None:
    def script(_: Seen) -> Reply:
        time.sleep(5)
        return Reply(500)

    with serving(script) as server:
        words = ("--command-timeout", "200ms", "inspect", "--tls-verify=false", f"docker://{server.name}/a/b:c")
        done = command(tmp_path, *words)
    assert done.returncode == 1
    assert "--command-timeout" in done.stderr
