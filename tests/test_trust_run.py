"""Policies and signatures in runs and syncs: asked for every image, kept over a restart, told in the report."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.command import command
from support.images import make_image
from support.keys import PASSPHRASE, Keys
from support.registry_server import RegistryServer
from support.serving import write_directory
from transship.pipeline.cli import trust_options
from transship.pipeline.registry import config_files

NAME = "registry.example/app:v1"


class Site(NamedTuple):
    folder: Path
    keys: Keys

    def run(self, *words: str, code: int = 0) -> str:
        done = command(self.folder, *words)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def policy(self, *requirements: object) -> None:
        (self.folder / "policy.json").write_text(json.dumps({"default": requirements}))

    def signed_by(self, key: str) -> dict[str, object]:
        identity = {"type": "exactReference", "dockerReference": NAME}
        return {
            "type": "signedBy",
            "keyType": "GPGKeys",
            "keyPath": str(self.keys.file(key)),
            "signedIdentity": identity,
        }

    def batch(self, *images: dict[str, object], **top: object) -> None:
        said = {"version": 1, "images": images, **top}
        (self.folder / "batch.json").write_text(json.dumps(said))

    def report(self, run: str = "batch") -> Any:
        return json.loads((self.folder / f"runs/{run}/report.json").read_text())

    def sign(self, source: str, target: str, key: str = "good") -> None:
        by = ("--sign-by", self.keys[key], "--sign-identity", NAME)
        self.run("copy", *by, f"dir:{source}", f"dir:{target}")


@pytest.fixture
def site(tmp_path: Path, openpgp: Keys, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    monkeypatch.setenv("HOME", str(tmp_path))
    found = Site(tmp_path, openpgp)
    for number in (1, 2):
        write_directory(tmp_path / f"plain{number}", make_image(f"trusted {number}", layers=1))
    found.sign("plain1", "signed")
    return found


def test_a_batch_copies_what_its_policy_lets_pass_and_names_what_not(site: Site) -> None:
    site.policy(site.signed_by("good"))
    site.batch(
        {"from": "dir:signed", "to": ["dir:out1"]}, {"from": "dir:plain2", "to": ["dir:out2"]}, policy="policy.json"
    )
    said = site.run("run", "batch.json", code=1)
    assert f"dir:{site.folder}/plain2: policy {site.folder}/policy.json, default: signedBy: a signature" in said
    assert (site.folder / "out1/signature-1").read_bytes() == (site.folder / "signed/signature-1").read_bytes()
    assert not (site.folder / "out2").exists()
    report = site.report()
    assert report["policy"] == f"{site.folder}/policy.json"
    assert [image.get("accepted") for image in report["images"]] == [[f"signedBy {site.keys['good']}"], None]
    assert report["images"][1]["error"]["task"] == "ResolvePlatform"
    assert not report["images"][1]["error"]["retriable"]
    shown = site.run("report", "batch", code=1)
    assert f"accepted: signedBy {site.keys['good']}" in shown
    assert f"policy: {site.folder}/policy.json" in shown


def test_a_policy_or_key_that_changed_is_asked_again_and_else_nothing_is_done(site: Site) -> None:
    key = site.folder / "key.gpg"
    shutil.copy(site.keys.file("good"), key)
    wanted = {**site.signed_by("good"), "keyPath": str(key)}
    site.policy(wanted)
    site.batch({"from": "dir:signed", "to": ["dir:out"]}, policy="policy.json")
    site.run("run", "batch.json")
    written = (site.folder / "out").stat().st_ino
    site.run("run", "batch.json")
    assert (site.folder / "out").stat().st_ino == written
    shutil.copy(site.keys.file("other"), key)
    assert "not among those accepted" in site.run("run", "batch.json", code=1)
    shutil.copy(site.keys.file("good"), key)
    site.run("run", "batch.json")
    site.policy({"type": "reject"})
    assert "default: reject" in site.run("run", "batch.json", code=1)
    site.run("--insecure-policy", "run", "batch.json")
    assert site.report()["policy"] == "insecure"


def test_signatures_are_written_also_where_the_source_is_gone_since(site: Site) -> None:
    site.batch({"from": "dir:signed", "to": ["dir:out"]})
    site.run("run", "batch.json")
    before = (site.folder / "out/signature-1").read_bytes()
    shutil.rmtree(site.folder / "out")
    shutil.rmtree(site.folder / "signed")
    for path in (site.folder / "runs/batch/checkpoints").glob("*/*.json"):
        if path.stem in ("WriteImage", "VerifyDigests"):
            path.unlink()
    site.run("run", "batch.json")
    assert (site.folder / "out/signature-1").read_bytes() == before


def test_what_a_destination_or_a_conversion_costs_is_among_the_losses(site: Site) -> None:
    site.batch(
        {"from": "dir:signed", "to": ["oci:layout:v1"], "manifests": "keep"},
        {"from": "dir:signed", "to": ["dir:plain"], "layers": "uncompressed"},
        {"from": "dir:signed", "to": ["dir:left"], "remove-signatures": True},
        {"from": "dir:signed", "to": ["dir:none"], "layers": "uncompressed", "fail-on-loss": True},
    )
    site.run("run", "batch.json", code=1)
    layout, plain, left, none = site.report()["images"]
    assert any("signatures: 1 of sha256:" in loss for loss in layout["losses"])
    assert any("which is another manifest now" in loss for loss in plain["losses"])
    assert left["losses"] == []
    assert "signatures" in none["error"]["message"]
    assert not list(site.folder.glob("*/signature-1"))[1:]
    assert not (site.folder / "none").exists()


def test_a_batch_signs_what_it_writes_and_skopeo_accepts_that(site: Site, open_registry: RegistryServer) -> None:
    (site.folder / "secret").write_text(f"{PASSPHRASE}\n")
    (site.folder / "registries.d").mkdir()
    said = {"docker": {open_registry.name: {"lookaside": f"file://{site.folder}/lookaside"}}}
    (site.folder / "registries.d/one.yaml").write_text(json.dumps(said))
    place = f"{open_registry.name}/batch/signed"
    site.batch(
        {"from": "dir:plain1", "to": [f"docker://{place}:v1"]},
        {"from": "dir:plain2", "to": ["dir:out"], "signing": {"by": site.keys["good"], "identity": NAME}},
        defaults={"signing": {"by": site.keys["locked"], "passphrase-file": "secret"}},
        registries={open_registry.name: {"tls-verify": False}},
    )
    words = ("--registries.d", "registries.d", "run", "batch.json")
    site.run(*words)
    pushed, folder = site.report()["images"]
    assert (pushed["signed"], folder["signed"]) == (
        [f"signedBy {site.keys['locked']}"],
        [f"signedBy {site.keys['good']}"],
    )
    assert "signed: signedBy" in site.run("report", "batch")
    for key, source, identity in (
        ("locked", f"docker://{place}:v1", {"type": "matchRepoDigestOrExact"}),
        ("good", "dir:out", site.signed_by("good")["signedIdentity"]),
    ):
        site.policy({**site.signed_by(key), "signedIdentity": identity})
        options = ["--registries.d", "registries.d", "--policy", "policy.json", "copy", "--src-tls-verify=false"]
        subprocess.run(
            ["skopeo", *options, source, f"dir:read-{key}"],
            cwd=site.folder,
            check=True,
            capture_output=True,
            timeout=60,
        )
    signature = (site.folder / "out/signature-1").read_bytes()
    site.run(*words)
    assert (site.folder / "out/signature-1").read_bytes() == signature
    plan = (site.folder / "runs/batch/batch.json").read_text()
    assert PASSPHRASE not in plan


@pytest.mark.parametrize(
    ("image", "top", "reason"),
    [
        ({"signing": {"by": "A" * 40}, "to": ["oci:x:v1"]}, {}, "can hold no signatures"),
        ({"signing": {"by": "A" * 40}, "to": ["dir:x"]}, {}, "has no name that could be signed"),
        ({"signing": {"by": "A" * 40, "identity": "a.example/b"}, "to": ["dir:x"]}, {}, "has neither tag nor digest"),
        ({"signing": {"by": "A" * 40, "identity": "a.example/{tag}"}, "to": ["dir:x"]}, {}, "has no {tag}"),
        ({"signing": {}, "to": ["dir:x"]}, {}, "names no key"),
        ({"signing": {"by": "A", "sq": "B", "passphrase-file": "p"}, "to": ["dir:x"]}, {}, "is for one key"),
        ({"signing": {"by": "A", "passphrase": "p"}, "to": ["dir:x"]}, {}, "secrets never stand in a batch file"),
        ({"policy": "p.json", "to": ["dir:x"]}, {}, "stands at the top"),
        ({"to": ["dir:x"]}, {"signing": {"by": "A"}}, "stands under defaults, or on an image"),
        ({"to": ["dir:x"]}, {"policy": "gone.json"}, "gone.json: cannot be read"),
        ({"to": ["dir:x"]}, {"policy": "batch.json"}, "unknown key 'version'"),
    ],
)
def test_a_batch_that_cannot_be_kept_is_refused_before_anything(
    site: Site, image: dict[str, object], top: dict[str, object], reason: str
) -> None:
    site.batch({"from": "dir:plain1", **image}, **top)
    said = site.run("run", "batch.json", code=2)
    assert reason in said
    assert said.count("\n") == 1
    assert not (site.folder / "x").exists()


def test_a_batch_can_ask_that_signatures_are_asked_for(site: Site) -> None:
    site.policy({"type": "insecureAcceptAnything"})
    image: dict[str, object] = {"from": "dir:plain1", "to": ["dir:x"]}
    site.batch(image, policy="policy.json", **{"require-signed": True})
    assert "asks for no signature" in site.run("run", "batch.json", code=1)
    site.batch(image, policy="policy.json")
    assert "asks for no signature" in site.run("--require-signed", "run", "batch.json", code=1)
    site.run("run", "batch.json")


def test_with_no_policy_anywhere_images_pass_and_the_report_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_files, "policy_file", lambda *_: None)
    monkeypatch.delenv("CONTAINERS_POLICY_JSON", raising=False)
    options = argparse.Namespace(insecure_policy=False, require_signed=False, policy="")
    assert trust_options.guard_of(options) == ("none", False, "", None)
    with pytest.raises(trust_options.UsageError, match=r"no policy\.json says whose signatures count"):
        trust_options.guard_of(options, required=True)


def test_a_sync_signs_what_it_copies(site: Site, open_registry: RegistryServer) -> None:
    (site.folder / "secret").write_text(PASSPHRASE)
    (site.folder / "registries.d").mkdir()
    said = {"docker": {open_registry.name: {"lookaside": f"file://{site.folder}/lookaside"}}}
    (site.folder / "registries.d/one.yaml").write_text(json.dumps(said))
    (site.folder / "images").mkdir()
    shutil.copytree(site.folder / "plain1", site.folder / "images/app:v1")
    words = ("--registries.d", "registries.d", "sync", "--src", "dir", "--dest", "docker", "--dest-tls-verify=false")
    by = ("--sign-by", site.keys["locked"], "--sign-passphrase-file", "secret")
    site.run(*words, *by, "images", f"{open_registry.name}/synced")
    site.policy({**site.signed_by("locked"), "signedIdentity": {"type": "matchExact"}})
    back = ("--registries.d", "registries.d", "--policy", "policy.json", "sync", "--src-tls-verify=false")
    site.run(*back, "--src", "docker", "--dest", "dir", f"{open_registry.name}/synced/app", "back")
    assert (site.folder / "back/app:v1/signature-1").exists()
    site.policy(site.signed_by("good"))
    said_now = site.run(*back, "--src", "docker", "--dest", "dir", f"{open_registry.name}/synced/app", "other", code=1)
    assert "not among those accepted" in said_now
    assert not (site.folder / "other/app:v1").exists()


def test_a_sync_loses_no_signature_unasked(site: Site, open_registry: RegistryServer) -> None:
    (site.folder / "images").mkdir()
    shutil.copytree(site.folder / "signed", site.folder / "images/lost:v1")
    words = ("sync", "--src", "dir", "--dest", "docker", "--dest-tls-verify=false", "--format", "oci")
    to = ("images", f"{open_registry.name}/synced")
    assert "say --remove-signatures" in site.run(*words, *to, code=1)
    site.run(*words, "--remove-signatures", *to)


def test_a_sync_asks_for_sequoias_command_too(site: Site, open_registry: RegistryServer) -> None:
    if shutil.which("sq"):
        pytest.fail("sq is there: sign with it instead")
    (site.folder / "images").mkdir()
    shutil.copytree(site.folder / "plain1", site.folder / "images/sq:v1")
    words = (
        "sync",
        "--src",
        "dir",
        "--dest",
        "docker",
        "--dest-tls-verify=false",
        "--sign-by-sq-fingerprint",
        "A" * 40,
    )
    assert "sq is not installed" in site.run(*words, "images", f"{open_registry.name}/synced", code=1)


def test_processes_of_a_run_leave_no_keys_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = site.folder / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    site.policy(site.signed_by("good"))
    images: list[dict[str, object]] = []
    for number in range(18):
        shutil.copytree(site.folder / "signed", site.folder / f"from{number}")
        images.append({"from": f"dir:from{number}", "to": [f"dir:many{number}"]})
    site.batch(*images, policy="policy.json")
    site.run("run", "--processes", "2", "batch.json")
    assert [image["state"] for image in site.report()["images"]] == ["verified"] * 18
    assert not list(scratch.iterdir())
