"""``docker-daemon:`` with a real Docker Engine, both ways; and what is said where there is none, or it refuses."""

import contextlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.acceptance import document, skopeo
from support.command import command
from support.corpus import Sample, corpus, push, sha256
from support.engines import Docker
from support.listening import listening
from support.peers import ours
from support.registry_server import RegistryServer

SIZE = 1 << 20


@pytest.fixture(scope="module")
def image() -> Sample:
    return corpus(2, SIZE)[0]


@pytest.fixture(scope="module")
def registry(open_registry: RegistryServer, image: Sample) -> str:
    push(open_registry.name, image)
    return open_registry.name


@pytest.fixture(scope="module")
def loaded(docker: Docker, registry: str, image: Sample, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the image in the engine, copied there from the registry."""
    source = f"docker://{registry}/{image.repository}:{image.tag}"
    done = command(
        tmp_path_factory.mktemp("copy"),
        *("copy", "--src-tls-verify=false", "--dest-daemon-host", docker.host, source, "docker-daemon:copied:v1"),
    )
    assert done.returncode == 0, done.stderr
    return "copied:v1"


def test_engine_runs_what_was_copied_from_a_registry(docker: Docker, loaded: str, image: Sample) -> None:
    assert docker("run", "--rm", "--network", "none", loaded).decode() == f"{image.prints}\n"


def test_engine_has_the_config_and_the_layers_of_the_source(docker: Docker, loaded: str, image: Sample) -> None:
    [shown] = document(docker("image", "inspect", loaded))
    assert shown["Id"] == sha256(image.blobs[0])
    assert shown["RootFS"]["Layers"] == document(image.blobs[0])["rootfs"]["diff_ids"]


def test_image_of_the_engine_becomes_a_layout_with_its_config_and_plain_layers(
    docker: Docker, loaded: str, image: Sample, tmp_path: Path
) -> None:
    words = ("copy", "-f", "oci", "--src-daemon-host", docker.host, f"docker-daemon:{loaded}", "oci:out:v1")
    done = command(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    layout = f"oci:{tmp_path / 'out'}:v1"
    assert skopeo("inspect", "--raw", "--config", layout) == image.blobs[0]
    layers = [layer["digest"] for layer in document(skopeo("inspect", "--raw", layout))["layers"]]
    assert layers == document(image.blobs[0])["rootfs"]["diff_ids"]


def test_image_is_found_by_its_id(docker: Docker, loaded: str, image: Sample, tmp_path: Path) -> None:
    assert loaded
    done = command(tmp_path, "verify", "--daemon-host", docker.host, f"docker-daemon:{sha256(image.blobs[0])}")
    assert (done.returncode, done.stdout) == (0, "1 images verified, 0 not\n"), done.stderr


def test_inspect_and_layers_ask_the_engine_that_is_named(
    docker: Docker, loaded: str, image: Sample, tmp_path: Path
) -> None:
    words = ("--daemon-host", docker.host, f"docker-daemon:{loaded}")
    shown, theirs = (document(raw) for raw in (ours(tmp_path, "inspect", *words).encode(), skopeo("inspect", *words)))
    assert shown["Name"] == "docker.io/library/copied"
    for said in (shown, theirs):
        # The engine keeps no manifest: each makes one, and skopeo's calls plain layers packed.
        assert said.pop("Digest")
        said.pop("LayersData", None)
    assert shown == theirs
    assert shown["Layers"] == document(image.blobs[0])["rootfs"]["diff_ids"]
    ours(tmp_path, "layers", *words)
    (folder,) = tmp_path.glob("layers-*")
    assert json.loads((folder / "manifest.json").read_text())["config"]["digest"] == sha256(image.blobs[0])
    refused = command(tmp_path, "delete", *words)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert docker("image", "inspect", loaded)


def test_docker_host_says_where_the_engine_is(
    docker: Docker, loaded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    done = command(tmp_path, "copy", f"docker-daemon:{loaded}", "dir:out")
    assert done.returncode == 0, done.stderr


def test_run_reads_from_the_engine(
    docker: Docker, loaded: str, image: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = {"version": 1, "images": [{"from": f"docker-daemon:{loaded}", "to": ["oci:out:{repository}-{tag}"]}]}
    (tmp_path / "batch.yaml").write_text(json.dumps(batch))
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    done = command(tmp_path, "run", "batch.yaml", "--progress", "none")
    assert done.returncode == 0, done.stderr
    assert skopeo("inspect", "--raw", "--config", f"oci:{tmp_path / 'out'}:library/copied-v1") == image.blobs[0]


def test_run_writes_to_the_engine_and_verify_finds_it_there(
    docker: Docker, registry: str, image: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"from": f"docker://{registry}/{image.repository}:{image.tag}", "to": ["docker-daemon:run/{name}:{tag}"]}
    batch = {"version": 1, "images": [entry], "registries": {registry: {"tls-verify": False}}}
    (tmp_path / "batch.yaml").write_text(json.dumps(batch))
    monkeypatch.setenv("DOCKER_HOST", docker.host)
    done = command(tmp_path, "run", "batch.yaml", "--progress", "none")
    assert done.returncode == 0, done.stderr
    assert docker("run", "--rm", "--network", "none", "run/app0:v1").decode() == f"{image.prints}\n"
    assert command(tmp_path, "verify", "batch").stdout == "1 images verified, 0 not\n"
    docker("image", "rm", "run/app0:v1")
    gone = command(tmp_path, "verify", "batch")
    assert gone.returncode == 1
    assert "No such image" in gone.stderr


def test_machines_do_not_share_a_run_of_images_that_each_has_of_its_own(tmp_path: Path) -> None:
    batch = {"version": 1, "images": [{"from": "docker-daemon:a:v1", "to": ["oci:out:v1"]}]}
    (tmp_path / "batch.yaml").write_text(json.dumps(batch))
    done = command(tmp_path, "run", "batch.yaml", "--scheduler", "http://127.0.0.1:1", "--progress", "none")
    assert done.returncode == 2
    assert "docker-daemon:docker.io/library/a:v1 is another image on each machine" in done.stderr
    assert not (tmp_path / "runs" / "batch" / "batch.json").exists()


def test_image_that_the_engine_does_not_have_is_not_found(docker: Docker, tmp_path: Path) -> None:
    done = command(tmp_path, "copy", "--src-daemon-host", docker.host, "docker-daemon:nosuch:v1", "dir:out")
    assert done.returncode == 2
    assert done.stderr.startswith("transship: docker-daemon:docker.io/library/nosuch:v1: ")
    assert "No such image" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("host", "code", "says"),
    [
        ("unix:///nowhere/docker.sock", 1, "no Docker Engine at unix:///nowhere/docker.sock: no such socket"),
        ("tcp://127.0.0.1:1", 1, "no Docker Engine at tcp://127.0.0.1:1: Connection refused"),
        ("ssh://somewhere", 1, "'ssh://somewhere': cannot be reached that way"),
        ("tcp://host:port", 1, "cannot be reached that way"),
    ],
)
def test_engine_that_is_not_there_is_one_line(tmp_path: Path, host: str, code: int, says: str) -> None:
    done = command(tmp_path, "copy", "--src-daemon-host", host, "docker-daemon:a:v1", "dir:out")
    assert done.returncode == code
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_destination_engine_that_is_not_there_is_found_before_anything_is_fetched(tmp_path: Path) -> None:
    words = ("--dest-daemon-host", "unix:///nowhere/docker.sock", f"oci:{tmp_path}/none:v1", "docker-daemon:a:v1")
    done = command(tmp_path, "copy", *words)
    assert done.returncode == 1
    assert "none" not in done.stderr
    assert "no Docker Engine at unix:///nowhere/docker.sock" in done.stderr


@pytest.mark.parametrize("target", [f"docker-daemon:sha256:{'0' * 64}", f"docker-daemon:a@sha256:{'0' * 64}"])
def test_only_a_name_with_a_tag_can_be_written(docker: Docker, tmp_path: Path, target: str) -> None:
    done = command(tmp_path, "copy", "--dest-daemon-host", docker.host, "dir:nowhere", target)
    assert done.returncode == 1
    assert "expected docker-daemon:name:tag" in done.stderr


def test_all_platforms_do_not_fit_into_an_engine(docker: Docker, tmp_path: Path) -> None:
    done = command(tmp_path, "copy", "--all", "--dest-daemon-host", docker.host, "dir:nowhere", "docker-daemon:a:v1")
    assert done.returncode == 1
    assert "holds one platform" in done.stderr


@contextlib.contextmanager
def pretending(answers: dict[str, tuple[int, bytes]], api: str = "1.41") -> Iterator[str]:
    """Run an engine that gives just these answers, by the end of the path; yield its host."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            found = [answer for end, answer in answers.items() if self.path.endswith(end)]
            status, raw = found[0] if found else (200, b"OK")
            self.send_response(status)
            self.send_header("Api-Version", api)
            self.send_header("Content-Length", str(len(raw) if status != 206 else len(raw) + 1))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with listening(server):
        yield f"tcp://127.0.0.1:{server.server_port}"


KNOWN = {"/json": (200, b'{"Id": "sha256:abc"}')}


@pytest.mark.parametrize(
    ("answers", "api", "says"),
    [
        ({}, "", "is no Docker Engine"),
        ({"/json": (500, b'{"message": "out of\\u001b order"}')}, "1.41", "out of\\x1b order (500)"),
        ({"/json": (200, b"[]")}, "1.41", "has no ID"),
        ({**KNOWN, "/get": (206, b"cut short")}, "1.41", "broke off"),
        ({**KNOWN, "/get": (200, b"")}, "1.41", "empty, not a tar"),
        ({**KNOWN, "/get": (200, b"x" * 5000)}, "1.41", "no tar header at byte 0"),
    ],
)
def test_engine_that_misbehaves_is_one_line_and_leaves_nothing(
    tmp_path: Path, answers: dict[str, tuple[int, bytes]], api: str, says: str
) -> None:
    with pretending(answers, api) as host:
        done = command(tmp_path, "copy", "--src-daemon-host", host, "docker-daemon:a:v1", "dir:out")
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((200, b'{"stream": "Loading"}\r\n{"errorDetail": {"message": "no space"}, "error": "no space"}'), "no space"),
        ((200, b'{"errorDetail": {"message": "bad layer"}}'), "did not load: bad layer"),
        ((503, b"come later"), "come later (503)"),
    ],
)
def test_what_the_engine_says_while_it_loads_is_an_error(
    registry: str, image: Sample, tmp_path: Path, answer: tuple[int, bytes], says: str
) -> None:
    source = f"docker://{registry}/{image.repository}:{image.tag}"
    with pretending({"quiet=1": answer}) as host:
        words = ("--src-tls-verify=false", "--dest-daemon-host", host, source, "docker-daemon:a:v1")
        done = command(tmp_path, "copy", *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
