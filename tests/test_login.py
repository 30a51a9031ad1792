"""`login` and `logout` against real registries; what they keep, skopeo and `copy` use, and the other way round."""

import base64
import fcntl
import json
import os
import pty
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.certificates import Certificates
from support.fixtures import PASSWORD, USER
from support.hostile import Reply, Seen, serving
from support.registry_server import RegistryServer, push_image
from transship.pipeline.errors import UsageError
from transship.pipeline.registry.auth_file import HUB_URL, AuthFile
from transship.pipeline.registry.credentials import CredentialStore, auth_files

PACKAGES = Path(__file__).parent / "path"
TRANSSHIP = [sys.executable, "-m", "transship.pipeline.cli.main"]
PLAIN = "--tls-verify=false"
HELPER = """#!/bin/sh
# Keeps what it is given as a file a server; says its errors as the real helpers do.
file=$KEPT/$(test "$1" = store && tee "$KEPT/given" | sed 's/.*"ServerURL": "\\([^"]*\\)".*/\\1/' || cat)
case $1 in
store) mv "$KEPT/given" "$file" ;;
get) sed 's/.*/&/' "$file" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
erase) rm "$file" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
esac
"""


@pytest.fixture(scope="module")
def registry(guarded_registry: RegistryServer) -> RegistryServer:
    push_image(guarded_registry, "team/app", "v1", [b"x"], PASSWORD)
    return guarded_registry


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("home", "run", "bin", "kept"):
        (tmp_path / name).mkdir()
    program = tmp_path / "bin/docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if key not in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG")}
    return {
        **inherited,
        "PYTHONPATH": str(PACKAGES),
        "HOME": str(home / "home"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "KEPT": str(home / "kept"),
    }


def run(home: Path, *words: str, stdin: str = "", program: str = "transship") -> "subprocess.CompletedProcess[str]":
    given = [*(TRANSSHIP if program == "transship" else [program]), *words]
    done = subprocess.run(
        given, cwd=home, env=environment(home), input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert PASSWORD not in done.stdout + done.stderr
    assert program != "transship" or done.stderr.count("\n") <= 1
    return done


def log_in(home: Path, registry: RegistryServer, *more: str) -> "subprocess.CompletedProcess[str]":
    words = ("login", PLAIN, "-u", USER, "--password-stdin", *more)
    return run(home, *words, *(() if more and more[-1].startswith(registry.name) else (registry.name,)), stdin=PASSWORD)


def usual(home: Path) -> Path:
    return home / "run/containers/auth.json"


def document(path: Path) -> dict[str, Mapping[str, object]]:
    found: dict[str, Mapping[str, object]] = json.loads(path.read_text())
    return found


def auth(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_the_file_is_the_one_that_skopeo_writes(home: Path, registry: RegistryServer) -> None:
    old = os.umask(0)
    try:
        done = log_in(home, registry)
    finally:
        os.umask(old)
    assert (done.returncode, done.stdout) == (0, "Login Succeeded!\n")
    ours = usual(home).read_bytes()
    assert stat.S_IMODE(usual(home).stat().st_mode) == 0o600
    assert stat.S_IMODE(usual(home).parent.stat().st_mode) == 0o700
    assert os.listdir(usual(home).parent) == ["auth.json"]
    usual(home).unlink()
    words = ("login", PLAIN, "-u", USER, "--password-stdin", registry.name)
    theirs = run(home, *words, stdin=PASSWORD, program="skopeo")
    assert (theirs.stdout, usual(home).read_bytes()) == (done.stdout, ours)


@pytest.mark.parametrize(("writer", "reader"), [("transship", "skopeo"), ("skopeo", "transship")])
def test_each_uses_and_forgets_what_the_other_keeps(
    home: Path, registry: RegistryServer, writer: str, reader: str
) -> None:
    words = ("login", PLAIN, "-u", USER, "-p", PASSWORD, registry.name)
    assert run(home, *words, program=writer).returncode == 0
    assert run(home, "login", "--get-login", registry.name, program=reader).stdout == f"{USER}\n"
    image = f"docker://{registry.name}/team/app:v1"
    assert run(home, "inspect", PLAIN, image, program=reader).returncode == 0
    gone = run(home, "logout", registry.name, program=reader)
    assert (gone.returncode, gone.stdout) == (0, f"Removed login credentials for {registry.name}\n")
    for program in (writer, reader):
        assert run(home, "inspect", PLAIN, image, program=program).returncode == 1
        assert run(home, "login", "--get-login", registry.name, program=program).returncode == 1
        assert run(home, "logout", registry.name, program=program).returncode == 1


@pytest.mark.parametrize("password", ["wrong", ""])
def test_what_the_registry_refuses_is_not_kept(home: Path, registry: RegistryServer, password: str) -> None:
    done = run(home, "login", PLAIN, "-u", USER, "--password-stdin", registry.name, stdin=password)
    assert (done.returncode, done.stdout) == (1, "")
    assert not usual(home).exists()


def test_a_registry_that_is_not_there_is_no_wrong_password(home: Path) -> None:
    done = run(home, "login", PLAIN, "-u", USER, "-p", PASSWORD, "--command-timeout", "30s", "localhost:1")
    assert done.returncode == 1
    assert "invalid username/password" not in done.stderr
    assert not usual(home).exists()


def test_existing_credentials_are_tried_first(home: Path, registry: RegistryServer) -> None:
    log_in(home, registry)
    done = run(home, "login", PLAIN, registry.name)
    theirs = run(home, "login", PLAIN, registry.name, program="skopeo")
    assert (done.returncode, done.stdout) == (theirs.returncode, theirs.stdout)
    assert "Already logged in" in done.stdout


def test_a_namespace_has_credentials_of_its_own(home: Path, registry: RegistryServer) -> None:
    log_in(home, registry, f"{registry.name}/team")
    assert set(document(usual(home))["auths"]) == {f"{registry.name}/team"}
    assert run(home, "inspect", PLAIN, f"docker://{registry.name}/team/app:v1").returncode == 0
    assert run(home, "inspect", PLAIN, f"docker://{registry.name}/other/app:v1").returncode == 1
    assert run(home, "logout", registry.name).returncode == 1
    assert run(home, "logout", f"{registry.name}/team").returncode == 0


def test_other_registries_and_unknown_fields_stay(home: Path, registry: RegistryServer) -> None:
    before = {"HttpHeaders": {"x": "y"}, "auths": {"other.example": auth("bob"), registry.name: auth("old")}}
    file = home / "auth.json"
    file.write_text(json.dumps(before))
    log_in(home, registry, "--authfile", str(file), registry.name)
    assert document(file) == {**before, "auths": {"other.example": auth("bob"), registry.name: auth()}}
    assert run(home, "logout", "--authfile", str(file), registry.name).returncode == 0
    assert document(file) == {**before, "auths": {"other.example": auth("bob")}}
    assert run(home, "logout", "--all", "--authfile", str(file)).stdout == (
        "Removed login credentials for all registries\n"
    )
    assert document(file) == {**before, "auths": {}}


def test_a_link_to_the_file_stays_a_link(home: Path, registry: RegistryServer) -> None:
    (home / "dotfiles").mkdir()
    (home / "auth.json").symlink_to(home / "dotfiles/auth.json")
    log_in(home, registry, "--authfile", "auth.json", registry.name)
    assert (home / "auth.json").is_symlink()
    assert registry.name in document(home / "dotfiles/auth.json")["auths"]


def test_docker_reads_what_is_written_for_it(home: Path, registry: RegistryServer) -> None:
    file = home / "home/.docker/config.json"
    log_in(home, registry, "--compat-auth-file", str(file), registry.name)
    AuthFile(file, True, {}).keep("docker.io", USER, PASSWORD)
    assert document(file) == {"auths": {registry.name: auth(), HUB_URL: auth()}}
    find = CredentialStore(auth_files({"HOME": str(home / "home"), "XDG_RUNTIME_DIR": "/nowhere"})).find
    assert getattr(find("docker.io", "library/alpine"), "username", "") == USER
    with pytest.raises(UsageError, match="namespaces"):
        AuthFile(file, True, {}).keep("host.example/team", USER, PASSWORD)
    assert AuthFile(file, True, {}).forget("docker.io")
    both = ("--authfile", "x", "--compat-auth-file", "y")
    assert run(home, "login", *both, "-u", USER, "-p", PASSWORD, registry.name).returncode == 1


def test_logout_forgets_in_the_file_for_docker(home: Path, registry: RegistryServer) -> None:
    for program in ("transship", "skopeo"):
        log_in(home, registry, "--compat-auth-file", "docker.json", registry.name)
        file = ("--compat-auth-file", "docker.json") if program == "transship" else ("--authfile", "docker.json")
        done = run(home, "logout", PLAIN, *file, registry.name, program=program)
        assert (done.returncode, done.stdout) == (0, f"Removed login credentials for {registry.name}\n")
        assert document(home / "docker.json") == {"auths": {}}


def test_dockers_own_entry_is_forgotten_by_the_registrys_name(home: Path) -> None:
    file = home / "config.json"
    file.write_text(json.dumps({"auths": {HUB_URL: auth(), "https://host.example/v2/": auth()}}))
    assert AuthFile(file, False, {}).forget("docker.io")
    assert AuthFile(file, False, {}).forget("host.example")
    assert not AuthFile(file, False, {}).forget("host.example")
    assert document(file) == {"auths": {}}


@pytest.mark.parametrize("by", ["credHelpers", "credsStore"])
def test_a_helper_keeps_gives_and_forgets(home: Path, registry: RegistryServer, by: str) -> None:
    named = {"credHelpers": {registry.name: "test"}} if by == "credHelpers" else {"credsStore": "test"}
    usual(home).parent.mkdir()
    usual(home).write_text(json.dumps({**named, "auths": {registry.name: auth("old", "plain")}}))
    done = log_in(home, registry, "--verbose")
    assert done.stdout == "Used:  credential helper: test\nLogin Succeeded!\n"
    assert document(usual(home)) == {**named, "auths": {registry.name: {}} if by == "credsStore" else {}}
    kept = json.loads((home / "kept" / registry.name).read_text())
    assert kept == {"ServerURL": registry.name, "Username": USER, "Secret": PASSWORD}
    assert run(home, "login", "--get-login", registry.name).stdout == f"{USER}\n"
    assert run(home, "inspect", PLAIN, f"docker://{registry.name}/team/app:v1").returncode == 0
    assert run(home, "logout", registry.name).returncode == 0
    assert os.listdir(home / "kept") == []
    assert run(home, "logout", registry.name).returncode == 1
    assert document(usual(home)) == {**named, "auths": {}}


def test_logging_out_of_all_asks_the_helpers_too(home: Path, registry: RegistryServer) -> None:
    usual(home).parent.mkdir()
    usual(home).write_text(json.dumps({"credHelpers": {registry.name: "test"}, "auths": {"other.example": auth()}}))
    log_in(home, registry)
    assert run(home, "logout", "--all").returncode == 0
    assert os.listdir(home / "kept") == []
    assert document(usual(home)) == {"credHelpers": {registry.name: "test"}, "auths": {}}


def test_a_helper_that_fails_changes_nothing(home: Path, registry: RegistryServer) -> None:
    usual(home).parent.mkdir()
    before = json.dumps({"credHelpers": {registry.name: "absent"}, "auths": {}})
    usual(home).write_text(before)
    file = AuthFile(usual(home), False, environment(home))
    with pytest.raises(UsageError, match="not in PATH"):
        file.keep(registry.name, USER, PASSWORD)
    with pytest.raises(UsageError, match="no namespaces"):
        file.keep(f"{registry.name}/team", USER, PASSWORD)
    assert usual(home).read_text() == before


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    file = AuthFile(tmp_path / "auth.json", False, {})
    threads = [threading.Thread(target=file.keep, args=(f"host{n}.example", USER, PASSWORD)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(document(file.path)["auths"]) == {f"host{n}.example" for n in range(16)}


@pytest.mark.parametrize(
    "words",
    [
        ("login", "-u", USER, "-p", PASSWORD, "--password-stdin", "host.example"),
        ("login", "--password-stdin", "host.example"),
        ("login", "-u", "a:b", "-p", "x", "host.example"),
        ("login", "-u", USER, "-p", "x", "host.example/a:tag"),
        ("login", "-u", USER, "-p", "x", "nohost/a"),
        ("login", "-u", USER, "host.example"),
        ("login",),
        ("login", "--get-login", "--authfile", "absent", "host.example"),
        ("logout", "--authfile", "absent", "host.example"),
        ("logout", "--all", "host.example"),
        ("logout",),
    ],
)
def test_what_cannot_be_done_is_one_line_and_no_file(home: Path, words: tuple[str, ...]) -> None:
    done = run(home, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert not usual(home).exists()


@pytest.mark.parametrize("raw", ["{", "[]", '{"auths":[]}', '{"auths":{},"credHelpers":1,"credsStore":'])
def test_a_file_that_is_malformed_is_left_as_it_is(tmp_path: Path, raw: str) -> None:
    (tmp_path / "auth.json").write_text(raw)
    with pytest.raises(UsageError):
        AuthFile(tmp_path / "auth.json", False, {}).keep("host.example", USER, PASSWORD)
    assert (tmp_path / "auth.json").read_text() == raw


def test_a_registry_with_tls_is_known_by_its_certificate(
    home: Path, tls_registry: RegistryServer, certificates: Certificates
) -> None:
    words = ("login", "-u", USER, "--password-stdin", tls_registry.name)
    assert run(home, *words, stdin=PASSWORD).returncode == 1
    assert run(home, *words, "--cert-dir", str(certificates.trusted), stdin=PASSWORD).returncode == 0


def test_a_token_server_is_asked_for_no_repository(home: Path) -> None:
    def script(seen: Seen) -> Reply:
        if seen.path == "/token":
            right = seen.authorization == f"Basic {auth()['auth']}"
            return Reply(200, b'{"token":"t"}') if right else Reply(401)
        if seen.authorization == "Bearer t":
            return Reply(200)
        return Reply(
            401, headers={"WWW-Authenticate": f'Bearer realm="http://{seen.headers["host"]}/token",service="s"'}
        )

    with serving(script, root=True) as server:
        for password, code in (("wrong", 1), (PASSWORD, 0)):
            done = run(home, "login", PLAIN, "-u", USER, "--password-stdin", server.name, stdin=password)
            assert done.returncode == code
        assert {seen.target for seen in server.asked("/token")} == {"/token?service=s"}


def test_the_password_is_asked_for_and_not_shown(home: Path, registry: RegistryServer) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TRANSSHIP, "login", PLAIN, registry.name],
        cwd=home,
        env=environment(home),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(theirs)
    said = b""
    for prompt, answer in ((b"Username: ", USER), (b"Password: ", PASSWORD), (b"Succeeded!", "")):
        while prompt not in said:
            said += os.read(ours, 1024)
        os.write(ours, f"{answer}\n".encode() if answer else b"")
    assert process.wait(30) == 0
    os.close(ours)
    assert PASSWORD.encode() not in said
    assert document(usual(home)) == {"auths": {registry.name: auth()}}
