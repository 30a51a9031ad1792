"""``copy``: skopeo's options of platforms, form and names; what a copy that failed leaves of what was there."""

import gzip
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.command import ARGUMENTS, command, environment, tree
from support.images import ImageBytes, make_image, make_multi, write_layout
from support.peers import skopeo
from support.registry_server import RegistryServer

ONE = make_image("one")
MULTI = make_multi("multi", docker=False)
LIST = make_multi("list")
POLICY = "--insecure-policy"


def copy(folder: Path, *words: str, code: int = 0) -> str:
    done = command(folder, "copy", *words)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_layout(tmp_path / "source", {"one": make_image("one", docker=False), "multi": MULTI})
    write_dir(tmp_path / "list", LIST)
    write_dir(tmp_path / "docker", ONE)
    write_dir(tmp_path / "plain", make_image("plain", compressed=False))
    return tmp_path


def write_dir(path: Path, image: ImageBytes) -> None:
    path.mkdir()
    (path / "version").write_text("Directory Transport Version: 1.1\n")
    (path / "manifest.json").write_bytes(image.manifest_raw)
    for child in image.children:
        (path / f"{child.digest.hex}.manifest.json").write_bytes(child.manifest_raw)
    manifests = {image.digest, *(child.digest for child in image.children)}
    for digest, raw in image.all_blobs.items():
        if digest not in manifests:
            (path / digest.hex).write_bytes(raw)


def test_multi_arch_says_as_much_as_all_and_system_do(folder: Path) -> None:
    for number, words in enumerate((["--all"], ["--multi-arch", "all"], [], ["--multi-arch=system"])):
        copy(folder, *words, "dir:list", f"dir:out{number}")
    assert tree(folder / "out0") == tree(folder / "out1")
    assert tree(folder / "out2") == tree(folder / "out3")
    assert (folder / "out0/manifest.json").read_bytes() == LIST.manifest_raw


@pytest.mark.parametrize("name", ["dir:list", "oci:source:multi"])
def test_a_list_of_platforms_leaves_the_index_as_it_is_and_copies_those(folder: Path, name: str) -> None:
    image = LIST if name == "dir:list" else MULTI
    copy(folder, "--multi-arch", "linux/arm64,linux/amd64", "--preserve-digests", name, "dir:out")
    assert (folder / "out/manifest.json").read_bytes() == image.manifest_raw
    there = {path.name.partition(".")[0] for path in (folder / "out").glob("*.manifest.json")}
    assert there == {child.digest.hex for child in image.children[:2]}
    assert not (folder / "out" / image.children[2].layers[0].digest.hex).exists()


def test_a_list_of_platforms_can_be_all_that_the_index_names(folder: Path) -> None:
    copy(folder, "--multi-arch", "linux/arm64", "--strip-removed-platforms", "oci:source:multi", "oci:out:one")
    made = json.loads(raw_of(folder / "out"))
    assert [entry["digest"] for entry in made["manifests"]] == [str(MULTI.children[1].digest)]
    assert skopeo(folder, "inspect", "--raw", "oci:out:one") == raw_of(folder / "out")


