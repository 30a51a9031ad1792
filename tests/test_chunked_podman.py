"""zstd:chunked layers as Podman's partial puller takes them, and through the commands."""

import gzip
import hashlib
import http.client
import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from support.images import DOCKER_MANIFEST, OCI_MANIFEST, Layer, make_image, write_layout
from support.registry_server import put_manifest, running
from test_chunked import CHECKSUM, POSITION, files_of, sample, table
from transship.pipeline.cli.main import main

_NOW = b"io.github.containers.zstd-chunked."
_OF_OLD = b"io.containers.zstd-chunked."
"""What Podman 4.3, which Debian 12 has, calls the annotations."""


@pytest.fixture(scope="module")
def image():
    tar = sample()
    return make_image("chunked", layers=1, docker=True, base_layers=[Layer(tar, gzip.compress(tar, mtime=0))])


def manifest_of(folder, name="v1"):
    index = json.loads((folder / "index.json").read_text())
    digest = index["manifests"][0]["digest"]
    return json.loads((folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())


def blob_of(folder, descriptor):
    return (folder / "blobs/sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()


def copied(source, destination, *options):
    assert main(["copy", "-q", *options, str(source), str(destination)]) == 0


@pytest.fixture
def chunked(tmp_path, image):
    """Return a layout of the image with layers of zstd:chunked."""
    write_layout(tmp_path / "src", {"v1": image})
    copied(f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/chunked:v1", "--dest-compress-format", "zstd:chunked")
    return tmp_path / "chunked"


def test_podman_fetches_the_files_of_a_layer_by_its_table(tmp_path, chunked):
    with running(tmp_path / "registry", access_log=True) as server, tempfile.TemporaryDirectory(prefix="pod-") as place:
        copied(f"oci:{chunked}:v1", f"docker://{server.name}/chunked:v1", "--dest-tls-verify=false")
        raw = asked(server.port, "/v2/chunked/manifests/v1")
        assert raw.count(_NOW) == 6
        put_manifest(server, "chunked", "old", raw.replace(_NOW, _OF_OLD), OCI_MANIFEST)
        config = Path(place) / "storage.conf"
        config.write_text(
            f'[storage]\ndriver = "overlay"\nrunroot = "{place}/run"\ngraphroot = "{place}/root"\n'
            '[storage.options]\npull_options = {enable_partial_images = "true"}\n'
        )
        environment = {**os.environ, "CONTAINERS_STORAGE_CONF": str(config)}

        def podman(*words):
            done = subprocess.run(["podman", *words], env=environment, capture_output=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr
            return done

        name = f"{server.name}/chunked:old"
        said = podman("--log-level=debug", "pull", "--tls-verify=false", name).stderr.decode()
        assert said.count("Retrieved partial blob") == 2
        got = [line for line in server.requests() if "GET" in line and "/blobs/" in line]
        assert {line.split()[8] for line in got if '1.1" 206' in line} == {"206"}
        mounted = Path(podman("image", "mount", name).stdout.decode().strip())
        try:
            with tarfile.open(fileobj=io.BytesIO(sample())) as archive:
                for member in archive:
                    there = mounted / member.name
                    if member.isreg() and ".wh." not in member.name:
                        assert there.read_bytes() == archive.extractfile(member).read()
                    elif member.issym():
                        assert os.readlink(there) == member.linkname
                    elif member.islnk():
                        assert there.samefile(mounted / member.linkname)
        finally:
            podman("image", "umount", "-a")


_SAID = (
    "type",
    "name",
    "linkName",
    "size",
    "digest",
    "mode",
    "uid",
    "gid",
    "devMajor",
    "devMinor",
    "modtime",
    "xattrs",
)


def test_the_table_says_of_each_file_what_skopeos_says(tmp_path, image):
    """The places differ, and where large files are cut; whom a file belongs to and what it is does not."""
    plain = make_image("plain", layers=1, docker=False, base_layers=image.layers[:1], compressed=False)
    write_layout(tmp_path / "src", {"v1": plain})
    wish = ("--dest-compress-format", "zstd:chunked")
    copied(f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/ours:v1", *wish)
    source, theirs = f"oci:{tmp_path}/src:v1", f"oci:{tmp_path}/theirs:v1"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", *wish, source, theirs], check=True, timeout=120)
    tables = []
    for folder in ("ours", "theirs"):
        found = []
        for layer in manifest_of(tmp_path / folder)["layers"]:
            raw = blob_of(tmp_path / folder, layer)
            said = {
                key.replace("io.containers", "io.github.containers"): value
                for key, value in layer["annotations"].items()
            }
            found += [entry for entry in table(raw, said)["entries"] if entry["type"] != "chunk"]
        tables.append([{key: entry.get(key) for key in _SAID} for entry in found])
    assert tables[0] == tables[1]


def asked(port, target):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", target, headers={"Accept": OCI_MANIFEST})
        return connection.getresponse().read()
    finally:
        connection.close()


def test_a_dockers_image_becomes_an_oci_one_with_a_table_of_each_layer(chunked, image):
    manifest = manifest_of(chunked)
    assert (image.media_type, manifest["mediaType"]) == (DOCKER_MANIFEST, OCI_MANIFEST)
    for layer in manifest["layers"]:
        assert layer["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"
        raw = blob_of(chunked, layer)
        assert files_of(raw, table(raw, layer["annotations"]))


@pytest.mark.parametrize("wish", [(), ("--dest-compress-format", "zstd"), ("--dest-compress-format", "zstd:chunked")])
def test_a_layer_with_a_table_stays_as_it_is(tmp_path, chunked, wish):
    copied(f"oci:{chunked}:v1", f"oci:{tmp_path}/again:v1", *wish)
    assert manifest_of(tmp_path / "again") == manifest_of(chunked)


def test_a_table_that_goes_is_named(tmp_path, chunked, capsys):
    copied(f"oci:{chunked}:v1", f"oci:{tmp_path}/gzip:v1", "--dest-compress-format", "gzip")
    assert all("annotations" not in layer for layer in manifest_of(tmp_path / "gzip")["layers"])
    said = capsys.readouterr().err
    assert "lost in conversion: layers[0] table of contents: zstd:chunked" in said
    assert said.count("layers[0]") == 1


def test_a_table_without_annotations_is_known_by_its_footer(tmp_path, chunked, capsys):
    manifest = manifest_of(chunked)
    for layer in manifest["layers"]:
        layer["annotations"] = {"org.example.note": "kept"}
    raw = json.dumps(manifest).encode()
    bare = tmp_path / "chunked" / "blobs/sha256" / hashlib.sha256(raw).hexdigest()
    bare.write_bytes(raw)
    entry = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{bare.name}", "size": len(raw)}
    index = {"schemaVersion": 2, "manifests": [entry]}
    (chunked / "index.json").write_text(json.dumps(index))
    copied(f"oci:{chunked}", f"oci:{tmp_path}/gzip:v1", "--dest-compress-format", "gzip")
    assert "layers[0] table of contents: zstd:chunked" in capsys.readouterr().err
    assert manifest_of(tmp_path / "gzip")["layers"][0]["annotations"] == {"org.example.note": "kept"}


def test_annotations_of_old_bytes_do_not_stay_with_new_ones(tmp_path, chunked):
    copied(f"oci:{chunked}:v1", f"oci:{tmp_path}/gzip:v1", "--dest-compress-format", "gzip")
    copied(f"oci:{tmp_path}/gzip:v1", f"oci:{tmp_path}/back:v1", "--dest-compress-format", "zstd:chunked")
    assert manifest_of(tmp_path / "back") == manifest_of(chunked)
    for layer in manifest_of(tmp_path / "back")["layers"]:
        assert {CHECKSUM, POSITION} <= layer["annotations"].keys()


def test_dockers_formats_take_no_zstd(tmp_path, chunked, capsys):
    wish = ("--format", "v2s2", "--dest-compress-format", "zstd:chunked")
    assert main(["copy", *wish, f"oci:{chunked}:v1", f"dir:{tmp_path}/out"]) != 0
    assert "Docker's formats hold no zstd layers" in capsys.readouterr().err
    assert main(["copy", "--format", "v2s2", f"oci:{chunked}:v1", f"dir:{tmp_path}/out"]) != 0
    assert "say layers: gzip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    copied(f"oci:{chunked}:v1", f"dir:{tmp_path}/out", "--format", "v2s2", "--dest-compress-format", "gzip")
    assert json.loads((tmp_path / "out/manifest.json").read_text())["mediaType"] == DOCKER_MANIFEST
