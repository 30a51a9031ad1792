"""Sigstore by the commands: signed on the way into a registry or a folder, asked for by a policy on the way out."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command import command, tree
from support.images import make_image, make_multi, write_layout
from support.registry_server import RegistryServer, running
from support.sigstore import EMAIL, ISSUER, Servers, serving, token
from transship.pipeline.signature import SigstoreSignature, from_file
from transship.pipeline.trust.sigstore import keys

SECRET = "correct horse 79"
TOKEN = token(email=EMAIL, email_verified=True, iss=ISSUER)
KEY = ("--sign-by-sigstore-private-key", "my.private", "--sign-passphrase-file", "secret")
IMAGE = make_image("signed", layers=1, docker=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for name in ("my", "other"):
        private, public = keys.generate(SECRET.encode())
        (folder / f"{name}.private").write_bytes(private)
        (folder / f"{name}.pub").write_bytes(public)
    (folder / "secret").write_text(f"{SECRET}\n")
    for name, value in (("on", "true"), ("off", "false")):
        (folder / name).mkdir()
        (folder / name / "default.yaml").write_text(f"default-docker:\n  use-sigstore-attachments: {value}\n")
    write_layout(folder / "layout", {"v1": IMAGE, "multi": make_multi("signed", docker=False)})
    return folder


@pytest.fixture
def home(tmp_path: Path, material: Path) -> Path:
    for path in material.iterdir():
        os.symlink(path, tmp_path / path.name)
    return tmp_path


def policy(home: Path, **requirement: Any) -> str:
    said = {"type": "sigstoreSigned", **({"keyPath": str(home / "my.pub")} | requirement)}
    said = {key: value for key, value in said.items() if value is not None}
    (home / "policy.json").write_text(json.dumps({"default": [said]}))
    return "policy.json"


def says(home: Path, *words: str) -> str:
    done = command(home, *words)
    assert done.returncode == 0, done.stderr
    return done.stderr


def refuses(home: Path, *words: str) -> str:
    """Run what must fail by one line, and leave all as it was; return the line."""
    before = tree(home)
    done = command(home, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert tree(home) == before
    return done.stderr


def fingerprint(home: Path) -> str:
    return keys.fingerprint(keys.public_key((home / "my.pub").read_bytes(), "my.pub"))


def test_what_is_signed_on_its_way_into_a_registry_passes_the_policy_on_its_way_out(
    home: Path, server: RegistryServer
) -> None:
    there = f"docker://{server.name}/commands/one:v1"
    to, of = ("--registries.d", "on", "copy", "--dest-tls-verify=false"), ("copy", "--src-tls-verify=false")
    said = says(home, *to, *KEY, "oci:layout:v1", there)
    assert f"signed: sigstoreSigned key {fingerprint(home)}" in said
    by = ("--policy", policy(home), "--registries.d")
    assert f"accepted: sigstoreSigned key {fingerprint(home)}" in says(home, *by, "on", *of, there, "dir:out")
    found = from_file((home / "out/signature-1").read_bytes(), "signature-1")
    assert isinstance(found, SigstoreSignature)
    assert json.loads(found.payload)["critical"]["identity"]["docker-reference"] == there.removeprefix("docker://")
    assert "there is none" in refuses(home, *by, "off", *of, there, "dir:none")
    policy(home, keyPath=str(home / "other.pub"))
    assert "not by a key that is trusted" in refuses(home, *by, "on", *of, there, "dir:none")
    # The signatures go along into another repository, where the name is another one.
    other = f"docker://{server.name}/commands/two:v1"
    says(home, "--registries.d", "on", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", there, other)
    policy(home)
    assert "identity" in refuses(home, *by, "on", *of, other, "dir:none")
    policy(
        home,
        signedIdentity={
            "type": "remapIdentity",
            "prefix": f"{server.name}/commands/two",
            "signedPrefix": f"{server.name}/commands/one",
        },
    )
    says(home, *by, "on", *of, other, "dir:two")


def test_of_a_list_each_image_is_signed_and_judged(home: Path) -> None:
    says(home, "copy", "--all", *KEY, "--sign-identity", "team.example/app:v1", "oci:layout:multi", "dir:out")
    signatures = [path.name for path in (home / "out").iterdir() if "signature" in path.name]
    assert len(signatures) == 1 + len(make_multi("signed", docker=False).children)
    by = ("--policy", policy(home, signedIdentity={"type": "exactReference", "dockerReference": "team.example/app:v1"}))
    says(home, *by, "copy", "--all", "dir:out", "dir:again")
    assert "there is none" in refuses(home, *by, "copy", "--all", "oci:layout:multi", "dir:none")
    for path in (home / "out").glob("*.signature-1"):
        path.unlink()
    assert "there is none" in refuses(home, *by, "copy", "--all", "dir:out", "dir:none")


def test_a_changed_manifest_and_a_changed_signature_are_refused(home: Path) -> None:
    identity = {"type": "exactReference", "dockerReference": "team.example/app:v1"}
    says(home, "copy", *KEY, "--sign-identity", "team.example/app:v1", "oci:layout:v1", "dir:out")
    by = ("--policy", policy(home, signedIdentity=identity))
    manifest, signature = home / "out/manifest.json", home / "out/signature-1"
    good = manifest.read_bytes()
    manifest.write_bytes(good + b"\n")
    assert "signature for digest" in refuses(home, *by, "copy", "dir:out", "dir:none")
    manifest.write_bytes(good)
    raw = signature.read_bytes()
    signature.write_bytes(raw[:-1])
    assert "signature-1" in refuses(home, *by, "copy", "dir:out", "dir:none")
    signature.write_bytes(raw.replace(b"dev.cosignproject.cosign/signature", b"dev.cosignproject.cosign/signatura"))
    assert "has no signature" in refuses(home, *by, "copy", "dir:out", "dir:none")
    signature.write_bytes(raw)
    says(home, *by, "copy", "dir:out", "dir:again")


def test_where_a_registry_may_hold_none_nothing_is_sent(home: Path, server: RegistryServer) -> None:
    there = f"docker://{server.name}/commands/off:v1"
    words = ("copy", "--dest-tls-verify=false", *KEY, "oci:layout:v1", there)
    assert "use-sigstore-attachments" in refuses(home, "--registries.d", "off", *words)
    assert command(home, "inspect", "--tls-verify=false", there).returncode == 2


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--sign-by-sigstore-private-key", "none", "--sign-passphrase-file", "secret"), "none: cannot be read"),
        (("--sign-by-sigstore-private-key", "my.pub", "--sign-passphrase-file", "secret"), "expected an encrypted key"),
        (("--sign-by-sigstore-private-key", "my.private", "--sign-passphrase-file", "my.pub"), "passphrase is wrong"),
        (("--sign-by-sigstore-private-key", "my.private"), "no terminal to ask for the passphrase"),
        (("--sign-by-sigstore", "none.yaml"), "none.yaml: cannot be read"),
        (("--sign-by-sigstore", "my.pub"), "not YAML|no mapping"),
    ],
    ids=range(6),
)
def test_what_is_wrong_with_a_key_is_found_before_anything_is_copied(
    home: Path, words: tuple[str, ...], why: str
) -> None:
    said = refuses(home, "copy", *words, "--sign-identity", "a.example/b:c", "oci:layout:v1", "dir:out")
    assert any(part in said for part in why.split("|"))


def test_a_parameter_file_signs_by_fulcio_and_by_rekor(home: Path) -> None:
    with serving(Servers()) as servers:
        (home / "root.pem").write_text(servers.root.pem)
        (home / "rekor.pub").write_bytes(servers.log.pem)
        (home / "fulcio.yaml").write_text(
            f"rekorURL: {servers.url}/rekor\nfulcio:\n  fulcioURL: {servers.url}/fulcio\n"
            f"  oidcMode: staticToken\n  oidcIDToken: {TOKEN}\n"
        )
        (home / "key.yaml").write_text(
            f"rekorURL: {servers.url}/rekor\nprivateKeyFile: my.private\nprivateKeyPassphraseFile: secret\n"
        )
        for name in ("fulcio", "key"):
            words = ("--sign-by-sigstore", f"{name}.yaml", "--sign-identity", "team.example/app:v1")
            said = says(home, "--debug", "copy", *words, "oci:layout:v1", f"dir:{name}")
            assert TOKEN not in said + str(tree(home / name))
            assert SECRET not in said
    identity = {"type": "exactReference", "dockerReference": "team.example/app:v1"}
    log = {"rekorPublicKeyPath": str(home / "rekor.pub"), "signedIdentity": identity}
    fulcio = {"caPath": str(home / "root.pem"), "oidcIssuer": ISSUER, "subjectEmail": EMAIL}
    by = ("--policy", policy(home, **log))
    says(home, *by, "copy", "dir:key", "dir:key2")
    assert "not by a key" in refuses(
        home, "--policy", policy(home, signedIdentity=identity), "copy", "dir:fulcio", "dir:x"
    )
    policy(home, keyPath=None, fulcio=fulcio, **log)
    assert f"certificate of {EMAIL} by {ISSUER}" in says(home, *by, "copy", "dir:fulcio", "dir:fulcio2")
    assert "has no certificate" in refuses(home, *by, "copy", "dir:key", "dir:x")


def test_a_server_that_is_down_is_one_line_and_leaves_nothing(home: Path) -> None:
    (home / "key.yaml").write_text(
        "rekorURL: http://localhost:1\nprivateKeyFile: my.private\nprivateKeyPassphraseFile: secret\n"
    )
    words = ("--sign-by-sigstore", "key.yaml", "--sign-identity", "team.example/app:v1")
    assert "localhost:1" in refuses(home, "copy", *words, "oci:layout:v1", "dir:out")
