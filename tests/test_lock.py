"""The lock of a batch: a batch itself, which plans what the batch plans, but for what is pinned."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from support.command import command, tree
from support.images import ImageBytes, make_image, make_multi, write_layout
from support.serving import write_directory, write_docker_archive
from transship.pipeline.batch import expand_batch, read_batch
from transship.pipeline.batch.lock import find_lock
from transship.pipeline.batch.resolved import Part, Resolved
from transship.pipeline.cli.batches import locked
from transship.pipeline.cli.main import command_parser, main_parser
from transship.pipeline.digest import Digest
from transship.pipeline.errors import TransportError, UsageError
from transship.pipeline.image_job import ImageJob
from transship.pipeline.jobs import Plan
from transship.pipeline.locking import differences, lock_bytes, lock_document
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.media_types import OCI_MANIFEST
from transship.pipeline.manifest.platform import host
from transship.pipeline.manifest.referrer import Left, Referrer
from transship.pipeline.planning import plan_batch
from transship.pipeline.referrers import Found

DIGEST, ANOTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
IMAGE, OTHER = make_image("locked", layers=1, docker=False), make_image("not locked", layers=1, docker=False)


def resolved(referrers: bool = False) -> Resolved:
    digest = Digest.parse(DIGEST)
    one = Referrer(digest, Descriptor(OCI_MANIFEST, Digest.of(b"sbom"), 4, artifact_type="a/b"), "sha256-a.sig")
    hanging = Found((one,), (Left("it is too deep", one), Left("nobody could look")))
    part = Part(OCI_MANIFEST, 7, "linux/amd64")
    return Resolved(digest, OCI_MANIFEST, 7, {digest: part}, {Digest.of(b"x"): 1}, hanging if referrers else None)


def tags(*_: object) -> list[str]:
    return ["v1", "v2", "v3-rc"]


def lock(batch: Path, target: Path) -> None:
    expanded = expand_batch(batch, tags, aimless=True)
    found = [resolved(job.referrers) for job in expanded.batch.jobs]
    target.write_bytes(lock_bytes(lock_document(expanded, found, target.parent)))


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
    assert lock_bytes(found.value) == raw
    assert list(differences(found.value, found.value)) == []


def written(folder: Path, spoil: Callable[[Any], object], images: str = "") -> Path:
    batch = folder / "batch.yaml"
    batch.write_text(f"version: 1\nimages:\n  - {{from: 'oci:in:v1', to: [dir:out]}}\n{images}")
    lock(batch, folder / "b.lock.json")
    document = json.loads((folder / "b.lock.json").read_text())
    spoil(document)
    (folder / "b.lock.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return folder / "b.lock.json"


def first(document: Any) -> Any:
    return document["images"][0]


BAD: dict[str, tuple[Callable[[Any], object], str]] = {
    "another version": (lambda lock: lock.update(lock=2), "key lock: is 2, expected 1; make the lock again"),
    "a key of a batch": (lambda lock: lock.update(version=1), "key version: unknown key"),
    "no image": (lambda lock: lock.update(images=[]), "key images: "),
    "nothing resolved": (lambda lock: first(lock).pop("resolved"), "key images[0]: 'resolved' is missing"),
    "a selector": (lambda lock: first(lock).update(tags=["v1"]), "key images[0].tags: unknown key"),
    "a digest": (lambda lock: first(lock)["resolved"].update(digest="sha256:abc"), "resolved.digest: expected sha256"),
    "a blob's digest": (lambda lock: first(lock)["resolved"].update(blobs={"x": 1}), "resolved.blobs: expected sha256"),
    "a size": (lambda lock: first(lock)["resolved"].update(size=-1), "key images[0].resolved.size: "),
    "a size that is no integer": (lambda lock: first(lock)["resolved"].update(size=1.0), "the number 1.0"),
    "a source": (lambda lock: first(lock).update({"from": "nope:x"}), "key images[0].from: "),
    "nowhere": (lambda lock: first(lock).pop("to"), "key images[0]: no destination"),
    "another digest than that of its source": (
        lambda lock: first(lock).update({"from": f"docker://r.example/a@{ANOTHER}"}),
        f"key images[0].resolved.digest: is {DIGEST}, and from names {ANOTHER}",
    ),
    "referrers unresolved": (lambda lock: first(lock).update(referrers=True), "has no hanging, and referrers are wan"),
    "referrers unwanted": (
        lambda lock: first(lock)["resolved"].update(hanging={"referrers": [], "left": []}),
        "has hanging without referrers",
    ),
    "no reason": (
        lambda lock: [first(lock).update(referrers=True), first(lock)["resolved"].update(
            hanging={"referrers": [], "left": [{}]})],
        "key images[0].resolved: referrers left[0]: why",
    ),
    "twice to one place": (lambda lock: lock["images"].append(first(lock)), "is written already"),
    "a secret": (lambda lock: lock.update(registries={"r.example": {"password": "x"}}), "never stand in a batch file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_lock_that_is_wrong_is_one_line_with_file_line_and_key(tmp_path: Path, name: str) -> None:
    spoil, says = BAD[name]
    path = written(tmp_path, spoil)
    before = tree(tmp_path)
    done = command(tmp_path, "run", path.name)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert says in done.stderr
    number = done.stderr.removeprefix("transship: b.lock.json:").partition(":")[0]
    assert 0 < int(number) <= len(path.read_text().splitlines())
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b'{"lock": 1, ', "not JSON"),
        (b'{"lock": 1, "lock": 1}', "key 'lock' stands twice"),
        (b'{"lock": 1, "name": "x", "images": ["\\ud800"]}', "half a surrogate pair"),
        (b'{"lock": 1, "images": [NaN]}', "NaN"),
        (b'{"lock": 1}' + b"\xff", "not UTF-8"),
        (b'{"lock": 1, "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested"),
    ],
)
def test_a_lock_that_is_no_sound_json_is_one_line(tmp_path: Path, raw: bytes, says: str) -> None:
    (tmp_path / "b.lock.json").write_bytes(raw)
    for words in (("run", "b.lock.json"), ("lock", "b.lock.json", "-o", "c.json")):
        done = command(tmp_path, *words)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "b.lock.json" in done.stderr
        assert says in done.stderr or "this is a lock" in done.stderr


def test_a_source_on_disk_that_is_another_image_now_is_refused_in_one_line_and_stops_no_other(tmp_path: Path) -> None:
    def put(image: ImageBytes) -> None:
        write_layout(tmp_path / "in", {"v1": image})
        shutil.rmtree(tmp_path / "dir", ignore_errors=True)
        write_directory(tmp_path / "dir", image)
        write_docker_archive(tmp_path / "a.tar", image, ["a:v1"])

    put(IMAGE)
    write_layout(tmp_path / "same", {"v1": IMAGE})
    sources = ("oci:in:v1", "dir:dir", "docker-archive:a.tar", "oci:same:v1")
    entries = [{"from": source, "to": [f"oci:out:{n}"]} for n, source in enumerate(sources)]
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": entries}))
    assert command(tmp_path, "lock", "batch.json", "-o", "b.lock.json").returncode == 0
    assert command(tmp_path, "run", "b.lock.json", "--name", "before").returncode == 0
    put(OTHER)
    done = command(tmp_path, "run", "b.lock.json", "--progress=none")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.partition(" -> ")[0] for line in lines] == [
        f"{source.partition(':')[0]}:{tmp_path}/{source.partition(':')[2]}" for source in sources[:3]
    ]
    assert all(": is sha256:" in line and ", and the lock says sha256:" in line for line in lines)
    for line in lines[:2]:
        assert f"is {OTHER.digest}, and the lock says {IMAGE.digest}; bring that back, or make the lock again" in line
    checked = command(tmp_path, "lock", "batch.json", "--check", "b.lock.json")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert [line.partition(": ")[0] for line in checked.stdout.splitlines()] == list(sources[:3])
    assert f"oci:in:v1: moved, {IMAGE.digest} -> {OTHER.digest}" in checked.stdout


def test_host_is_written_as_the_platform_that_it_was(tmp_path: Path) -> None:
    machine = str(host())
    write_layout(tmp_path / "in", {"v1": make_multi("of hosts", layers=1)})
    (tmp_path / "batch.yaml").write_text(
        "version: 1\nimages:\n  - {from: 'oci:in:v1', to: ['docker-archive:a.tar:a:v1']}\n"
        "  - {from: 'oci:in:v1', platforms: host, to: ['oci:out:v1']}\n"
    )
    assert command(tmp_path, "lock", "batch.yaml", "-o", "b.lock.json").returncode == 0
    for image in json.loads((tmp_path / "b.lock.json").read_text())["images"]:
        assert image["platforms"] == machine
        (part,) = image["resolved"]["manifests"].values()
        assert part["platform"].startswith(machine)


def test_what_cannot_be_resolved_is_named_each_and_no_lock_is_written(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": IMAGE})
    names = ("oci:in:v1", "oci:in:none", "oci:nowhere:v1", "docker-archive:none.tar")
    entries = [{"from": name, "to": [f"oci:out:{n}"]} for n, name in enumerate(names)]
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": entries}))
    (tmp_path / "b.lock.json").write_text("what was there\n")
    before = tree(tmp_path)
    done = command(tmp_path, "lock", "batch.json", "-o", "b.lock.json")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        f"{name.partition(':')[0]}:{tmp_path}/{name.partition(':')[2]}" for name in names[1:]
    ]
    assert lines[-1] == "b.lock.json: not written"
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("lock", "batch.json"), "expected either --output or --check"),
        (("lock", "batch.json", "-o", "x", "--check", "b.lock.json"), "expected either --output or --check"),
        (("lock", "batch.json", "-o", "no/such/folder/x"), "no such folder"),
        (("lock", "batch.json", "-o", "in"), "is a folder"),
        (("lock", "batch.json", "-o", "./batch.json"), "is the batch file itself"),
        (("lock", "batch.json", "--check", "none.json"), "none.json: no such file"),
        (("lock", "batch.json", "--check", "batch.json"), "batch.json: not a lock"),
        (("lock", "b.lock.json", "-o", "x"), "b.lock.json: is a lock already"),
        (("lock", "none.yaml", "-o", "x"), "none.yaml: cannot be read"),
        (("run", "b.lock.json", "--refresh"), "--refresh: b.lock.json is a lock"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_options_are_one_line_and_nothing_is_written(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    write_layout(tmp_path / "in", {"v1": IMAGE})
    entry = {"from": "oci:in:v1", "to": ["oci:out:v1"]}
    (tmp_path / "batch.json").write_text(json.dumps({"version": 1, "images": [entry]}))
    assert command(tmp_path, "lock", "batch.json", "-o", "b.lock.json").returncode == 0
    before = tree(tmp_path)
    done = command(tmp_path, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert says in done.stderr
    assert tree(tmp_path) == before


def test_a_batch_without_destinations_can_be_locked_and_not_run(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": make_multi("aimless", layers=1)})
    (tmp_path / "batch.yaml").write_text("version: 1\nimages:\n  - {from: 'oci:in:v1'}\n")
    assert command(tmp_path, "lock", "batch.yaml", "-o", "b.lock.json").returncode == 0
    (image,) = json.loads((tmp_path / "b.lock.json").read_text())["images"]
    assert len(image["resolved"]["manifests"]) == 4
    for name in ("batch.yaml", "b.lock.json"):
        done = command(tmp_path, "run", name)
        assert (done.returncode, "no destination" in done.stderr) == (2, True)


def test_a_run_of_a_lock_is_named_as_that_of_its_batch(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": IMAGE})
    for name, said in (("batch.yaml", ""), ("named.yaml", "name: nightly\n")):
        (tmp_path / name).write_text(f"version: 1\n{said}images:\n  - {{from: 'oci:in:v1', to: ['oci:out:v1']}}\n")
        assert command(tmp_path, "lock", name, "-o", f"{name}.lock").returncode == 0
        assert command(tmp_path, "run", f"{name}.lock").returncode == 0
    assert sorted(os.listdir(tmp_path / "runs")) == ["batch", "nightly"]


def test_who_wants_a_lock_gets_the_one_that_is_there_or_the_same_made_now(tmp_path: Path) -> None:
    write_layout(tmp_path / "in", {"v1": make_multi("wanted", layers=1)})
    (tmp_path / "batch.yaml").write_text("version: 1\nimages:\n  - {from: 'oci:in:v1', referrers: true}\n")
    options = command_parser("lock").parse_args(["batch.yaml"], main_parser().parse_args([]))
    made, batch = locked(options, tmp_path / "batch.yaml")
    (tmp_path / "b.lock.json").write_bytes(lock_bytes(made))
    assert locked(options, tmp_path / "b.lock.json") == (made, batch)
    assert command(tmp_path, "lock", "batch.yaml", "-o", "written.json").returncode == 0
    assert (tmp_path / "written.json").read_bytes() == lock_bytes(made)
    shutil.rmtree(tmp_path / "in")
    with pytest.raises(TransportError, match=f"oci:{tmp_path}/in:v1: "):
        locked(options, tmp_path / "batch.yaml")
