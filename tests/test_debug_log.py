"""``--debug``: a log of what a command does, in which no secret and nothing that a terminal obeys stands."""

import base64
import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from support.command import command
from support.hostile import Reply, Seen, ranged, serving
from support.hostile_world import BASIC, IMAGE, PASSWORD, Script
from support.images import make_image, make_multi, write_layout
from support.registry_server import RegistryServer, push_image

LINE = re.compile(r"transship: debug: \d\d:\d\d:\d\d\.\d{3} [^\x00-\x1f\x7f-\x9f]+")
SIGNATURE = "planted-s1gnature"


def logged(folder: Path, *words: str) -> str:
    """Run the command with a log, which ends well; return that without its times."""
    done = command(folder, "--debug", *words)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("transship: debug: ")]
    assert all(LINE.fullmatch(line) for line in lines), lines
    return "\n".join(line.split(" ", 3)[3] for line in lines)


def account(folder: Path, registry: str) -> str:
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": {registry: {"auth": BASIC.split()[1]}}}))
    path.chmod(0o600)
    return f"--authfile={path}"


def test_requests_are_told_and_neither_credentials_nor_signed_queries(tmp_path: Path) -> None:
    blobs = {str(digest): raw for digest, raw in IMAGE.all_blobs.items()}
    token = "planted-t0ken"

    def storage(seen: Seen) -> Reply:
        assert f"X-Amz-Signature={SIGNATURE}" in seen.target
        return ranged(blobs[seen.path.rpartition("/")[2]], seen)

    with serving(storage) as store, serving(lambda _: Reply(404)) as registry:

        def script(seen: Seen) -> Reply:
            if seen.path == "/token":
                assert seen.authorization == BASIC
                return Reply(200, json.dumps({"token": token}).encode())
            if seen.authorization != f"Bearer {token}":
                realm = f'Bearer realm="{registry.url}/token",service="registry",scope="repository:app:pull"'
                return Reply(401, headers={"WWW-Authenticate": realm})
            if "/blobs/" in seen.path:
                digest = seen.path.rpartition("/")[2]
                place = f"{store.url}/bucket/{digest}?X-Amz-Signature={SIGNATURE}&X-Amz-Credential=planted-key"
                return Reply(307, headers={"Location": place})
            return Script(challenge="")(seen)

        registry.script = script
        image = f"docker://{registry.name}/app:v1"
        log = logged(tmp_path, "copy", account(tmp_path, registry.name), "--src-tls-verify=false", image, "dir:out")
        config = IMAGE.config
        assert re.search(rf"GET {registry.url}/v2/app/manifests/v1: 401, 0 bytes sent, \d+ bytes, \d+\.\d+ s", log)
        assert f"GET {registry.url}/token: 200" in log
        assert f"GET {registry.url}/v2/app/manifests/v1: 200, 0 bytes sent, {len(IMAGE.manifest_raw)} bytes" in log
        assert log.count(f"GET {store.url}/bucket/sha256:") == 2 * len(IMAGE.blobs)
        assert f"{len(config)} bytes came" in log
        assert f"credentials for {registry.name}: by auth file {tmp_path}/auth.json" in log
    for secret in (PASSWORD, BASIC.split()[1], token, SIGNATURE, "planted-key", "Authorization", "X-Amz"):
        assert secret not in log
        assert quote(secret) not in log
        assert base64.b64encode(secret.encode()).decode() not in log


def test_blobs_are_told_as_fetched_uploaded_there_and_mounted(tmp_path: Path, open_registry: RegistryServer) -> None:
    place = f"docker://{open_registry.name}/debug"
    made = make_image("debug", docker=False)
    write_layout(tmp_path / "layout", {"v1": made})
    to = ("copy", "--dest-tls-verify=false")
    log = logged(tmp_path, *to, "oci:layout:v1", f"{place}/one:v1")
    digests = [str(digest) for digest in made.blobs]
    for digest in digests:
        assert f"blob {digest}: fetched" in log
        assert f"blob {digest}: uploaded to debug/one" in log
        assert f"blob {digest}: debug/one has it" in logged(tmp_path, *to, "oci:layout:v1", f"{place}/one:v2")
    assert re.search(rf"PUT \S+/debug/one/blobs/uploads/\S+: 201, {len(made.config)} bytes sent, 0 bytes", log)
    mounted = logged(tmp_path, *to, "--src-tls-verify=false", f"{place}/one:v1", f"{place}/two:v1")
    assert all(f"blob {digest}: mounted from debug/one" in mounted for digest in digests)
    assert "uploaded to" not in mounted


