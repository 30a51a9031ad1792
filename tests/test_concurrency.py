"""``concurrency`` bounds what a registry has from a run at once: connections, and so requests, of all its processes."""

from pathlib import Path

import pytest

from support.command import command
from support.counting_server import counting
from support.registry_server import RegistryServer, push_image

IMAGES = 20


@pytest.fixture(scope="module")
def repository(open_registry: RegistryServer) -> str:
    for number in range(IMAGES):
        push_image(
            open_registry, f"counted/app{number}", "v1", [f"counted {number} {n}".encode() * 900 for n in (1, 2)]
        )
    return "counted"


def batch(folder: Path, port: int, repository: str, to: str, concurrency: int, images: int = IMAGES) -> None:
    lines = [f"  - from: docker://127.0.0.1:{port}/{repository}/app{number}:v1" for number in range(images)]
    registries = f"registries: {{'127.0.0.1:{port}': {{tls-verify: false, concurrency: {concurrency}}}}}\n"
    (folder / "batch.yaml").write_text(
        f"version: 1\n{registries}defaults: {{to: ['{to}']}}\nimages:\n" + "\n".join(lines) + "\n"
    )


@pytest.mark.parametrize(("concurrency", "processes"), [(1, 1), (3, 3), (5, 2), (2, 8)])
def test_a_registry_never_has_more_at_once_than_it_is_said_to_take(
    tmp_path, open_registry, repository, concurrency, processes
):
    words = ("--workers", "16", "--processes", str(processes), "--progress", "none")
    with counting(open_registry.port, concurrency) as (port, counts):
        batch(tmp_path, port, repository, "oci:out:{name}", concurrency, images=4)
        done = command(tmp_path, "run", "batch.yaml", *words)
        assert (done.returncode, done.stderr) == (0, "")
        # The first process asks for what is done, then several do the rest.
        batch(tmp_path, port, repository, "oci:out:{name}", concurrency)
        again = command(tmp_path, "run", "batch.yaml", *words, "--refresh")
        assert (again.returncode, again.stderr) == (0, "0 images changed at their source\n")
        assert 0 < counts.requests <= concurrency
        assert 0 < counts.connections <= concurrency


def test_what_is_allowed_is_used(tmp_path, open_registry, repository):
    with counting(open_registry.port, 6, meet=6) as (port, counts):
        batch(tmp_path, port, repository, "oci:out:{name}", 6)
        done = command(tmp_path, "run", "batch.yaml", "--workers", "16", "--processes", "2", "--progress", "none")
        assert (done.returncode, done.stderr) == (0, "")
        assert (counts.requests, counts.connections) == (6, 6)


def test_a_registry_that_is_read_and_written_has_no_more_of_both_together(tmp_path, open_registry, repository):
    with counting(open_registry.port, 3) as (port, counts):
        batch(tmp_path, port, repository, f"docker://127.0.0.1:{port}/concurrency/{{name}}", 3)
        done = command(tmp_path, "run", "batch.yaml", "--workers", "16", "--processes", "3", "--progress", "none")
        assert (done.returncode, done.stderr) == (0, "")
        assert 0 < counts.requests <= 3
        assert 0 < counts.connections <= 3
