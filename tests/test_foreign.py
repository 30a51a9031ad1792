"""Foreign layers: kept at their URLs or fetched from there, without anybody's credentials, checked like any blob."""

import base64
import contextlib
import gzip
import hashlib
import http.server
import json
import subprocess
import tarfile

import pytest

from support.images import ImageBytes, make_image, write_layout
from support.listening import listening
from support.registry_server import push_blob, put_manifest, running
from transship.pipeline.cli.main import main
from transship.pipeline.digest import Digest

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


class Host:
    """What serves foreign layers: ``requests`` are path and headers of each; ``answers`` by path replace the layer."""

    def __init__(self, port, layer):
        self.port = port
        self.layer = layer
        self.requests = []
        self.answers = {}

    def url(self, path="/layer"):
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def serving(layer):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            host.requests.append((self.path, dict(self.headers)))
            status, headers, body = host.answers.get(self.path) or (200, {}, host.layer)
            if isinstance(body, list):
                status, headers, body = body.pop(0)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = len(body) != int(headers.get("Content-Length", len(body)))

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host = Host(server.server_port, layer)
    with listening(server):
        yield host


PLAIN = make_image("windows")
BASE = PLAIN.layers[0]


@pytest.fixture
def host():
    with serving(BASE.packed) as found:
        yield found


def with_urls(*urls, image=PLAIN):
    """Return the image with its first layer foreign, at ``urls``, and not among its blobs."""
    document = json.loads(image.manifest_raw)
    document["layers"][0] |= {"mediaType": FOREIGN, "urls": list(urls)}
    blobs = {digest: raw for digest, raw in image.blobs.items() if digest != image.layers[0].digest}
    return ImageBytes(json.dumps(document).encode(), image.media_type, blobs, image.platform, image.layers)


@pytest.fixture
def layout(tmp_path, host):
    write_layout(tmp_path / "src", {"v1": with_urls(host.url())})
    return f"oci:{tmp_path}/src:v1"


def copied(*words):
    assert main(["copy", "-q", *map(str, words)]) == 0


def held(folder):
    """Return the names of the blobs in a layout or a ``dir:``."""
    found = folder / "blobs/sha256" if (folder / "blobs").is_dir() else folder
    return {path.name for path in found.iterdir()}


def test_a_layout_keeps_the_urls_and_nothing_is_fetched(tmp_path, host, layout):
    copied(layout, f"oci:{tmp_path}/out:v1")
    assert host.requests == []
    assert BASE.digest.hex not in held(tmp_path / "out")


def test_a_dir_holds_the_layer_and_the_manifest_keeps_its_bytes(tmp_path, host, layout):
    copied(layout, f"dir:{tmp_path}/out")
    assert (tmp_path / "out" / BASE.digest.hex).read_bytes() == BASE.packed
    assert (tmp_path / "out/manifest.json").read_bytes() == with_urls(host.url()).manifest_raw
    assert [path for path, _ in host.requests] == ["/layer"]
    copied(f"dir:{tmp_path}/out", f"dir:{tmp_path}/again")
    assert (tmp_path / "again" / BASE.digest.hex).read_bytes() == BASE.packed
    assert len(host.requests) == 1


def test_what_is_held_is_what_skopeo_holds(tmp_path, host, layout):
    for transport, name in (("dir", ""), ("oci", ":v1")):
        ours, theirs = f"{transport}-ours", f"{transport}-theirs"
        copied(layout, f"{transport}:{tmp_path}/{ours}{name}")
        there = f"{transport}:{tmp_path}/{theirs}{name}"
        with running(tmp_path / f"registry-{transport}") as server:
            # skopeo fetches foreign layers only of images in registries.
            pushed(server, with_urls(host.url()))
            source = f"docker://{server.name}/windows:v1"
            command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", source, there]
            subprocess.run(command, check=True, timeout=60)
        assert (BASE.digest.hex in held(tmp_path / ours)) == (BASE.digest.hex in held(tmp_path / theirs))
        assert (BASE.digest.hex in held(tmp_path / ours)) == (transport == "dir")


def test_the_choice_is_the_users(tmp_path, host, layout):
    copied("--foreign", "keep-urls", layout, f"dir:{tmp_path}/kept")
    assert host.requests == []
    assert BASE.digest.hex not in held(tmp_path / "kept")
    copied("--foreign", "download", layout, f"oci:{tmp_path}/out:v1")
    assert BASE.digest.hex in held(tmp_path / "out")


def test_a_docker_archive_gets_the_layer_unpacked(tmp_path, layout):
    copied(layout, f"docker-archive:{tmp_path}/out.tar:example/windows:v1")
    with tarfile.open(tmp_path / "out.tar") as archive:
        listed = json.load(archive.extractfile("manifest.json"))[0]["Layers"]
        assert archive.extractfile(listed[0]).read() == BASE.tar


def test_a_repacked_layer_is_a_layer_like_any_other(tmp_path, layout):
    copied("--foreign", "download", "--dest-compress-format", "zstd", layout, f"oci:{tmp_path}/out:v1")
    raw = subprocess.run(["skopeo", "inspect", "--raw", f"oci:{tmp_path}/out:v1"], capture_output=True, check=True)
    first = json.loads(raw.stdout)["layers"][0]
    assert first.keys() == {"mediaType", "digest", "size"}
    assert first["mediaType"] == "application/vnd.oci.image.layer.v1.tar+zstd"


