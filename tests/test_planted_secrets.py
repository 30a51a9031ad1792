"""Secrets of signing and of registries are where the user put them and nowhere else."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from support.command import ARGUMENTS, command, environment
from support.engines import tool
from support.fixtures import PASSWORD, USER
from support.images import make_image
from support.keys import PASSPHRASE, Keys
from support.registry_server import RegistryServer
from support.serving import write_directory

NAME = "registry.example/app:v1"
WRONG = "another passphrase, planted here"


@pytest.fixture
def site(tmp_path: Path, openpgp: Keys, guarded_registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    openpgp.end_agent()
    # Else it is started by what is watched, and stays.
    tool("gpg-connect-agent", "--homedir", openpgp.home, "/bye")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "passphrase").write_text(f"{PASSPHRASE}\n")
    (secrets / "wrong").write_text(f"{WRONG}\n")
    login = ("login", "--authfile", str(secrets / "auth.json"), "--tls-verify=false", "-u", USER, "-p", PASSWORD)
    tool("skopeo", *login, guarded_registry.name)
    site = tmp_path / "site"
    site.mkdir()
    write_directory(site / "plain", make_image("planted", layers=1))
    return site


def traced(site: Path, *words: str) -> str:
    """Run the command with each program that it starts noted; return that with all that was printed."""
    log = site.parent / "started"
    watch = ["strace", "-f", "-e", "trace=execve", "-s", "100000", "-v", "-o", str(log)]
    done = command(site, *words, under=watch)
    started = log.read_text()
    assert "execve(" in started
    return f"{done.returncode}\n{done.stdout}{done.stderr}{started}"


def written(site: Path) -> bytes:
    """Return all names and bytes of files below the folder."""
    files = [path for path in site.rglob("*") if path.is_file()]
    assert files
    return b"\n".join(str(path).encode() + b"\n" + path.read_bytes() for path in files)


def holds_none(text: "str | bytes") -> bool:
    raw = text.encode() if isinstance(text, str) else text
    return not any(secret.encode() in raw for secret in (PASSPHRASE, WRONG, PASSWORD))


def test_a_run_that_signs_and_logs_in_keeps_no_secret(
    site: Path, openpgp: Keys, guarded_registry: RegistryServer
) -> None:
    stores = site.parent / "registries.d"
    stores.mkdir()
    said = {"docker": {guarded_registry.name: {"lookaside": f"file://{site}/lookaside"}}}
    (stores / "one.yaml").write_text(json.dumps(said))
    batch = {
        "version": 1,
        "images": [{"from": "dir:plain", "to": [f"docker://{guarded_registry.name}/planted/app:v1"]}],
        "defaults": {"signing": {"by": openpgp["locked"], "passphrase-file": "../secrets/passphrase"}},
        "registries": {guarded_registry.name: {"tls-verify": False, "authfile": "../secrets/auth.json"}},
    }
    (site / "batch.json").write_text(json.dumps(batch))
    seen = traced(site, "--registries.d", str(stores), "run", "batch.json")
    assert seen.startswith("0\n"), seen
    assert "gpg" in seen
    assert holds_none(seen)
    assert list(site.rglob("signature-1"))
    assert holds_none(written(site))


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_a_passphrase_that_is_wrong_is_in_no_message_and_no_traceback(
    site: Path, openpgp: Keys, debug: tuple[str, ...]
) -> None:
    by = ("--sign-by", openpgp["locked"], "--sign-passphrase-file", "../secrets/wrong", "--sign-identity", NAME)
    seen = traced(site, *debug, "copy", *by, "dir:plain", "dir:out")
    assert seen.startswith("1\n")
    assert ("Traceback" in seen) is bool(debug)
    assert holds_none(seen)
    assert holds_none(written(site))


def test_no_command_leaves_a_core_file(tmp_path: Path) -> None:
    probe = "import resource, os; os._exit = lambda code: print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    (tmp_path / "sitecustomize.py").write_text(probe)
    done = subprocess.run(
        [sys.executable, *ARGUMENTS[1:], "--version"],
        env={**environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
    )
    assert done.stdout.splitlines()[-1] == "1"


def test_sequoias_command_is_given_the_name_of_the_file_and_never_the_passphrase(
    site: Path, openpgp: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its own is not installed: one that takes its words and signs by GnuPG."""
    programs = site.parent / "bin"
    programs.mkdir()
    (programs / "sq").write_text(
        f'#!/bin/sh\necho "$@" > {site.parent}/words\ntest "$6" = {openpgp["good"]} || exit 9\n'
        f'exec gpg --batch --no-tty --local-user "$6" --sign\n'
    )
    (programs / "sq").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    by = ("--sign-by-sq-fingerprint", openpgp["good"], "--sign-identity", NAME)
    done = command(site, "copy", *by, "--sign-passphrase-file", "../secrets/passphrase", "dir:plain", "dir:out")
    assert done.returncode == 0, done.stderr
    words = (site.parent / "words").read_text()
    assert "--password-file ../secrets/passphrase" in words
    assert holds_none(words)
    policy = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(openpgp.file("good"))}
    identity = {"type": "exactReference", "dockerReference": NAME}
    (site / "policy.json").write_text(json.dumps({"default": [{**policy, "signedIdentity": identity}]}))
    tool("skopeo", "--policy", site / "policy.json", "copy", f"dir:{site}/out", f"dir:{site}/read")
    assert "sq cannot sign" in command(site, "copy", *(by[0], "0" * 40, *by[2:]), "dir:plain", "dir:no").stderr
