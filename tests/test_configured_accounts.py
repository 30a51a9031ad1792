"""`login` and `logout` as registries.conf says: the registry meant without a name, and credential helpers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.fixtures import PASSWORD, USER
from support.registry_server import RegistryServer, push_image

PACKAGES = Path(__file__).parent / "path"
HELPER = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path
kept = Path(os.environ["KEPT"]) / "kept.json"
found = json.loads(kept.read_text()) if kept.exists() else {}
verb, given = sys.argv[1], sys.stdin.read().strip()
if "BROKEN" in os.environ:
    sys.exit("broken")
if verb == "store":
    entry = json.loads(given)
    found[entry["ServerURL"]] = [entry["Username"], entry["Secret"]]
elif verb == "list":
    print(json.dumps({server: user for server, (user, _) in found.items()}))
elif given not in found:
    print("credentials not found in native keychain")
    sys.exit(1)
elif verb == "get":
    print(json.dumps({"Username": found[given][0], "Secret": found[given][1]}))
else:
    del found[given]
kept.write_text(json.dumps(found))
"""


@pytest.fixture(scope="module")
def registry(guarded_registry: RegistryServer) -> RegistryServer:
    push_image(guarded_registry, "helped/app", "v1", [b"x"], PASSWORD)
    return guarded_registry


@pytest.fixture
def home(tmp_path: Path, registry: RegistryServer) -> Path:
    """A user whose registries.conf names a helper, then the auth files, and the registry as the first to search."""
    for name in ("run", "bin", ".config/containers"):
        (tmp_path / name).mkdir(parents=True)
    program = tmp_path / "bin/docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    (tmp_path / ".config/containers/registries.conf").write_text(
        f'unqualified-search-registries = ["{registry.name}", "other.example"]\n'
        'credential-helpers = ["test", "containers-auth.json"]\n'
        f'[[registry]]\nlocation = "{registry.name}"\ninsecure = true\n'
    )
    return tmp_path


def run(home: Path, program: str, *words: str, broken: bool = False) -> "subprocess.CompletedProcess[str]":
    start = [sys.executable, "-m", "transship.pipeline.cli.main"] if program == "transship" else [program]
    kept = ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in kept} | {
        "PYTHONPATH": str(PACKAGES),
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "KEPT": str(home),
        **({"BROKEN": "1"} if broken else {}),
    }
    done = subprocess.run(
        [*start, *words], cwd=home, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert PASSWORD not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(("writer", "reader"), [("transship", "skopeo"), ("skopeo", "transship")])
def test_a_helper_of_registries_conf_keeps_what_the_other_program_finds_and_forgets(
    home: Path, registry: RegistryServer, writer: str, reader: str
) -> None:
    named = [] if writer == "transship" else [registry.name]
    done = run(home, writer, "login", "-v", "-u", USER, "-p", PASSWORD, *named)
    assert done.returncode == 0, done.stderr
    assert "credential helper: test" in done.stdout
    assert not (home / "run/containers/auth.json").exists()
    image = f"docker://{registry.name}/helped/app:v1"
    for program in (writer, reader):
        assert run(home, program, "login", "--get-login", registry.name).stdout == f"{USER}\n"
        assert run(home, program, "inspect", image).returncode == 0
    assert (
        run(home, reader, "logout", *([registry.name] if reader == "skopeo" else [])).stdout
        == f"Removed login credentials for {registry.name}\n"
    )
    for program in (writer, reader):
        assert run(home, program, "login", "--get-login", registry.name).returncode == 1
        assert run(home, program, "inspect", image).returncode == 1


def test_where_the_helper_fails_the_auth_file_serves_and_logging_out_says_that_it_failed(
    home: Path, registry: RegistryServer
) -> None:
    conf, image = home / ".config/containers/registries.conf", f"docker://{registry.name}/helped/app:v1"
    text = conf.read_text()
    for program in ("transship", "skopeo"):
        conf.write_text(text.replace('"test", ', ""))
        assert run(home, program, "login", "-u", USER, "-p", PASSWORD, registry.name).returncode == 0
        conf.write_text(text)
        assert run(home, program, "inspect", image, broken=True).returncode == 0
        assert run(home, program, "logout", registry.name, broken=True).returncode != 0
        # skopeo ends there by a panic, after or before it has come to the file.
        if program == "transship":
            # The file's entry went all the same, and that the helper may have one is no answer.
            assert run(home, program, "inspect", image, broken=True).returncode == 1
            assert run(home, program, "login", "--get-login", registry.name).returncode == 1


def test_logging_out_of_all_empties_the_helper_too(home: Path) -> None:
    assert run(home, "transship", "login", "-u", USER, "-p", PASSWORD).returncode == 0
    done = run(home, "transship", "logout", "--all")
    assert done.returncode == 0, done.stderr
    assert (home / "kept.json").read_text() == "{}"


def test_a_namespace_goes_to_the_file_as_a_helper_knows_hosts_alone(home: Path, registry: RegistryServer) -> None:
    done = run(home, "transship", "login", "-v", "-u", USER, "-p", PASSWORD, f"{registry.name}/helped")
    assert done.returncode == 0, done.stderr
    assert "auth.json" in done.stdout
    assert run(home, "skopeo", "inspect", f"docker://{registry.name}/helped/app:v1").returncode == 0


@pytest.mark.parametrize("command", ["login", "logout"])
def test_without_a_name_and_without_a_registry_to_search_it_is_refused(home: Path, command: str) -> None:
    (home / ".config/containers/registries.conf").write_text("")
    done = run(home, "transship", command)
    assert (done.returncode, done.stdout) == (1, "")
    assert "registries.conf" in done.stderr
