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


@pytest.mark.parametrize("after", [False, True])
def test_options_that_exclude_each_other_are_refused(world: Path, after: bool) -> None:
    options, words = ("--insecure-policy", "--require-signed"), ("inspect", "oci:layout:one")
    done = command(world, *((*words, *options) if after else (*options, *words)))
    assert (done.returncode, done.stdout) == (1, "")
    assert "exclude each other" in done.stderr


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


WAYS = {
    "before the command": ("--tls-verify=false", "copy"),
    "bare": ("copy", "--tls-verify=false"),
    "bare, after one that says otherwise": ("--tls-verify", "copy", "--tls-verify=false"),
    "of its side": ("--tls-verify", "copy", "--src-tls-verify=false"),
}


@pytest.mark.parametrize("words", WAYS.values(), ids=WAYS)
def test_tls_verify_of_old_scripts_holds_for_what_says_nothing_itself(tmp_path: Path, words: tuple[str, ...]) -> None:
    image = make_image("old", docker=False)

    def script(seen: Seen) -> Reply:
        if "/manifests/" in seen.path:
            return Reply(200, image.manifest_raw, {"Content-Type": image.media_type})
        blob = next((raw for digest, raw in image.blobs.items() if seen.path.endswith(str(digest))), None)
        return Reply(200, blob) if blob is not None else Reply(200, b"{}")

    with serving(script) as server:
        done = command(tmp_path, *words, "--screds", "me:password", f"docker://{server.name}/a/b:c", "dir:out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/manifest.json").read_bytes() == image.manifest_raw


def test_tls_verify_before_a_command_that_asks_one_registry(tmp_path: Path) -> None:
    with serving(lambda _: Reply(404, b"{}")) as server:
        done = command(tmp_path, "--tls-verify=false", "inspect", f"docker://{server.name}/a/b:c")
        own = command(tmp_path, "--tls-verify=false", "inspect", "--tls-verify", f"docker://{server.name}/a/b:c")
    assert (done.returncode, own.returncode) == (2, 1)
    assert command(tmp_path, "--tls-verify=false", "status", "x").returncode == 2
