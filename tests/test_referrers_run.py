"""``run`` and ``sync`` with referrers: planned, kept in checkpoints, written, verified and reported as images are."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.clients import client
from support.command import begin, command
from support.images import make_image, make_multi, write_layout
from support.peers import upload
from support.referring import SBOM, SIGNATURE, dashed, list_of, make_cosign, make_referrer
from support.registry_server import RegistryServer, running

IMAGE = make_multi("in a run", docker=False)
SIGNED = make_referrer(IMAGE, SIGNATURE, b"signature in a run")
MADE_OF = make_referrer(IMAGE.children[0], SBOM, b"sbom in a run")
COSIGN = make_cosign(b"cosign in a run")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    with running(tmp_path / "registry", access_log=True) as registry:
        upload(registry, "from/app", "v1", IMAGE)
        upload(registry, "from/app", dashed(IMAGE), list_of(SIGNED))
        upload(registry, "from/app", dashed(IMAGE.children[0]), list_of(MADE_OF))
        upload(registry, "from/app", dashed(IMAGE, ".sig"), COSIGN)
        yield registry


def batch(folder: Path, registry: RegistryServer, *images: dict[str, object], **defaults: object) -> None:
    document = {
        "version": 1,
        "defaults": {"referrers": True, **defaults},
        "images": list(images),
        "registries": {registry.name: {"tls-verify": False}},
    }
    (folder / "batch.json").write_text(json.dumps(document))


def run(folder: Path, *words: str, code: int = 0) -> str:
    done = command(folder, "run", "batch.json", "--progress=none", *words)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stderr


def report(folder: Path) -> list[Any]:
    images: list[Any] = json.loads((folder / "runs/batch/report.json").read_bytes())["images"]
    return images


def entries(layout: Path) -> set[str]:
    return {entry["digest"] for entry in json.loads((layout / "index.json").read_bytes())["manifests"]}


def test_a_run_takes_referrers_to_every_place_that_can_hold_them_and_reports_the_rest(
    tmp_path: Path, server: RegistryServer
) -> None:
    to = ["oci:out:{repository}:{tag}", f"docker://{server.name}/to/app:{{tag}}", "oci-archive:out.tar:app:v1", "dir:d"]
    batch(tmp_path, server, {"from": f"docker://{server.name}/from/app:v1", "to": to})
    said = run(tmp_path)
    assert "3 referrers left behind" in said
    assert entries(tmp_path / "out") == {str(one.digest) for one in (IMAGE, SIGNED, MADE_OF, COSIGN)}
    lines = {line["destination"].partition(":")[0]: line for line in report(tmp_path)}
    for transport in ("oci", "docker", "oci-archive"):
        found = {
            (one["subject"], one["manifest"]["digest"], one.get("tag", "")) for one in lines[transport]["referrers"]
        }
        assert found == {
            (str(IMAGE.digest), str(SIGNED.digest), ""),
            (str(IMAGE.children[0].digest), str(MADE_OF.digest), ""),
            (str(IMAGE.digest), str(COSIGN.digest), dashed(IMAGE, ".sig")),
        }
        assert lines[transport]["left-behind"] == []
    assert {one["why"] for one in lines["dir"]["left-behind"]} == {"dir: has no place for it"}
    assert lines["dir"]["referrers"] == []
    there = client(server.name)
    assert there.get_manifest("to/app", dashed(IMAGE, ".sig")).digest == COSIGN.digest
    assert str(MADE_OF.digest).encode() in there.get_manifest("to/app", dashed(IMAGE.children[0])).raw
    assert "left behind" in command(tmp_path, "report", "runs/batch").stdout


def test_verify_of_a_run_reads_its_referrers_and_finds_one_untied(tmp_path: Path, server: RegistryServer) -> None:
    batch(tmp_path, server, {"from": f"docker://{server.name}/from/app:v1", "to": ["oci:out:app:{tag}"]})
    run(tmp_path)
    assert command(tmp_path, "verify", "runs/batch").returncode == 0
    content = next(digest for digest, raw in SIGNED.blobs.items() if raw.startswith(b"signature"))
    path = tmp_path / "out/blobs/sha256" / content.hex
    sound = path.read_bytes()
    os.chmod(path, 0o644)
    path.write_bytes(sound.upper())
    done = command(tmp_path, "verify", "runs/batch")
    assert (done.returncode, str(content) in done.stderr) == (1, True)
    path.write_bytes(sound)
    index = json.loads((tmp_path / "out/index.json").read_bytes())
    index["manifests"] = [one for one in index["manifests"] if one["digest"] != str(SIGNED.digest)]
    (tmp_path / "out/index.json").write_text(json.dumps(index))
    done = command(tmp_path, "verify", "runs/batch")
    assert (done.returncode, "nothing ties it" in done.stderr) == (1, True)


def test_a_refresh_notices_what_hangs_anew_on_an_image_that_did_not_change(
    tmp_path: Path, server: RegistryServer
) -> None:
    batch(tmp_path, server, {"from": f"docker://{server.name}/from/app:v1", "to": ["oci:out:app:{tag}"]})
    run(tmp_path)
    assert "0 images changed" in run(tmp_path, "--refresh")
    late = make_referrer(IMAGE, SBOM, b"attached later")
    upload(server, "from/app", dashed(IMAGE), list_of(SIGNED, late))
    run(tmp_path)
    assert str(late.digest) not in entries(tmp_path / "out")
    assert "1 images changed" in run(tmp_path, "--refresh")
    assert str(late.digest) in entries(tmp_path / "out")


def test_a_run_that_was_stopped_does_not_ask_again_what_hangs_on_an_image(
    tmp_path: Path, server: RegistryServer
) -> None:
    # The destination is in the way, so that the run ends after all was fetched.
    (tmp_path / "out").mkdir()
    (tmp_path / "out/stranger").write_text("not a layout")
    batch(tmp_path, server, {"from": f"docker://{server.name}/from/app:v1", "to": ["oci:out:app:{tag}"]})
    run(tmp_path, code=1)
    (tmp_path / "out/stranger").unlink()
    before = len(server.requests())
    run(tmp_path)
    assert len(server.requests()) == before
    assert entries(tmp_path / "out") == {str(one.digest) for one in (IMAGE, SIGNED, MADE_OF, COSIGN)}


def test_conversion_leaves_behind_what_belongs_to_the_old_digest(tmp_path: Path, server: RegistryServer) -> None:
    image = make_image("docker in a run")
    signature = make_referrer(image, SIGNATURE, b"of the docker manifest")
    upload(server, "docker/app", "v1", image)
    upload(server, "docker/app", dashed(image), list_of(signature))
    batch(tmp_path, server, {"from": f"docker://{server.name}/docker/app:v1", "to": ["oci:out:app:{tag}"]})
    run(tmp_path)
    (line,) = report(tmp_path)
    (left,) = line["left-behind"]
    assert (left["manifest"]["digest"], left["subject"]) == (str(signature.digest), str(image.digest))
    assert left["why"] == f"conversion made {line['new']} of what it belongs to"
    assert entries(tmp_path / "out") == {line["new"]}


def test_a_layout_entry_without_a_name_is_refused_before_anything_starts(
    tmp_path: Path, server: RegistryServer
) -> None:
    batch(tmp_path, server, {"from": f"docker://{server.name}/from/app:v1", "to": ["oci:out"]})
    assert "give the image a name" in run(tmp_path, code=2)
    assert not (tmp_path / "runs").exists()


def test_an_image_alone_can_say_no_to_the_defaults(tmp_path: Path, server: RegistryServer) -> None:
    batch(
        tmp_path,
        server,
        {"from": f"docker://{server.name}/from/app:v1", "to": ["oci:out:app:{tag}"], "referrers": False},
    )
    run(tmp_path)
    assert entries(tmp_path / "out") == {str(IMAGE.digest)}
    assert "referrers" not in report(tmp_path)[0]


def test_sync_takes_referrers_into_a_registry_and_notices_new_ones(tmp_path: Path, server: RegistryServer) -> None:
    words = ("sync", "--src=docker", "--dest=docker", "--all", "--referrers", "--progress=none")
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    ends = (f"{server.name}/from/app:v1", f"{server.name}/mirror")
    done = command(tmp_path, *words, *plain, *ends)
    assert done.returncode == 0, done.stderr
    there = client(server.name)
    assert there.get_manifest("mirror/app", dashed(IMAGE, ".sig")).digest == COSIGN.digest
    late = make_cosign(b"attested later")
    upload(server, "from/app", dashed(IMAGE, ".att"), late)
    done = command(tmp_path, *words, *plain, *ends)
    assert done.returncode == 0, done.stderr
    assert there.get_manifest("mirror/app", dashed(IMAGE, ".att")).digest == late.digest


def test_the_tags_that_tie_referrers_are_not_copied_as_images_too(tmp_path: Path, server: RegistryServer) -> None:
    upload(server, "from/app", "v2", make_image("second in a run", docker=False))
    words = ("sync", "--src=docker", "--dest=docker", "--referrers", "--progress=none", "--all")
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    done = command(tmp_path, *words, *plain, f"{server.name}/from/app", f"{server.name}/whole")
    assert (done.returncode, done.stdout.startswith("2 images verified")) == (0, True), done.stderr
    there = client(server.name)
    ties = {dashed(IMAGE), dashed(IMAGE.children[0]), dashed(IMAGE, ".sig")}
    assert set(there.list_tags("whole/app")) == {"v1", "v2", *ties}
    source = {"from": f"docker://{server.name}/from/app", "tags": {"regex": "."}, "to": ["oci:out:app:{tag}"]}
    batch(tmp_path, server, source)
    run(tmp_path)
    assert {line["destination"].rpartition(":")[2] for line in report(tmp_path)} == {"v1", "v2"}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--dest=dir"], "no place"), (["--dest=docker", "--remove-signatures"], "--remove-signatures")],
)
def test_sync_refuses_what_cannot_be(tmp_path: Path, words: list[str], said: str) -> None:
    write_layout(tmp_path / "from", {"v1": IMAGE})
    done = command(tmp_path, "sync", "--src=docker", *words, "--referrers", "localhost:1/a:b", "out")
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_run_killed_while_it_pushes_ends_with_every_referrer_tied(tmp_path: Path, server: RegistryServer) -> None:
    count = 12
    pairs = []
    for number in range(count):
        image = make_image(f"killed {number}", docker=False, layer_size=200_000)
        pairs.append((image, make_referrer(image, SIGNATURE, b"%d" % number)))
    named = {f"app:v{number}": image for number, (image, _) in enumerate(pairs)}
    write_layout(tmp_path / "from", named)
    index = json.loads((tmp_path / "from/index.json").read_bytes())
    for number, (_, signature) in enumerate(pairs):
        write_layout(tmp_path / "from", {"": signature, f"app:{dashed(pairs[number][0], '.sig')}": COSIGN})
        index["manifests"] += json.loads((tmp_path / "from/index.json").read_bytes())["manifests"]
    (tmp_path / "from/index.json").write_text(json.dumps(index))
    to = f"docker://{server.name}/killed/app"
    images = [{"from": f"oci:from:app:v{number}", "to": [f"{to}:v{number}"]} for number in range(count)]
    batch(tmp_path, server, *images)
    process = begin(tmp_path, "run", "batch.json", "--progress=none", "--workers=2")
    pushed = tmp_path / "registry/data/docker/registry/v2/repositories/killed/app/_manifests/tags"
    deadline = time.monotonic() + 60
    while process.poll() is None and not pushed.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    run(tmp_path)
    there = client(server.name)
    for image, signature in pairs:
        assert str(signature.digest).encode() in there.get_manifest("killed/app", dashed(image)).raw
        assert there.get_manifest("killed/app", dashed(image, ".sig")).digest == COSIGN.digest
    assert {line["state"] for line in report(tmp_path)} == {"verified"}
