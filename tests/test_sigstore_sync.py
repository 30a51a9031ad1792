"""Sigstore in the commands that copy many: signed once, said in the report, and no secret anywhere."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from support.command import command, tree
from support.images import OCI_MANIFEST, ImageBytes, make_image, write_layout
from support.registry_server import RegistryServer, running
from support.sigstore import EMAIL, ISSUER, Servers, serving, token
from transship.pipeline.trust.sigstore import keys

SECRET = "correct horse 80"
TOKEN = token(email=EMAIL, email_verified=True, iss=ISSUER)
IMAGES = {name: make_image(f"sync {name}", layers=1, docker=False) for name in ("one", "two")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with running(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def home(tmp_path: Path, server: RegistryServer) -> Path:
    private, public = keys.generate(SECRET.encode())
    (tmp_path / "my.private").write_bytes(private)
    (tmp_path / "my.pub").write_bytes(public)
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    for name, value in (("on", "true"), ("off", "false")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "default.yaml").write_text(f"default-docker:\n  use-sigstore-attachments: {value}\n")
    (tmp_path / "images").mkdir()
    write_layout(tmp_path / "layout", dict(IMAGES))
    for name in IMAGES:
        assert command(tmp_path, "copy", f"oci:layout:{name}", f"dir:images/{name}:v1").returncode == 0
    (tmp_path / "policy.json").write_text(
        json.dumps({"default": [{"type": "sigstoreSigned", "keyPath": str(tmp_path / "my.pub")}]})
    )
    return tmp_path


def layers(server: RegistryServer, repository: str, image: ImageBytes) -> list[Any]:
    """Return what is attached to an image."""
    address = f"http://{server.name}/v2/{repository}/manifests/sha256-{image.digest.hex}.sig"
    with urlopen(Request(address, headers={"Accept": OCI_MANIFEST}), timeout=30) as answer:
        return list(json.load(answer)["layers"])


def passes(home: Path, server: RegistryServer, repository: str) -> None:
    there = f"docker://{server.name}/{repository}:v1"
    words = ("--policy", "policy.json", "--registries.d", "on", "copy", "--src-tls-verify=false", there, "dir:out")
    done = command(home, *words)
    assert done.returncode == 0, done.stderr


def text_of(home: Path, name: str) -> str:
    """Return all that a folder holds, as far as it is text."""
    return "".join(path.read_text(errors="replace") for path in (home / name).rglob("*") if path.is_file())


def test_a_sync_signs_as_it_is_told(home: Path, server: RegistryServer) -> None:
    sync = ("--registries.d", "on", "sync", "--src", "dir", "--dest", "docker", "--dest-tls-verify=false")
    by_key = ("--sign-by-sigstore-private-key", "my.private", "--sign-passphrase-file", "secret")
    for _ in range(2):
        done = command(home, *sync, *by_key, "images", f"{server.name}/keyed")
        assert done.returncode == 0, done.stderr
    for name, image in IMAGES.items():
        passes(home, server, f"keyed/{name}")
        assert len(layers(server, f"keyed/{name}", image)) == 1
    with serving(Servers()) as servers:
        (home / "param.yaml").write_text(
            f"rekorURL: {servers.url}/rekor\nfulcio:\n  fulcioURL: {servers.url}/fulcio\n"
            f"  oidcMode: staticToken\n  oidcIDToken: {TOKEN}\n"
        )
        done = command(home, *sync, "--sign-by-sigstore", "param.yaml", "images", f"{server.name}/certified")
        assert done.returncode == 0, done.stderr
        assert len(servers.log.entries) == len(IMAGES)
    assert "dev.sigstore.cosign/bundle" in layers(server, "certified/one", IMAGES["one"])[0]["annotations"]
    assert TOKEN not in text_of(home, "runs") + done.stdout + done.stderr
    assert SECRET not in text_of(home, "runs")


def batch(home: Path, server: RegistryServer, **signing: str) -> None:
    entry = {
        "from": f"oci:{home}/layout:one",
        "to": [f"docker://{server.name}/{signing.pop('to', 'batch')}:v1"],
        "signing": signing,
    }
    registries = {server.name: {"tls-verify": False}}
    (home / "batch.json").write_text(json.dumps({"version": 1, "images": [entry], "registries": registries}))


def test_a_run_signs_says_so_and_keeps_no_secret(home: Path, server: RegistryServer) -> None:
    batch(home, server, **{"sigstore-key": "my.private", "passphrase-file": "secret"})
    for _ in range(2):
        done = command(home, "--registries.d", "on", "run", "--progress", "lines", "batch.json")
        assert done.returncode == 0, done.stderr
    passes(home, server, "batch")
    assert len(layers(server, "batch", IMAGES["one"])) == 1
    fingerprint = keys.fingerprint(keys.public_key((home / "my.pub").read_bytes(), "my.pub"))
    report = json.loads((home / "runs/batch/report.json").read_text())
    assert report["images"][0]["signed"] == [f"sigstoreSigned key {fingerprint}"]
    assert SECRET not in text_of(home, "runs") + done.stdout + done.stderr


def test_a_run_takes_only_what_a_policy_accepts(home: Path, server: RegistryServer) -> None:
    batch(home, server, to="judged", **{"sigstore-key": "my.private", "passphrase-file": "secret"})
    assert command(home, "--registries.d", "on", "run", "batch.json").returncode == 0
    said = {
        "version": 1,
        "policy": "policy.json",
        "images": [{"from": f"docker://{server.name}/judged:v1", "to": ["dir:judged"]}],
        "registries": {server.name: {"tls-verify": False}},
    }
    (home / "out.json").write_text(json.dumps(said))
    done = command(home, "--registries.d", "off", "run", "out.json")
    assert done.returncode == 1
    assert not (home / "judged").exists()
    done = command(home, "--registries.d", "on", "run", "out.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((home / "runs/out/report.json").read_text())
    assert report["images"][0]["accepted"][0].startswith("sigstoreSigned key ")
    assert (home / "judged/signature-1").exists()


@pytest.mark.parametrize(
    ("signing", "why"),
    [
        ({"sigstore-key": "my.private"}, "passphrase-file"),
        ({"sigstore": "none.yaml"}, "none.yaml"),
        ({"sigstore": "unsaid.yaml"}, "privateKeyPassphraseFile"),
        ({"sigstore": "my.pub"}, "my.pub"),
        ({"sigstore-key": "none", "passphrase-file": "secret"}, "none"),
    ],
    ids=range(5),
)
def test_a_batch_that_cannot_sign_starts_nothing(
    home: Path, server: RegistryServer, signing: dict[str, str], why: str
) -> None:
    (home / "unsaid.yaml").write_text("privateKeyFile: my.private\n")
    batch(home, server, to="none", **signing)
    before = tree(home)
    done = command(home, "--registries.d", "on", "run", "batch.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert why in done.stderr
    assert tree(home) == before


def test_a_wrong_passphrase_fails_the_image_and_is_not_told(home: Path, server: RegistryServer) -> None:
    (home / "wrong").write_text("wrong 4711")
    batch(home, server, to="wrong", **{"sigstore-key": "my.private", "passphrase-file": "wrong"})
    done = command(home, "--registries.d", "on", "run", "batch.json")
    assert done.returncode == 1
    assert "the passphrase is wrong" in done.stderr + done.stdout
    assert "4711" not in text_of(home, "runs") + done.stdout + done.stderr
    assert os.listdir(home / "runs") == ["batch"]


def test_where_attachments_are_off_a_run_sends_nothing(home: Path, server: RegistryServer) -> None:
    batch(home, server, to="switched-off", **{"sigstore-key": "my.private", "passphrase-file": "secret"})
    done = command(home, "--registries.d", "off", "run", "batch.json")
    assert done.returncode == 1
    assert "use-sigstore-attachments" in done.stderr + done.stdout
    there = f"docker://{server.name}/switched-off:v1"
    assert command(home, "inspect", "--tls-verify=false", there).returncode == 2
