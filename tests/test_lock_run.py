"""Locks beside a real registry: what moves after the lock was made is not brought, and no tag is asked for."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from support.command import command
from support.images import ImageBytes, make_image, make_multi
from support.keys import Keys
from support.peers import upload
from support.referring import SBOM, SIGNATURE, dashed, list_of, make_cosign, make_referrer
from support.registry_server import Asked, RegistryServer, running

OLD, NEW, THIRD = (make_image(f"lock {name}", layers=1, docker=False) for name in ("old", "new", "third"))
MULTI = make_multi("lock multi", docker=False, layers=1)


@dataclass
class Site:
    """A folder with a batch, and a registry of its own."""

    folder: Path
    server: RegistryServer

    def put(self, tag: str, image: ImageBytes, repository: str = "team/app") -> None:
        upload(self.server, repository, tag, image)

    def source(self, rest: str) -> str:
        return f"docker://{self.server.name}/team/{rest}"

    def batch(self, *images: dict[str, object], **top: object) -> None:
        registries = {self.server.name: {"tls-verify": False}}
        said = {"version": 1, "images": images, "registries": registries, **top}
        (self.folder / "batch.json").write_text(json.dumps(said))

    def does(self, *words: str, code: int = 0) -> str:
        done = command(self.folder, *words)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout

    def lock(self, name: str = "b.lock.json") -> Any:
        self.does("lock", "batch.json", "-o", name)
        return json.loads((self.folder / name).read_bytes())

    def check(self, code: int = 1) -> list[str]:
        before = (self.folder / "b.lock.json").read_bytes()
        said = self.does("lock", "batch.json", "--check", "b.lock.json", code=code)
        assert (self.folder / "b.lock.json").read_bytes() == before
        return said.splitlines()

    def run(self, *words: str, code: int = 0) -> list[Asked]:
        """Run the lock; return what the registry was asked for images meanwhile."""
        asked = len(self.server.asked())
        self.does("run", "b.lock.json", "--progress=none", *words, code=code)
        return [one for one in self.server.asked()[asked:] if "/v2/team/" in one.target]

    def written(self) -> set[str]:
        entries = json.loads((self.folder / "out/index.json").read_bytes())["manifests"]
        return {entry["digest"] for entry in entries}

    def report(self) -> Any:
        return json.loads((self.folder / "runs/batch/report.json").read_bytes())["images"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path / "registry", access_log=True) as server:
        yield Site(tmp_path, server)


def tags_asked(asked: list[Asked]) -> list[str]:
    """Return what was asked for by a name that may mean something else tomorrow."""
    assert [one for one in asked if "/manifests/sha256:" in one.target]
    return [
        one.target
        for one in asked
        if "/tags/" in one.target or ("/manifests/" in one.target and "/manifests/sha256:" not in one.target)
    ]


def test_a_run_of_a_lock_brings_what_the_tags_meant_then_and_asks_for_none(site: Site) -> None:
    for tag, image in (("v1", OLD), ("v2", THIRD)):
        site.put(tag, image)
    site.put("v1", MULTI, "team/multi")
    to = ["oci:out:{name}-{tag}", f"docker://{site.server.name}/mirror/{{name}}:{{tag}}"]
    platforms = {"platforms": ["linux/arm64/v8", "linux/amd64"], "sparse": True}
    site.batch(
        {"from": site.source("app"), "tags": {"regex": "^v", "newest": 2}, "to": to},
        {"from": site.source("multi:v1"), **platforms, "to": to[:1]},
    )
    lock = site.lock()
    for tag in ("v1", "v3"):
        site.put(tag, NEW)
    site.put("v1", NEW, "team/multi")
    asked = site.run()
    assert tags_asked(asked) == []
    assert site.written() == {str(image.digest) for image in (OLD, THIRD, MULTI)}
    assert [line["source"].rpartition("/")[2] for line in site.report()[::2]] == ["app:v2", "app:v1", "multi:v1"]
    assert {line["state"] for line in site.report()} == {"verified"}
    kept = [child for child in MULTI.children if "arm/v7" not in child.platform]
    wanted = lock["images"][2]["resolved"]
    assert wanted["manifests"] == {
        str(MULTI.digest): {"media-type": MULTI.media_type, "size": len(MULTI.manifest_raw)},
        **{
            str(one.digest): {"media-type": one.media_type, "platform": one.platform, "size": len(one.manifest_raw)}
            for one in kept
        },
    }
    assert wanted["blobs"] == {str(digest): len(raw) for one in kept for digest, raw in one.blobs.items()}
    fetched = {one.target.rpartition("/")[2] for one in asked if "/team/multi/blobs/" in one.target}
    assert fetched == set(wanted["blobs"])
    # And again, there is nothing to ask.
    assert site.run() == []


def test_a_lock_is_the_same_bytes_whenever_and_wherever_it_is_made(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put("v1", OLD)
    site.put("v2", MULTI)
    site.batch({"from": site.source("app"), "tags": {"regex": "v"}, "to": ["oci:out:{tag}"], "referrers": True})
    site.lock("one.json")
    elsewhere = site.folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "batch.json").write_bytes((site.folder / "batch.json").read_bytes())
    for name, value in (("TZ", "Pacific/Kiritimati"), ("LC_ALL", "tr_TR.UTF-8"), ("PYTHONHASHSEED", "7")):
        monkeypatch.setenv(name, value)
    umask = os.umask(0o077)
    try:
        replace(site, folder=elsewhere).lock("two.json")
    finally:
        os.umask(umask)
    raw = (site.folder / "one.json").read_bytes()
    assert (elsewhere / "two.json").read_bytes() == raw
    assert json.dumps(json.loads(raw), indent=2, sort_keys=True) == raw.decode().rstrip("\n")
    assert str(site.folder) not in raw.decode()
    assert time.strftime("%Y-") not in raw.decode()


def test_check_finds_what_moved_came_and_went_and_writes_nothing(site: Site) -> None:
    for tag, image in (("v1", OLD), ("v2", OLD), ("v3", THIRD), ("w1", THIRD)):
        site.put(tag, image)
    chosen = {"from": site.source("app"), "tags": {"regex": "^v"}, "to": ["oci:out:{tag}"]}
    named = {"from": site.source("app:w1"), "to": ["oci:out:{tag}"]}
    site.batch(chosen, named)
    site.lock()
    assert site.check(code=0) == ["4 images are as the lock says: b.lock.json"]
    for tag in ("v1", "v4"):
        site.put(tag, NEW)
    site.does("delete", "--tls-verify=false", site.source("app:v3"))
    assert sorted(site.check()) == [
        f"{site.source('app:v1')}: moved, {OLD.digest} -> {NEW.digest}",
        f"{site.source('app:v3')}: gone, was {THIRD.digest}",
        f"{site.source('app:v4')}: new, {NEW.digest}",
        f"{site.source('app:w1')}: gone, was {THIRD.digest}",
    ]
    assert not (site.folder / "out").exists()
    # What is asked for in another way is no move.
    site.put("v1", OLD)
    site.batch({**chosen, "tags": ["v1"], "layers": "zstd"}, **{"require-signed": True})
    said = site.check()
    assert f"{site.source('app:v1')}: layers: another in the batch file than in the lock" in said
    assert "require-signed: another in the batch file than in the lock" in said
    assert not [line for line in said if "moved" in line]


def test_a_registry_that_fails_is_an_error_and_nothing_is_said_to_be_gone(site: Site) -> None:
    site.put("v1", OLD)
    site.batch({"from": site.source("app:v1"), "to": ["oci:out:v1"]})
    site.lock()
    patience = {"tries": 1, "connect-timeout": 1}
    registries = {"localhost:1": {"tls-verify": False, "patience": patience}}
    site.batch({"from": "docker://localhost:1/team/app:v1", "to": ["oci:out:v1"]}, registries=registries)
    done = command(site.folder, "lock", "batch.json", "--check", "b.lock.json")
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("docker://localhost:1/team/app:v1: ")
    assert second == "b.lock.json: not compared"


def test_what_hung_on_an_image_is_pinned_too(site: Site) -> None:
    signed, later = make_referrer(MULTI, SIGNATURE, b"signed"), make_referrer(MULTI, SBOM, b"later")
    below, cosign = make_referrer(signed, SBOM, b"of the signature"), make_cosign(b"cosign")
    site.put("v1", MULTI)
    site.put(dashed(MULTI), list_of(signed))
    site.put(dashed(signed), list_of(below))
    site.put(dashed(MULTI, ".sig"), cosign)
    site.batch({"from": site.source("app:v1"), "to": ["oci:out:team/app:v1"], "referrers": True})
    (image,) = site.lock()["images"]
    hanging = image["resolved"]["hanging"]
    assert [one["manifest"]["digest"] for one in hanging["referrers"]][-1] == str(below.digest)
    assert (len(hanging["referrers"]), hanging["left"]) == (3, [])
    everything = {str(digest) for one in (MULTI, signed, below, cosign) for digest in one.all_blobs}
    assert {*image["resolved"]["manifests"], *image["resolved"]["blobs"]} == everything
    assert site.check(code=0)
    site.put(dashed(MULTI), list_of(later))
    site.put(dashed(MULTI, ".sig"), make_cosign(b"another"))
    assert site.check() == [f"{site.source('app:v1')}: other things hang on it"]
    assert tags_asked(site.run()) == []
    assert site.written() == {str(one.digest) for one in (MULTI, signed, below, cosign)}
    assert site.report()[0]["left-behind"] == []


def test_what_is_gone_by_its_digest_is_one_line(site: Site) -> None:
    site.put("v1", OLD)
    site.batch({"from": site.source("app:v1"), "to": ["oci:out:v1"]})
    site.lock()
    site.does("delete", "--tls-verify=false", site.source("app:v1"))
    site.put("v1", NEW)
    done = command(site.folder, "run", "b.lock.json", "--progress=none")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"{site.source('app:v1')} -> oci:{site.folder}/out:v1: ")
    assert str(OLD.digest) in done.stderr
    assert not (site.folder / "out/index.json").exists()


def test_a_policy_judges_a_locked_image_by_the_name_that_the_user_gave_it(
    site: Site, openpgp: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNUPGHOME", str(openpgp.home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(site.folder / "config"))
    (site.folder / "config/containers/registries.d").mkdir(parents=True)
    (site.folder / "config/containers/registries.d/s.yaml").write_text(
        f"docker: {{'{site.server.name}': {{lookaside: 'file://{site.folder}/store'}}}}\n"
    )
    key = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(openpgp.file("good"))}
    exact = {**key, "signedIdentity": {"type": "matchExact"}}
    policy = {"default": [{"type": "reject"}], "transports": {"docker": {site.server.name: [exact]}}}
    (site.folder / "policy.json").write_text(json.dumps(policy))
    plain = ("--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false")
    for tag, image in (("v1", OLD), ("v2", NEW)):
        site.put(tag, image, "team/plain")
        site.does(*plain, "--sign-by", openpgp["good"], site.source(f"plain:{tag}"), site.source(f"app:{tag}"))
    # The signature of v2 is for that name alone.
    site.put("other", NEW)
    tags = ("v1", "v2", "other")
    images = [{"from": site.source(f"app:{tag}"), "to": [f"dir:out-{tag}"]} for tag in tags]
    site.batch(*images, policy="policy.json", **{"require-signed": True})
    assert site.lock()["policy"] == "policy.json"
    assert tags_asked(site.run(code=1)) == []
    lines = site.report()
    assert [line["state"] for line in lines] == ["verified", "verified", "failed"]
    assert lines[0]["accepted"] == [f"signedBy {openpgp['good']}"]
    assert (site.folder / "out-v1/signature-1").exists()
    assert not (site.folder / "out-other").exists()