def raw_of(layout: Path) -> bytes:
    entry = json.loads((layout / "index.json").read_bytes())["manifests"][0]
    return (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()


def test_an_index_that_must_change_cannot_name_what_is_not_copied(folder: Path) -> None:
    said = copy(folder, "--multi-arch", "linux/arm64", "dir:list", "oci:out:one", code=1)
    assert "--strip-removed-platforms" in said
    copy(folder, "--multi-arch", "linux/arm64", "--strip-removed-platforms", "dir:list", "oci:out:one")


def test_index_only_copies_the_list_and_nothing_of_it(folder: Path) -> None:
    copy(folder, "--multi-arch", "index-only", "dir:list", "dir:out")
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["manifest.json", "version"]
    assert (folder / "out/manifest.json").read_bytes() == LIST.manifest_raw
    copy(folder, "--multi-arch", "index-only", "dir:docker", "dir:whole")
    assert (folder / "whole/manifest.json").read_bytes() == ONE.manifest_raw
    assert len(list((folder / "whole").iterdir())) == 2 + len(ONE.blobs)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--all", "--multi-arch", "all"], "--multi-arch"),
        (["--platform", "linux/amd64", "--all"], "--platform"),
        (["--multi-arch", "some"], "index-only"),
        (["--strip-removed-platforms"], "list of platforms"),
        (["--sign-by", "me"], "--sign-identity"),
        (["--sign-passphrase-file", "me"], "--sign-passphrase-file"),
        (["--sign-identity", "me"], "--sign-identity"),
        (["--encryption-key", "jwe:key"], "key file: key"),
        (["--decryption-key", "key"], "key file: key"),
        (["--encrypt-layer", "0"], "--encrypt-layer"),
        (["--dest-compress", "--dest-decompress"], "--dest-decompress"),
        (["--dest-compress-format", "gzip", "--dest-compress-level", "10"], "1 to 9"),
        (["--additional-tag", "a:b"], "docker-archive"),
        (["--dest-shared-blob-dir", "blobs"], "oci: layouts"),
        (["--src-shared-blob-dir", "blobs"], "oci: layouts"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_contradicts_itself_or_lacks_its_counterpart_is_an_error_and_writes_nothing(
    folder: Path, words: list[str], said: str
) -> None:
    before = tree(folder)
    assert said in copy(folder, *words, "dir:list", "dir:out", code=1)
    assert tree(folder) == before


def test_a_platform_that_is_not_in_the_index_is_not_found(folder: Path) -> None:
    assert "linux/arm/v7" in copy(folder, "--multi-arch", "linux/s390x", "dir:list", "dir:out", code=2)


@pytest.mark.parametrize("destination", ["oci:out:one", "oci-archive:out.tar", "docker-archive:out.tar:a:b"])
def test_a_digest_to_be_preserved_is_an_error_where_the_destination_cannot(folder: Path, destination: str) -> None:
    before = tree(folder)
    assert "preserve" in copy(folder, "--preserve-digests", "dir:docker", destination, code=1)
    left = tree(folder)
    assert {name: left[name] for name in before} == before
    assert not (folder / "out/index.json").exists()


def test_a_digest_is_preserved_where_nothing_need_change(folder: Path) -> None:
    copy(folder, "--preserve-digests", "--format", "v2s2", "--digestfile", "digest", "dir:docker", "dir:out")
    assert (folder / "digest").read_text() == str(ONE.digest)
    assert tree(folder / "out").keys() == tree(folder / "docker").keys()
    assert "preserve" in copy(folder, "--preserve-digests", "--format", "oci", "dir:docker", "dir:out2", code=1)


def layers(path: Path) -> list[bytes]:
    manifest = json.loads((path / "manifest.json").read_bytes())
    return [(path / layer["digest"].partition(":")[2]).read_bytes() for layer in manifest["layers"]]


def test_dest_compress_packs_what_is_plain_and_leaves_what_is_packed(folder: Path) -> None:
    copy(folder, "--dest-compress", "dir:plain", "dir:out")
    assert [gzip.decompress(raw) for raw in layers(folder / "out")] == layers(folder / "plain")
    copy(folder, "--dest-compress-format=zstd", "--dest-compress-level=3", "--format=oci", "dir:plain", "dir:zstd")
    copy(folder, "--dest-compress", "dir:zstd", "dir:still")
    assert layers(folder / "still") == layers(folder / "zstd")
    copy(folder, "--dest-compress-level", "9", "dir:out", "dir:same")
    assert layers(folder / "same") == layers(folder / "out")
    assert "dir:" in copy(folder, "--dest-compress", "dir:plain", "oci:layout:plain")


def test_layers_stay_as_they_are_unless_asked_otherwise(folder: Path) -> None:
    copy(
        folder,
        "--dest-oci-accept-uncompressed-layers",
        "--dest-force-compress-format",
        "--dest-precompute-digests",
        "--remove-signatures",
        "--image-parallel-copies=2",
        "-q",
        "dir:plain",
        "oci:out:plain",
    )
    kept = {path.read_bytes() for path in (folder / "out/blobs/sha256").iterdir()}
    assert set(layers(folder / "plain")) <= kept


def test_an_archive_has_every_name_that_was_asked_for(folder: Path) -> None:
    words = ["--additional-tag", "host.example/app:v1", "--additional-tag=app:latest"]
    copy(folder, *words, "dir:docker", "docker-archive:out.tar:app:v2")
    skopeo(folder, POLICY, "copy", "-q", *words, "dir:docker", "docker-archive:theirs.tar:app:v2")
    assert names(folder / "out.tar") == names(folder / "theirs.tar")


@pytest.mark.parametrize("there", ["app:v2", "app:v1,app:v2", "other:v1", ""])
def test_an_archive_that_has_other_images_is_left_as_it_is_and_the_same_image_is_written_again(
    folder: Path, there: str
) -> None:
    name, *more = there.split(",")
    additional = [word for tag in more for word in ("--additional-tag", tag)]
    copy(folder, *additional, "dir:plain", f"docker-archive:out.tar{':' * bool(name)}{name}")
    before = (folder / "out.tar").read_bytes()
    said = copy(folder, "dir:docker", "docker-archive:out.tar:app:v2", code=0 if there == "app:v2" else 1)
    if there != "app:v2":
        assert said.count("\n") == 1
        assert (more and "docker.io/library/app:v1" in said) or (name or "without a name") in said
    assert ((folder / "out.tar").read_bytes() == before) == (there != "app:v2")
    skopeo_says = ["skopeo", POLICY, "copy", "-q", "dir:docker", "docker-archive:out.tar:app:v2"]
    assert subprocess.run(skopeo_says, cwd=folder, capture_output=True, timeout=60, check=False).returncode == 1


@pytest.mark.parametrize("what", [b"", b"no tar", "tar"])
def test_a_file_that_is_no_archive_of_images_is_left_as_it_is_unless_it_is_empty(
    folder: Path, what: bytes | str
) -> None:
    if isinstance(what, bytes):
        (folder / "out.tar").write_bytes(what)
    else:
        with tarfile.open(folder / "out.tar", "w") as archive:
            archive.add(folder / "docker/version", "thesis.txt")
    before = (folder / "out.tar").read_bytes()
    said = copy(folder, "dir:docker", "docker-archive:out.tar:a:b", code=1 if before else 0)
    assert said.count("\n") == 1
    assert ((folder / "out.tar").read_bytes() == before) == bool(before)


@pytest.mark.parametrize("place", ["/dev/stdout", "pipe"])
def test_an_archive_goes_into_a_pipe(folder: Path, place: str) -> None:
    copy(folder, "dir:docker", "docker-archive:file.tar:app:v2")
    if place == "pipe":
        os.mkfifo(folder / place)
    with piped(folder, place) as process:
        found = (folder / place).read_bytes() if place == "pipe" else b""
        out, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")
    assert (found or out) == (folder / "file.tar").read_bytes()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def piped(folder: Path, place: str) -> "subprocess.Popen[bytes]":
    words = [*ARGUMENTS, "copy", "-q", "dir:docker", f"docker-archive:{place}:app:v2"]
    return subprocess.Popen(
        words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )


def test_a_pipe_that_nobody_reads_is_one_line(folder: Path) -> None:
    with piped(folder, "/dev/stdout") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(60) == 1
    assert said.count(b"\n") == 1
    assert b"/dev/stdout" in said


def test_what_the_shell_has_opened_is_written_into(folder: Path) -> None:
    copy(folder, "dir:docker", "docker-archive:file.tar:app:v2")
    with (folder / "shell.tar").open("wb") as opened:
        words = [*ARGUMENTS, "copy", "-q", "dir:docker", "docker-archive:/dev/stdout:app:v2"]
        subprocess.run(words, cwd=folder, env=environment(), stdout=opened, timeout=60, check=True)
        inode = os.fstat(opened.fileno()).st_ino
    assert (folder / "shell.tar").stat().st_ino == inode
    assert (folder / "shell.tar").read_bytes() == (folder / "file.tar").read_bytes()


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as opened:
        found = opened.extractfile("manifest.json")
        assert found is not None
        tags: list[str] = json.load(found)[0]["RepoTags"]
        return set(tags)


def test_layouts_share_their_blobs_as_skopeo_shares_them(folder: Path) -> None:
    shared = ["--dest-shared-blob-dir", "blobs"]
    copy(folder, *shared, "oci:source:one", "oci:first:one")
    copy(folder, *shared, "--all", "oci:source:multi", "oci:second:multi")
    assert not list((folder / "first").rglob("blobs/*/*"))
    for name, digest in (("one", make_image("one", docker=False).digest), ("multi", MULTI.digest)):
        assert (folder / "blobs/sha256" / digest.hex).is_file(), name
    copy(folder, "--src-shared-blob-dir", "blobs", "oci:first:one", "dir:back")
    skopeo(folder, POLICY, "copy", "-q", "--src-shared-blob-dir", "blobs", "oci:first:one", "dir:theirs")
    assert tree(folder / "back").keys() == tree(folder / "theirs").keys()
    copy(folder, "oci:first:one", "dir:none", code=2)


@pytest.mark.parametrize(
    "source",
    [
        "dir:missing",
        "oci:missing:v1",
        "oci:source:missing",
        "oci-archive:missing.tar:v1",
        "docker-archive:missing.tar",
        "docker://HOST/options/app:missing",
        "docker://localhost:1/app:v1",
        "tarball:missing.tar",
        "sif:missing.sif",
    ],
)
def test_a_source_that_is_missing_leaves_a_good_folder_untouched(
    folder: Path, open_registry: RegistryServer, source: str
) -> None:
    copy(folder, "-q", "dir:docker", "dir:out")
    before = tree(folder)
    done = command(folder, "copy", "--src-tls-verify=false", source.replace("HOST", open_registry.name), "dir:out")
    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert tree(folder) == before


def test_a_copy_that_fails_leaves_the_good_image_that_was_there(folder: Path) -> None:
    copy(folder, "dir:docker", "dir:out")
    copy(folder, "oci:source:one", "oci:layout:one")
    before = tree(folder)
    copy(folder, "dir:missing", "dir:out", code=1)
    copy(folder, "oci:source:missing", "oci:layout:one", code=2)
    broken = folder / "broken"
    write_dir(broken, make_image("broken"))
    (broken / make_image("broken").layers[-1].digest.hex).write_bytes(b"not this")
    copy(folder, "dir:broken", "dir:out", code=1)
    now = tree(folder)
    assert {name: now[name] for name in before} == before
