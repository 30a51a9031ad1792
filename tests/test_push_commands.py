"""`copy` and `run` with docker:// destinations, as a user has them: logins, TLS, kills."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.clients import client
from support.command import begin, command
from support.fixtures import PASSWORD, USER
from support.images import ImageBytes, make_base, make_image, make_multi, write_layout
from support.registry_server import RegistryServer, running
from support.upload_proxy import Break, Passed, Proxy, proxied
from transship.pipeline.digest import Digest

IMAGES = 12


def tagged(registry: str, repository: str, tag: str) -> Digest:
    return client(registry).get_manifest(repository, tag).digest


def test_copy_pushes_every_format_as_it_is_and_reads_the_manifest_back(
    tmp_path: Path, open_registry: RegistryServer
) -> None:
    multi = make_multi(1, docker=False)
    write_layout(tmp_path / "from", {"v1": multi})
    target = f"docker://{open_registry.name}/copy/app:v1"
    done = command(tmp_path, "copy", "--all", "--dest-tls-verify=false", "--digestfile=d", "oci:from:v1", target)
    assert (done.returncode, done.stderr) == (0, f"{target}: {multi.digest}\n")
    assert (tmp_path / "d").read_text() == str(multi.digest)
    assert tagged(open_registry.name, "copy/app", "v1") == multi.digest
    assert command(tmp_path, "verify", "--tls-verify=false", target).returncode == 0


def test_copy_converts_only_where_asked(tmp_path: Path, open_registry: RegistryServer) -> None:
    write_layout(tmp_path / "from", {"v1": make_image(2, docker=False)})
    target = f"docker://{open_registry.name}/copy/docker:v1"
    done = command(tmp_path, "copy", "--format=v2s2", "--dest-tls-verify=false", "oci:from:v1", target)
    assert done.returncode == 0, done.stderr
    assert "docker" in client(open_registry.name).get_manifest("copy/docker", "v1").media_type


def test_copy_within_a_registry_mounts_and_uploads_nothing(tmp_path: Path, open_registry: RegistryServer) -> None:
    image = make_image(3)
    write_layout(tmp_path / "from", {"v1": make_image(3, docker=False)})
    with proxied(open_registry.port) as proxy:
        first, second = (f"docker://{proxy.name}/within/{name}:v1" for name in ("a", "b"))
        options = ["--src-tls-verify=false", "--dest-tls-verify=false"]
        assert command(tmp_path, "copy", *options, "oci:from:v1", first).returncode == 0
        sent = proxy.uploaded
        assert command(tmp_path, "copy", *options, first, second).returncode == 0
        assert proxy.uploaded == sent
        assert [one.status for one in proxy.of("POST")[-len(image.blobs) :]] == [201] * len(image.blobs)


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ([f"--dest-creds={USER}:{PASSWORD}"], 0, ""),
        ([f"--dest-username={USER}", f"--dest-password={PASSWORD}"], 0, ""),
        ([f"--dest-creds={USER}:wrong"], 1, "login refused for user 'alice'"),
        (["--dest-no-creds"], 1, "401"),
        ([f"--src-creds={USER}:{PASSWORD}"], 1, "401"),
        (["--dest-registry-token=abc"], 1, "401"),
        ([f"--dest-creds={USER}:{PASSWORD}", "--dest-no-creds"], 1, "exclude each other"),
        (["--dest-creds=:x"], 1, "the user name is empty"),
        (["--dest-username=alice"], 1, "go together"),
    ],
)
def test_logins_of_copy(
    tmp_path: Path, guarded_registry: RegistryServer, options: list[str], status: int, words: str
) -> None:
    write_layout(tmp_path / "from", {"v1": make_image(4, docker=False)})
    target = f"docker://{guarded_registry.name}/some/app:v1"
    # Nothing of the user's own.
    (tmp_path / "none.json").write_text("{}")
    done = command(tmp_path, "copy", "--authfile=none.json", "--dest-tls-verify=false", *options, "oci:from:v1", target)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert PASSWORD not in done.stderr


def batch(folder: Path, registry: str, images: dict[str, ImageBytes]) -> None:
    write_layout(folder / "from", images)
    lines = [
        "version: 1",
        f"registries: {{'{registry}': {{tls-verify: false}}}}",
        f"defaults: {{to: ['docker://{registry}/mirror/{{name}}:v1']}}",
        "images:",
        *(f"  - from: oci:from:{name}" for name in images),
    ]
    (folder / "batch.yaml").write_text("\n".join(lines) + "\n")


def corpus() -> dict[str, ImageBytes]:
    base = make_base("run", layer_size=1 << 20)
    made = {f"app{n}": make_image(f"run-{n}", docker=False, base_layers=base) for n in range(IMAGES - 1)}
    return {**made, "multi": make_multi("run", docker=False)}


def check_all(registry: str, images: dict[str, ImageBytes]) -> None:
    for name, image in images.items():
        assert tagged(registry, f"mirror/{name}", "v1") == image.digest


@pytest.mark.parametrize("processes", [1, 2])
def test_run_pushes_a_batch_and_the_second_run_asks_for_nothing(
    tmp_path: Path, open_registry: RegistryServer, processes: int
) -> None:
    images = corpus()
    with proxied(open_registry.port) as proxy:
        batch(tmp_path, proxy.name, images)
        done = command(tmp_path, "run", "batch.yaml", f"--processes={processes}")
        assert done.returncode == 0, done.stderr
        check_all(open_registry.name, images)
        asked = len(proxy.passed)
        again = command(tmp_path, "run", "batch.yaml")
        assert again.returncode == 0, again.stderr
        assert len(proxy.passed) == asked
        whole = command(tmp_path, "verify", "--tls-verify=false", "batch")
        assert whole.stdout == f"{IMAGES} images verified, 0 not\n", whole.stderr


@pytest.mark.parametrize("upload", [1, 9, 17])
def test_a_run_that_is_killed_inside_an_upload_goes_on_and_sends_no_blob_again(tmp_path: Path, upload: int) -> None:
    images = corpus()
    victim: list[subprocess.Popen[str]] = []

    def rule(seen: Passed) -> Break | None:
        uploads = [one for one in proxy.of("PUT") if "/uploads/" in one.target]
        if victim and len(uploads) >= upload:
            os.kill(victim.pop().pid, signal.SIGKILL)
            return Break(10)
        return None

    with running(tmp_path / "registry") as server, proxied(server.port, rule) as proxy:
        batch(tmp_path, proxy.name, images)
        process = begin(tmp_path, "run", "batch.yaml", "--processes=1")
        victim.append(process)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        before = accepted(proxy)
        done = command(tmp_path, "run", "batch.yaml")
        assert done.returncode == 0, done.stderr
        check_all(server.name, images)
        # A PUT that ended as the kill came may have been accepted without anyone hearing of it.
        assert len(accepted(proxy)) == len(set(accepted(proxy)))
        assert len(before) < len(accepted(proxy))


def accepted(proxy: Proxy) -> list[str]:
    """Return repository and digest of every blob that was uploaded whole."""
    puts = [one for one in proxy.of("PUT") if "/uploads/" in one.target and one.status == 201]
    return [one.path.partition("/blobs/")[0] + one.target.rpartition("digest=")[2] for one in puts]


def test_a_push_that_is_denied_fails_alone(tmp_path: Path, open_registry: RegistryServer) -> None:
    images = {name: make_image(name, docker=False) for name in ("good", "bad")}

    def rule(seen: Passed) -> int | None:
        return 403 if "/mirror/bad/" in seen.path and seen.method == "POST" else None

    with proxied(open_registry.port, rule) as proxy:
        batch(tmp_path, proxy.name, images)
        done = command(tmp_path, "run", "batch.yaml")
        line = (
            f"oci:{tmp_path}/from:bad -> docker://{proxy.name}/mirror/bad:v1: POST http://{proxy.name}/v2/mirror/bad/"
        )
    assert done.returncode == 1
    assert "1 images verified, 1 not" in done.stdout
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"{line}blobs/uploads/: 403")
    assert said.endswith("the account has no right to it, or it does not exist")
    assert tagged(open_registry.name, "mirror/good", "v1") == images["good"].digest


def test_a_blob_that_the_registry_has_not_kept_is_found_and_brought_by_the_next_run(
    tmp_path: Path, open_registry: RegistryServer
) -> None:
    image = make_image("lost", docker=False)
    layer = image.layers[0].digest

    def lost(seen: Passed) -> int | None:
        pushed = any("/manifests/" in one.path for one in proxy.of("PUT"))
        return 404 if pushed and seen.path.endswith(str(layer)) else None

    with proxied(open_registry.port, lost) as proxy:
        batch(tmp_path, proxy.name, {"lost": image})
        done = command(tmp_path, "run", "batch.yaml")
        assert done.returncode == 1
        assert f"{layer} is missing" in done.stderr
        proxy.rule = lambda _: None
        done = command(tmp_path, "run", "batch.yaml")
        assert done.returncode == 0, done.stderr
        assert proxy.of("HEAD")[-1].status == 200


@pytest.mark.parametrize("to", ["docker://x.y/app:v1", "docker://x.y/app", "docker://x.y/{name}:v1"])
def test_two_images_for_one_tag_are_refused_before_anything_starts(tmp_path: Path, to: str) -> None:
    lines = ["version: 1", f"defaults: {{to: ['{to}']}}", "images:", "  - from: oci:a:same", "  - from: oci:b:same"]
    (tmp_path / "batch.yaml").write_text("\n".join(lines) + "\n")
    done = command(tmp_path, "run", "batch.yaml")
    assert (done.returncode, "is written already" in done.stderr) == (2, True)
