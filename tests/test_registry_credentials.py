"""Credentials are found where container tools keep them, in their order, and never shown."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from transship.pipeline.errors import UsageError
from transship.pipeline.registry import helper
from transship.pipeline.registry.credentials import Credentials, CredentialStore, auth_files

_SECRET = "pass:word-9f2"


def _auth(user: str, password: str = _SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def _write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def _find(environ: Mapping[str, str], registry: str, repository: str = "a/b", authfile: str = "") -> Credentials | None:
    return CredentialStore(auth_files(environ, authfile)).find(registry, repository)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
    }


def test_the_first_file_that_knows_the_registry_wins(tmp_path: Path, environ: dict[str, str]) -> None:
    order = ["run/containers/auth.json", "home/.config/containers/auth.json", "home/.docker/config.json"]
    for number, place in reversed(list(enumerate(order))):
        _write(tmp_path / place, {"auths": {"r.test:5": _auth(f"user{number}")}})
        found = _find(environ, "r.test:5")
        assert found == Credentials(f"user{number}", _SECRET)


def test_dockercfg_is_read_last(tmp_path: Path, environ: dict[str, str]) -> None:
    _write(tmp_path / "home/.dockercfg", {"https://r.test/v1/": _auth("old")})
    assert _find(environ, "r.test") == Credentials("old", _SECRET)


def test_a_named_file_is_the_only_one(tmp_path: Path, environ: dict[str, str]) -> None:
    _write(tmp_path / "run/containers/auth.json", {"auths": {"r.test": _auth("elsewhere")}})
    named = _write(tmp_path / "mine.json", {"auths": {}})
    assert _find(environ, "r.test", authfile=str(named)) is None
    assert _find({**environ, "REGISTRY_AUTH_FILE": str(named)}, "r.test") is None


def test_a_named_file_must_exist(tmp_path: Path, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        _find(environ, "r.test", authfile=str(tmp_path / "none.json"))


def test_the_longest_key_wins_and_urls_come_last(tmp_path: Path, environ: dict[str, str]) -> None:
    auths = {
        "r.test": _auth("host"),
        "r.test/a": _auth("short"),
        "r.test/a/b": _auth("long"),
        "https://r.test/v1/": _auth("url"),
        "https://only.test/v2/": _auth("url"),
    }
    _write(tmp_path / "run/containers/auth.json", {"auths": auths})
    users = [
        _find(environ, registry, repository)
        for registry, repository in (
            ("r.test", "a/b"),
            ("r.test", "a/c"),
            ("r.test", "ab"),
            ("only.test", "x"),
            ("r.test.evil", "a"),
        )
    ]
    assert [user and user.username for user in users] == ["long", "short", "host", "url", None]


def test_docker_hub_is_known_by_its_old_key(tmp_path: Path, environ: dict[str, str]) -> None:
    _write(tmp_path / "home/.docker/config.json", {"auths": {"https://index.docker.io/v1/": _auth("hub")}})
    assert _find(environ, "docker.io", "library/alpine") == Credentials("hub", _SECRET)


def test_an_identity_token_comes_with_or_without_a_user(tmp_path: Path, environ: dict[str, str]) -> None:
    auths = {"a.test": {"identitytoken": "idt"}, "b.test": {**_auth("u", ""), "identitytoken": "idt"}}
    _write(tmp_path / "home/.docker/config.json", {"auths": auths})
    assert _find(environ, "a.test") == Credentials("", identity_token="idt")
    assert _find(environ, "b.test") == Credentials("u", "", "idt")


def test_no_secret_is_in_a_repr_or_a_message(tmp_path: Path, environ: dict[str, str]) -> None:
    assert _SECRET not in repr(Credentials("u", _SECRET, _SECRET))
    broken = tmp_path / "broken.json"
    broken.write_text('{"auths": {"r.test": {"auth": "' + _SECRET)
    with pytest.raises(UsageError) as caught:
        _find(environ, "r.test", authfile=str(broken))
    assert _SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def _helper(tmp_path: Path, name: str, script: str) -> None:
    path = tmp_path / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_helpers_are_asked_before_auths_and_the_store_after(tmp_path: Path, environ: dict[str, str]) -> None:
    _helper(tmp_path, "one", """read s || true; echo "{\\"Username\\":\\"one-$s\\",\\"Secret\\":\\"x\\"}" """)
    _helper(tmp_path, "all", """read s || true; echo "{\\"Username\\":\\"<token>\\",\\"Secret\\":\\"t\\"}" """)
    document = {
        "credHelpers": {"h.test": "one"},
        "credsStore": "all",
        "auths": {"h.test": _auth("file"), "f.test": _auth("file")},
    }
    _write(tmp_path / "home/.docker/config.json", document)
    assert _find(environ, "h.test") == Credentials("one-h.test", "x")
    assert _find(environ, "f.test") == Credentials("file", _SECRET)
    assert _find(environ, "other.test") == Credentials("", identity_token="t")


def test_a_helper_that_has_none_is_no_error(tmp_path: Path, environ: dict[str, str]) -> None:
    _helper(tmp_path, "none", "echo 'credentials not found in native keychain'; exit 1")
    assert helper.ask("none", "r.test", environ) is None


@pytest.mark.parametrize(
    ("script", "message"),
    [("exit 3", "exit code 3"), ("echo secret-words", "no JSON"), ("head -c 99999 /dev/zero; sleep 60", "more than")],
)
def test_a_helper_that_misbehaves_is_one_clear_line(
    tmp_path: Path, environ: dict[str, str], script: str, message: str
) -> None:
    _helper(tmp_path, "bad", script)
    with pytest.raises(UsageError, match=message) as caught:
        helper.ask("bad", "r.test", environ)
    assert "secret-words" not in str(caught.value)


def test_a_helper_that_hangs_is_stopped(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper, "_TIMEOUT", 0.2)
    _helper(tmp_path, "slow", "sleep 60")
    with pytest.raises(UsageError, match="no answer"):
        helper.ask("slow", "r.test", environ)


@pytest.mark.parametrize("name", ["../evil", "", "a b", "missing"])
def test_a_helper_not_in_an_absolute_folder_of_path_is_not_run(
    tmp_path: Path, environ: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _helper(tmp_path, "missing", "touch ran")
    monkeypatch.chdir(tmp_path / "bin")
    with pytest.raises(UsageError, match="not in PATH"):
        helper.ask(name, "r.test", {**environ, "PATH": f".{os.pathsep}:/usr/bin"})
    assert not (tmp_path / "bin/ran").exists()
