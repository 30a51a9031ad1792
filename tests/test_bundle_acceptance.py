"""Bundles at size, out of a real registry: the same bytes whoever makes them, on how much disk, and who reads them."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import pyzstd

from support import shifted_clock
from support.acceptance import PATIENCE, check_oci, document, skopeo
from support.bundle_corpus import FULL, a_week_later, blobs_of, bundle_corpus, name_of
from support.bundle_places import Laid, Place, flipped, places_in_frames, places_in_tar
from support.bundle_world import FORMS, World, bundle_world, create, digests, done, files_of, sums, volumes_of
from support.command import ARGUMENTS, begin, command, environment, killed
from support.corpus import Sample, push, sha256
from support.disk_peak import allocated
from support.engines import Docker, Podman, timed, tool
from support.images import OCI_INDEX, OCI_MANIFEST
from support.registry_server import running
from transship.pipeline.bundle.verify import verify_bundle
from transship.pipeline.cli.main import main

pytestmark = pytest.mark.timeout(PATIENCE)
KILLS = int(os.environ.get("TRANSSHIP_KILLS", "2"))
AGAIN = tuple(FORMS) if FULL else ("s.tar",)
"""The forms that are made again and again: of small ones, test_bundle.py makes all."""
DAYS = 40 * 86400


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with bundle_world(tmp_path_factory.mktemp("acceptance")) as made:
        yield made


@pytest.mark.parametrize("form", FORMS)
def test_the_disk_holds_bundle_and_store_and_little_more(world: World, form: str) -> None:
    assert world.peaks[form] <= 1.1


@pytest.mark.parametrize("form", AGAIN)
def test_another_user_makes_the_same_bytes_of_the_lock_elsewhere_weeks_later(
    world: World, form: str, tmp_path: Path
) -> None:
    place = tmp_path / "deep" / "er"
    place.mkdir(parents=True)
    shutil.copy(world.lock, place / "called otherwise.json")
    odd = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "7", "HOME": str(place), "USER": "else"}
    kept = {name: environment()[name] for name in ("PATH", "PYTHONPATH")}
    words = [*create(place / "called otherwise.json", form), "--workers", "1"]
    with timed(f"bundle create {form}, elsewhere"):
        ended = subprocess.run(
            [sys.executable, shifted_clock.__file__, str(DAYS), *words],
            cwd=place,
            env={**kept, **odd},
            umask=0o077,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    assert sums(place / form) == sums(world.bundle(form))


@pytest.mark.parametrize("form", AGAIN)
def test_killed_in_the_middle_again_and_again_it_becomes_the_same_bytes(
    world: World, form: str, tmp_path: Path
) -> None:
    words, wanted = (*create(world.lock, form), "--workers", "4"), sums(world.bundle(form))
    whole = 2 * sum(path.stat().st_size for path in files_of(world.bundle(form)))
    # The first half of them while the store grows, the others while the bundle does, the last while it is verified.
    points = [whole * number // (KILLS + 1) for number in range(1, KILLS + 1)]
    met = [killed(begin(tmp_path, *words), partial(lambda least: allocated(tmp_path) >= least, one)) for one in points]
    met.append(killed(begin(tmp_path, *words), (tmp_path / f"{form}.sums").exists))
    print(f"{form}: {sum(met)} of {len(met)} kills came in time")
    assert sum(met) > KILLS // 2
    done(tmp_path, *words)
    assert sums(tmp_path / form) == wanted
    assert sorted(os.listdir(tmp_path)) == sorted([*wanted, "runs"])


def test_the_volumes_are_the_one_file_cut(world: World) -> None:
    hasher = hashlib.sha256()
    for path in volumes_of(world.bundle("s.tar")):
        hasher.update(path.read_bytes())
    assert hasher.hexdigest() == sums(world.bundle("b.tar"))["b.tar"]
    assert len(volumes_of(world.bundle("s.tar"))) > 3


def check_copied(folder: Path, image: Sample, digest: str) -> None:
    """``folder`` is the image as skopeo, which checks digests, wrote it: all of it, in OCI's types; and remove it."""
    raw = (folder / "manifest.json").read_bytes()
    assert sha256(raw) == digest
    manifest = document(raw)
    if image.media_type in (OCI_INDEX, OCI_MANIFEST):
        assert raw == image.manifest
    elif not image.children:
        check_oci(manifest, image.blobs[0], [sha256(layer) for layer in image.blobs[1:]])
    else:
        platforms = [[one["platform"] for one in found["manifests"]] for found in (manifest, document(image.manifest))]
        assert platforms[0] == platforms[1]
    assert {sha256(blob).removeprefix("sha256:") for blob in image.blobs} <= set(os.listdir(folder))
    shutil.rmtree(folder)


