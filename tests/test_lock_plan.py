"""The lock of a batch is a batch itself, which plans what the batch plans, but for what is pinned."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from support.locks import DIGEST, lock, tags
from transship.pipeline.batch import read_batch
from transship.pipeline.batch.lock import find_lock
from transship.pipeline.errors import UsageError
from transship.pipeline.image_job import ImageJob
from transship.pipeline.jobs import Plan
from transship.pipeline.locking import differences
from transship.pipeline.manifest.document import dump_lines
from transship.pipeline.manifest.platform import host
from transship.pipeline.planning import plan_batch


def never(*_: object) -> list[str]:
    raise AssertionError("a tag was asked for")


def unpinned(plan: Plan, ours: Callable[[ImageJob], ImageJob]) -> tuple[object, ...]:
    """Return all that a plan says, images changed by ``ours`` and named by themselves."""
    images = {key: ours(job) for key, job in plan.images.items()}
    deliveries = [
        (one.transport, one.path, [(images[member.image], member.shape, member.name, member.signing)])
        for one in plan.deliveries.values()
        for member in one.members
    ]
    return plan.name, deliveries, dict(plan.registries), plan.policy, plan.batch_policy, plan.batch_require_signed


def assert_same_plan(batch: Path, target: Path) -> None:
    lock(batch, target)
    pinned, free = (plan_batch(read_batch(path, ask), "0") for path, ask in ((target, never), (batch, tags)))
    assert {job.pinned for job in pinned.images.values()} == {DIGEST}
    assert all((job.hanging is not None) is job.referrers for job in pinned.images.values())
    assert unpinned(pinned, lambda job: replace(job, pinned="", hanging=None)) == unpinned(free, concrete)
    assert plan_batch(read_batch(target, never), "0") == pinned == Plan.read(pinned.document())  # type: ignore[arg-type]


def concrete(job: ImageJob) -> ImageJob:
    return replace(job, platforms=str(host())) if job.platforms == "host" else job


EVERYTHING = """
version: 1
name: all of it
defaults: {to: ["oci:out/{repository}:{tag}", "docker://m.example/{name}:{tag}"], platforms: all, layers: zstd}
images:
  - {from: docker://r.example/team/app:v1, platforms: [linux/amd64, linux/arm64/v8], sparse: true, referrers: true}
  - {from: docker://r.example/team/web, tags: {regex: ^v, exclude: rc}, manifests: oci, config: strict}
  - {from: "docker://alpine", to: ["docker-archive:all.tar:a:{tag}"]}
  - {from: "docker://r.example/b@DIGEST", to: ["docker-archive:all.tar:b:v1"], platforms: host, foreign: download}
  - {from: "oci:layout:team/app:v1", to: ["dir:../aside"], encrypt: ["jwe:keys/a.pem", "pgp:a@b.example"]}
  - {from: "docker-archive:/abs/a.tar:x:v1", to: ["dir:/abs/out"], decrypt: ["k.pem:file=pass"], level: 4}
  - {from: "tarball:base.tar:top.tar", to: ["oci:t:v1"], max-layer-size: 99, reversible: true, fail-on-loss: true}
  - {from: docker-daemon:app:v1, to: ["docker://m.example/signed:v1"], signing: {by: "ABC", passphrase-file: pass,
     identity: "m.example/{name}:{tag}"}}
  - {from: docker://r.example/plain, remove-signatures: true, tags: [x, y], to: ["dir:plain-{tag}"]}
registries:
  r.example: {tls-verify: false, authfile: auth.json, cert-dir: /certs, concurrency: 3, patience: {tries: 2}}
policy: trust/policy.json
require-signed: true
""".replace("DIGEST", DIGEST)


@pytest.mark.parametrize("folder", [".", "locks", "locks/deeper"])
def test_a_lock_plans_what_its_batch_plans_also_from_another_folder(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "batch.yaml").write_text(EVERYTHING)
    (tmp_path / "pass").write_text("secret")
    assert_same_plan(tmp_path / "batch.yaml", tmp_path / folder / "batch.lock.json")
    said = json.loads((tmp_path / folder / "batch.lock.json").read_text())
    assert str(tmp_path) not in json.dumps(said)
    assert [image["from"] for image in said["images"]][:4] == [
        f"docker://{name}" for name in ("r.example/team/app:v1", "r.example/team/web:v2", "r.example/team/web:v1",
                                        "docker.io/library/alpine:latest")
    ]  # fmt: skip


WISHES = st.fixed_dictionaries(
    {},
    optional={
        "platforms": st.sampled_from(["all", "host", "linux/arm64", ["linux/amd64"], ["linux/arm/v7", "a/b"]]),
        "referrers": st.booleans(),
        "manifests": st.sampled_from(["keep", "oci", "docker"]),
        "config": st.sampled_from(["verbatim", "strict"]),
        "layers": st.sampled_from(["keep", "gzip", "zstd", "zstd:chunked", "uncompressed"]),
        "level": st.integers(1, 9),
        "force": st.booleans(),
        "foreign": st.sampled_from(["keep-urls", "download"]),
        "max-layer-size": st.integers(1, 1 << 40),
        "reversible": st.booleans(),
        "encrypt": st.lists(st.sampled_from(["jwe:a.pem", "pkcs7:/k/b.pem", "pgp:x@y.z"]), unique=True),
        "remove-signatures": st.booleans(),
    },
)
SOURCES = st.sampled_from(["docker://r.example/a:v1", "docker://b", "oci:in:v1", "dir:/in/d", f"docker://c@{DIGEST}"])


@given(defaults=WISHES, images=st.lists(st.tuples(SOURCES, WISHES), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_any_batch_and_its_lock_plan_the_same(
    tmp_path_factory: pytest.TempPathFactory, defaults: dict[str, Any], images: list[tuple[str, dict[str, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    entries = [{"from": source, "to": [f"docker://m/x:{n}"], **wish} for n, (source, wish) in enumerate(images)]
    (folder / "b.json").write_text(json.dumps({"version": 1, "defaults": defaults, "images": entries}))
    try:
        plan_batch(read_batch(folder / "b.json", tags), "0")
    except UsageError:
        reject()
    assert_same_plan(folder / "b.json", folder / "b.lock.json")
    raw = (folder / "b.lock.json").read_bytes()
    found = find_lock(folder / "b.lock.json")
    assert found
    assert dump_lines(found.value) == raw
    assert list(differences(found.value, found.value)) == []
