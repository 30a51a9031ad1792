"""Who to be at a registry, and how often to ask: the options that skopeo's commands share."""

import json
from pathlib import Path

import pytest

from support.command import command
from support.fixtures import PASSWORD, USER
from support.hostile import Reply, Seen, serving
from support.images import make_image
from support.peers import ours
from support.registry_server import RegistryServer, push_image
from transship.pipeline.digest import Digest

PLAIN = "--tls-verify=false"
IMAGE = make_image("asked")


@pytest.fixture(scope="module")
def registry(guarded_registry: RegistryServer) -> RegistryServer:
    push_image(guarded_registry, "team/app", "v1", [b"x"], PASSWORD)
    return guarded_registry


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--creds", f"{USER}:{PASSWORD}"), 0),
        (("--username", USER, "--password", PASSWORD), 0),
        (("--authfile", "auth.json"), 0),
        (("--authfile", "auth.json", "--no-creds"), 1),
        (("--authfile", "auth.json", "--creds", f"{USER}:wrong"), 1),
        (("--authfile", "absent.json"), 1),
        (("--creds", USER), 1),
    ],
)
@pytest.mark.parametrize("verb", ["inspect", "list-tags"])
def test_who_is_asking(registry: RegistryServer, tmp_path: Path, verb: str, words: tuple[str, ...], code: int) -> None:
    logged = command(tmp_path, "login", PLAIN, "-u", USER, "-p", PASSWORD, "--authfile", "auth.json", registry.name)
    assert logged.returncode == 0
    what = f"docker://{registry.name}/team/app" + (":v1" if verb == "inspect" else "")
    done = command(tmp_path, verb, PLAIN, *words, what)
    assert done.returncode == code
    assert PASSWORD not in done.stdout + done.stderr
    assert "wrong" not in done.stderr


def served(seen: Seen) -> Reply:
    if "/tags/" in seen.path:
        return Reply(200, json.dumps({"tags": ["v1"]}).encode())
    if "/manifests/" in seen.path:
        return Reply(200, IMAGE.manifest_raw, {"Content-Type": IMAGE.media_type})
    return Reply(200, IMAGE.blobs[Digest.parse(seen.path.rpartition("/")[2])])


def test_a_registry_token_is_sent_as_it_is(tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        return served(seen) if seen.authorization == "Bearer abc" else Reply(401)

    with serving(script) as server:
        words = ("inspect", PLAIN, f"docker://{server.name}/a:v1")
        assert json.loads(ours(tmp_path, *words, "--registry-token", "abc"))["RepoTags"] == ["v1"]
        assert command(tmp_path, *words).returncode == 1


@pytest.mark.parametrize("times", [0, 2])
def test_a_failure_that_may_pass_is_tried_again_so_often(tmp_path: Path, times: int) -> None:
    with serving(lambda _: Reply(503)) as server:
        words = ("--retry-times", str(times), "--retry-delay", "1ms", f"docker://{server.name}/a")
        assert command(tmp_path, "list-tags", PLAIN, *words).returncode == 1
        assert len(server.asked("/v2/a/")) == times + 1


@pytest.mark.parametrize("words", [("--retry-times", "-1"), ("--retry-times", "x"), ("--retry-delay", "5 minutes")])
def test_what_is_no_number_and_no_duration_is_an_error(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = command(tmp_path, "list-tags", *words, "docker://localhost:1/a")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