def test_skopeo_copies_each_image_out_of_it(world: World, tmp_path: Path) -> None:
    bundle = world.bundle("b.tar")
    wanted = digests(bundle)
    for image in bundle_corpus():
        name, there = world.name(image), tmp_path / "copied"
        skopeo("copy", "-q", "--all", "--preserve-digests", f"oci-archive:{bundle}:{name}", f"dir:{there}")
        check_copied(there, image, wanted[name])


def test_oci_image_tool_accepts_every_name_of_the_layout(world: World, tmp_path: Path) -> None:
    with tarfile.open(world.bundle("b.tar")) as archive:
        archive.extractall(tmp_path / "layout", filter="data")
    tool("oci-image-tool", "validate", "--type", "image", tmp_path / "layout", timeout=PATIENCE)


@pytest.fixture(scope="module", params=["s.tar", "z.tar.zst"])
def served(request: pytest.FixtureRequest, world: World) -> Iterator[str]:
    """``host:port`` of the command that serves the bundle in its place."""
    words = [*ARGUMENTS, "serve", str(world.bundle(request.param)), "--port", "0"]
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = re.search(r"http://(\S+?:\d+)", process.stdout.readline())
            assert said
            yield said[1]
        finally:
            process.terminate()


def test_skopeo_pulls_each_image_that_is_served_of_it(world: World, served: str, tmp_path: Path) -> None:
    wanted = digests(world.bundle("b.tar"))
    for image in bundle_corpus():
        source, there = f"docker://{served}/{name_of(image)}", tmp_path / "pulled"
        skopeo("copy", "-q", "--all", "--src-tls-verify=false", source, f"dir:{there}")
        check_copied(there, image, wanted[world.name(image)])


def test_docker_and_podman_pull_what_is_served_and_docker_runs_it(served: str, docker: Docker, podman: Podman) -> None:
    for image in (bundle_corpus()[0], bundle_corpus()[-1])[: 2 if FULL else 1]:
        name = f"{served}/{name_of(image)}"
        podman("pull", "-q", "--tls-verify=false", name)
        docker("pull", "-q", name)
        assert docker("run", "--rm", "--network", "none", name).decode() == f"{image.prints}\n"
        docker("image", "rm", "-f", name)


def check_refused(bundle: Path, name: str, folder: Path, told: pytest.CaptureFixture[str]) -> None:
    """Nothing is loaded of a bundle that is damaged in the file ``name``, which is said in a line."""
    told.readouterr()
    assert main(["bundle", "load", str(bundle), "--to", f"oci:{folder}/to", "--runs", f"{folder}/runs"]) == 1
    said = told.readouterr()
    assert name in said.err
    assert (said.out, said.err.count("\n"), os.listdir(folder)) == ("", 1, [])


