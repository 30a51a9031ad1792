"""Few open files: what is worked on at once is bounded by them, and nothing fails for want of one."""

import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.bundles import create, files_of, write_batch
from support.command import ARGUMENTS, command, environment
from support.images import make_image, make_layer, write_layout
from support.registry_server import RegistryServer, push_image
from support.serving import Reply
from transship.pipeline.cli.run import workers

IMAGES = 40


def limited(files: int, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run the command where a process may have that many open files, and no more if it asks."""
    return command(folder, *words, under=["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"])


@pytest.mark.parametrize(("files", "processes"), [(64, "1"), (96, "2")])
def test_a_run_of_more_workers_than_files_ends_well(tmp_path, open_registry: RegistryServer, files, processes):
    name = f"files{files}"
    for number in range(IMAGES):
        push_image(open_registry, f"{name}/app{number}", "v1", [f"{name} {number}".encode() * 500])
    to = "['oci:out/all:{name}', 'dir:out/{name}', 'docker://HOST/mirror/{repository}']".replace(
        "HOST", open_registry.name
    )
    lines = [f"  - from: docker://{open_registry.name}/{name}/app{number}:v1" for number in range(IMAGES)]
    registries = f"registries: {{'{open_registry.name}': {{tls-verify: false, concurrency: 256}}}}\n"
    head = f"version: 1\n{registries}defaults: {{manifests: oci, to: {to}}}\nimages:\n"
    (tmp_path / "batch.yaml").write_text(head + "\n".join(lines) + "\n")
    done = limited(
        files, tmp_path, "run", "batch.yaml", "--workers", "64", "--processes", processes, "--progress", "none"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{3 * IMAGES} images verified")


def test_an_image_of_127_layers_is_pushed_and_fetched_with_few_files(tmp_path, open_registry: RegistryServer):
    layers = tuple(make_layer(number, 300) for number in range(127))
    write_layout(tmp_path / "from", {"v1": make_image("image", layers=0, base_layers=layers)})
    there = f"docker://{open_registry.name}/files/deep:v1"
    pushed = limited(40, tmp_path, "copy", "-q", "--dest-tls-verify=false", "oci:from:v1", there)
    assert (pushed.returncode, pushed.stderr) == (0, "")
    fetched = limited(40, tmp_path, "copy", "-q", "--src-tls-verify=false", there, "dir:back")
    assert (fetched.returncode, fetched.stderr) == (0, "")
    assert len(list((tmp_path / "back").iterdir())) == 127 + 3


def test_more_archives_and_volumes_are_served_than_files_may_be_open(tmp_path):
    app, web = (make_image(name, docker=False, layer_size=60_000) for name in ("app", "web"))
    create(write_batch(tmp_path, {"team/app:v1": app}), tmp_path / "b.tar", "--split", "1K")
    assert len(files_of(tmp_path / "b.tar")) > 60
    create(write_batch(tmp_path, {"team/web:v1": web}), tmp_path / "0.tar.zst")
    for number in range(1, 50):
        (tmp_path / f"{number}.tar.zst").write_bytes((tmp_path / "0.tar.zst").read_bytes())
    words = ["serve", "b.tar", *(f"{number}.tar.zst" for number in range(50))]
    limit = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"]
    with subprocess.Popen(
        [*limit, *ARGUMENTS, *words], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        port = int(said.partition("127.0.0.1:")[2].partition(" ")[0])
        assert said.startswith("serving b.tar, 0.tar.zst, 1.tar.zst, 2.tar.zst, 3.tar.zst and 46 more on ")
        for digest, raw in {**app.blobs, **web.blobs}.items():
            assert Reply(port, f"/v2/team/app/blobs/{digest}").body == raw
        process.terminate()
    assert process.returncode == 0


def test_a_server_has_as_many_files_as_it_may(tmp_path):
    image = make_image("served", docker=False)
    write_layout(tmp_path / "from", {"team/app:v1": image})
    words = ["sh", "-c", 'ulimit -S -n 40; exec "$@"', "sh", *ARGUMENTS, "serve", "from"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().partition("127.0.0.1:")[2].partition(" ")[0])
        connections = [HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(60)]
        for connection in connections:
            connection.request("GET", f"/v2/team/app/blobs/{image.layers[0].digest}")
            assert connection.getresponse().read() == image.layers[0].packed
        for connection in connections:
            connection.close()
        process.terminate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("files", "wanted", "most"),
    [(1 << 20, 64, 64), (1024, 64, 64), (256, 64, 37), (64, 64, 2), (20, 64, 1), (-1, 500, 500)],
)
def test_images_at_once_are_as_many_as_half_of_the_files_allow(monkeypatch, files, wanted, most):
    monkeypatch.setattr("os.sysconf", lambda name: files if name == "SC_OPEN_MAX" else 0)
    assert 1 <= workers(wanted) <= most
    assert workers(1) == 1