def test_the_platform_that_is_chosen_is_told(tmp_path: Path) -> None:
    many = make_multi("debug many", docker=False)
    write_layout(tmp_path / "layout", {"v1": many})
    wanted = ("--override-arch", "arm64", "--override-variant", "v8")
    log = logged(tmp_path, "copy", *wanted, "oci:layout:v1", "oci:to:v1")
    chosen = many.children[1].digest
    assert f"index {many.digest}, for linux/arm64/v8: linux/arm64" in log
    assert f", {chosen}\n" in log


@pytest.mark.parametrize("command_line", ["inspect", "copy"])
def test_what_is_asked_again_is_told(tmp_path: Path, command_line: str) -> None:
    failed: list[str] = []

    def once(seen: Seen) -> Reply | None:
        if "/manifests/" not in seen.path or failed:
            return None
        failed.append(seen.path)
        return Reply(503, b"\x1b[2Jbusy", {"Retry-After": "0"})

    with serving(Script(challenge="", instead=once)) as registry:
        image = f"docker://{registry.name}/app:v1"
        words = (image,) if command_line == "inspect" else (image, "dir:to")
        log = logged(tmp_path, "--tls-verify=false", command_line, *words)
    assert f"GET {registry.url}/v2/app/manifests/v1: 503 (\\x1b[2Jbusy); asking again, try 2" in log
    assert f"GET {registry.url}/v2/app/manifests/v1: 200" in log


def test_what_a_name_holds_stays_on_its_line(tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"v1": make_image("debug", docker=False)})
    policy = tmp_path / "a\x1b]0;b\nc.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    log = logged(tmp_path, "--policy", str(policy), "copy", "oci:layout:v1", "dir:to")
    assert "a\\x1b]0;b\\nc.json: enforced" in log


def test_a_run_of_several_processes_has_one_log(tmp_path: Path, open_registry: RegistryServer) -> None:
    for number in range(4):
        push_image(open_registry, f"debug/run{number}", "v1", [f"debug {number}".encode() * 100])
    names = [f"docker://{open_registry.name}/debug/run{number}:v1" for number in range(4)]
    document = {
        "version": 1,
        "defaults": {"to": ["dir:out/{name}"]},
        "images": [{"from": name} for name in names],
        "registries": {open_registry.name: {"tls-verify": False}},
    }
    (tmp_path / "batch.json").write_text(json.dumps(document))
    log = logged(tmp_path, "run", "batch.json", "--processes", "2", "--progress", "none")
    for number in range(4):
        assert f"/v2/debug/run{number}/manifests/v1: 200" in log


def test_what_an_engine_is_asked_is_told(tmp_path: Path) -> None:
    def script(seen: Seen) -> Reply:
        return Reply(200, b"OK", {"Api-Version": "1.41"}) if seen.path == "/_ping" else Reply(404, b"{}")

    with serving(script, root=True) as engine:
        words = ("--debug", "inspect", f"--daemon-host={engine.url}", "docker-daemon:some/app:v1")
        done = command(tmp_path, *words)
    assert done.returncode == 2
    assert re.search(rf"debug: \S+ Docker Engine \S+{engine.port}: GET /_ping: 200$", done.stderr, re.MULTILINE)
    assert re.search(r": GET /v1\.41/images/\S*some/app:v1/json: 404$", done.stderr, re.MULTILINE)


def test_nothing_is_told_unasked(tmp_path: Path, open_registry: RegistryServer) -> None:
    push_image(open_registry, "debug/quiet", "v1", [b"quiet"])
    done = command(
        tmp_path, "copy", "--src-tls-verify=false", f"docker://{open_registry.name}/debug/quiet:v1", "dir:to"
    )
    assert (done.returncode, "debug:" in done.stderr) == (0, False)