@pytest.mark.parametrize("form", ["s.tar", "z.tar.zst"])
def test_a_flipped_bit_is_found_where_it_is_told_of_its_images_and_refused(
    world: World, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, refused, bits = world.bundle(form), set[str](), random.Random(8)
    places = places_in(world, form, tmp_path)
    for place in places:
        with flipped(volumes_of(bundle), place.offset, bits.randrange(8)) as name:
            found = verify_bundle(bundle)
            assert found.faults, place
            assert found.faults[0] == (name, "damaged: not what its checksum says"), place
            assert place.owners is None or set(found.damaged) == place.owners, place
            if place.kind not in refused:
                refused.add(place.kind)
                check_refused(bundle, name, tmp_path, capsys)
    assert verify_bundle(bundle).sound
    print(f"{form}: {len(places)} flipped bits, {', '.join(sorted(refused))}")


def places_in(world: World, form: str, folder: Path) -> list[Place]:
    number = 12 if FULL else 3
    if form != "z.tar.zst":
        sizes = [path.stat().st_size for path in volumes_of(world.bundle(form))]
        return places_in_tar(Laid(world.bundle("b.tar")), sizes, number)
    with pyzstd.ZstdFile(world.bundle(form)) as packed, (folder / "plain.tar").open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    laid = Laid(folder / "plain.tar")
    (folder / "plain.tar").unlink()
    return places_in_frames(laid, world.bundle(form), number)


def test_a_flipped_bit_in_the_checksums_is_found_and_refused(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = world.bundle("s.tar")
    (listed,) = (path for path in files_of(bundle) if path.suffix == ".sums")
    for offset in range(5, listed.stat().st_size, 97 if FULL else 211):
        with flipped([listed], offset, offset % 8) as name:
            found = verify_bundle(bundle)
            assert [fault.where for fault in found.faults] == [name]
            assert found.damaged == []
            check_refused(bundle, name, tmp_path, capsys)


@pytest.fixture(scope="module")
def later(world: World) -> dict[str, Path]:
    """What a tenth of the images became, in a bundle on each base: the lock, or the bundle, of the week before."""
    for before, image in zip(bundle_corpus(), a_week_later(), strict=True):
        if image is not before:
            push(world.registry.name, image)
    made = {}
    for base in (world.lock, world.bundle("b.tar")):
        place = world.folder / f"since {base.name}"
        place.mkdir()
        done(place, *create(world.folder / "batch.json", "b.tar"), "--since", str(base))
        done(place, "bundle", "verify", "b.tar")
        made[base.name] = place / "b.tar"
    return made


@pytest.mark.parametrize("base", ["batch.lock.json", "b.tar"])
def test_on_a_base_it_is_as_large_as_what_is_new(world: World, later: dict[str, Path], base: str) -> None:
    old, new = blobs_of(bundle_corpus()), blobs_of(a_week_later())
    wanted, size = sum(size for digest, size in new.items() if digest not in old), later[base].stat().st_size
    print(f"since {base}: {size} bytes, {size / wanted:.4f} of those new")
    assert wanted < size < 1.05 * wanted


def apply(folder: Path, bundle: Path, to: str) -> "subprocess.CompletedProcess[str]":
    words = ("bundle", "apply", str(bundle), "--to", to, "--tls-verify=false", "--progress", "none")
    with timed("transship bundle apply"):
        return command(folder, *words)


def check_applied(world: World, bundle: Path, place: str, folder: Path) -> None:
    """``place`` has each image as ``bundle`` says that it is, and skopeo copies all that is new."""
    wanted = digests(bundle)
    for before, image in zip(bundle_corpus(), a_week_later(), strict=True):
        name = world.name(image)
        there = f"{place}/{name_of(image)}" if place.startswith("docker:") else f"{place}:{name}"
        assert sha256(skopeo("inspect", "--raw", "--tls-verify=false", there)) == wanted[name]
        if image is not before:
            skopeo("copy", "-q", "--all", "--src-tls-verify=false", there, f"dir:{folder / 'copied'}")
            check_copied(folder / "copied", image, wanted[name])


def test_on_the_base_in_a_registry_it_is_applied_and_on_none_refused(
    world: World, later: dict[str, Path], tmp_path: Path
) -> None:
    bundle = later["b.tar"]
    with running(tmp_path / "site") as site:
        place = f"docker://{site.name}/mirror"
        refused = apply(tmp_path, bundle, place)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "of the base sha256:" in refused.stderr
        # The first by name: not all of fifty are listed.
        assert world.name(bundle_corpus()[0]) in refused.stderr
        assert json.loads(urllib.request.urlopen(f"http://{site.name}/v2/_catalog").read()) == {"repositories": []}
        words = ("--to", place, "--tls-verify=false", "--progress", "none")
        done(tmp_path, "bundle", "load", str(world.bundle("b.tar")), *words)
        applied = apply(tmp_path, bundle, place)
        assert applied.returncode == 0, applied.stderr
        check_applied(world, bundle, place, tmp_path)


def test_on_a_layout_that_lacks_one_blob_of_the_base_that_is_named(
    world: World, later: dict[str, Path], tmp_path: Path
) -> None:
    done(tmp_path, "bundle", "load", str(world.bundle("s.tar")), "--to", "oci:site", "--progress", "none")
    lacking = sha256(bundle_corpus()[1].blobs[-1])
    blob = tmp_path / "site" / "blobs" / lacking.replace(":", "/")
    blob.rename(tmp_path / "aside")
    before = (tmp_path / "site" / "index.json").read_bytes()
    refused = apply(tmp_path, later["b.tar"], "oci:site")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert lacking in refused.stderr
    assert (tmp_path / "site" / "index.json").read_bytes() == before
    (tmp_path / "aside").rename(blob)
    applied = apply(tmp_path, later["b.tar"], "oci:site")
    assert applied.returncode == 0, applied.stderr
    check_applied(world, later["b.tar"], f"oci:{tmp_path}/site", tmp_path)