def pushed(server, image, password=""):
    for raw in image.blobs.values():
        push_blob(server, "windows", raw, password)
    put_manifest(server, "windows", "v1", image.manifest_raw, image.media_type, password)


@pytest.mark.parametrize("challenge", ['Basic realm="r"', 'Bearer realm="http://127.0.0.1:1/token",service="s"'])
def test_credentials_of_the_registry_never_go_to_a_url(tmp_path, host, challenge, capsys):
    host.answers["/layer"] = (401, {"WWW-Authenticate": challenge}, b"")
    with running(tmp_path / "registry", user="user", password="secret") as server:
        pushed(server, with_urls(host.url()), "secret")
        wish = ("--src-tls-verify=false", "--src-creds", "user:secret")
        assert main(["copy", *wish, f"docker://{server.name}/windows:v1", f"dir:{tmp_path}/out"]) == 1
        secret = base64.b64encode(b"user:secret").decode()
        assert [path for path, _ in host.requests] == ["/layer"]
        assert not any("Authorization" in headers or secret in str(headers) for _, headers in host.requests)
        assert "401, for foreign layer" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        # A redirect to the registry itself gets none either: its answer to one without is 401.
        host.answers["/layer"] = (307, {"Location": f"http://127.0.0.1:{server.port}/v2/windows/manifests/v1"}, b"")
        assert main(["copy", *wish, f"docker://{server.name}/windows:v1", f"dir:{tmp_path}/out"]) == 1
        assert "401, for foreign layer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\0" + BASE.packed[1:], "digest does not match"),
        (BASE.packed + b"more", "Content-Length"),
        (BASE.packed[:100], "Content-Length"),
        (b"", "Content-Length"),
    ],
)
def test_what_is_not_the_layer_is_refused_and_nothing_is_written(tmp_path, host, layout, body, says, capsys):
    host.answers["/layer"] = (200, {}, body)
    assert main(["copy", layout, f"dir:{tmp_path}/out"]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/layer", "http://user:secret@127.0.0.1/layer", "gopher", "//host/x"]
)
def test_only_web_urls_without_a_user_are_asked(tmp_path, url, capsys):
    write_layout(tmp_path / "src", {"v1": with_urls(url)})
    assert main(["copy", f"oci:{tmp_path}/src:v1", f"dir:{tmp_path}/out"]) == 1
    said = capsys.readouterr().err
    assert "not an http or https URL" in said
    assert "secret" not in said


def test_the_next_url_is_tried_where_one_fails(tmp_path, host):
    host.answers["/gone"] = (404, {}, b"not here")
    urls = ("ftp://127.0.0.1/layer", host.url("/gone"), host.url("/layer"))
    write_layout(tmp_path / "src", {"v1": with_urls(*urls)})
    copied(f"oci:{tmp_path}/src:v1", f"dir:{tmp_path}/out")
    assert [path for path, _ in host.requests] == ["/gone", "/layer"]


def test_a_layer_that_breaks_off_goes_on_where_it_was(tmp_path, host, layout):
    size, half = len(BASE.packed), len(BASE.packed) // 2
    rest = (206, {"Content-Range": f"bytes {half}-{size - 1}/{size}"}, BASE.packed[half:])
    host.answers["/layer"] = (0, {}, [(200, {"Content-Length": str(size)}, BASE.packed[:half]), rest])
    copied(layout, f"dir:{tmp_path}/out")
    assert [headers.get("Range") for _, headers in host.requests] == [None, f"bytes={half}-"]


def test_a_batch_has_the_same_choice(tmp_path, host, layout, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images = [
        {"from": layout, "to": ["dir:plain", "oci:out:plain"]},
        {"from": layout, "to": ["dir:kept"], "foreign": "keep-urls"},
        {"from": layout, "to": ["oci:out:held"], "foreign": "download"},
    ]
    (tmp_path / "batch.yaml").write_text(json.dumps({"version": 1, "images": images}))
    assert main(["run", "batch.yaml"]) == 0
    assert BASE.digest.hex in held(tmp_path / "plain")
    assert BASE.digest.hex not in held(tmp_path / "kept")
    assert BASE.digest.hex in held(tmp_path / "out")
    assert len(host.requests) == 1
    report = json.loads((tmp_path / "runs/batch/report.json").read_text())["images"]
    lost = f"layers[0] content: foreign, only at {host.url()}"
    assert [image["losses"] for image in report] == [[], [lost], [lost], []]
    (tmp_path / "plain" / BASE.digest.hex).unlink()
    (tmp_path / "plain" / BASE.digest.hex).write_bytes(gzip.compress(b"damaged"))
    capsys.readouterr()
    assert main(["verify", f"dir:{tmp_path}/plain"]) == 1


def test_the_fixture_is_what_it_says():
    assert Digest.of(BASE.packed).hex == hashlib.sha256(BASE.packed).hexdigest()
    assert gzip.decompress(BASE.packed) == BASE.tar
