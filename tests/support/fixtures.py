"""Servers and engines that are started once a session; each test keeps to names of its own in them."""

from collections.abc import Iterator

import pytest

from support.certificates import Certificates, issued
from support.engines import Docker, Podman, docker_engine, podman_storage
from support.registry_server import RegistryServer, running

USER, PASSWORD = "alice", "s3cret: pass-word"


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    with docker_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    with podman_storage() as storage:
        yield storage


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry for everybody, over plain HTTP, with an access log."""
    with running(tmp_path_factory.mktemp("open"), access_log=True) as server:
        yield server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return issued(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def guarded_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry that knows USER alone, over plain HTTP."""
    with running(tmp_path_factory.mktemp("guarded"), user=USER, password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[RegistryServer]:
    """A registry that knows USER alone, over TLS by a certificate that no machine trusts; with an access log."""
    folder = tmp_path_factory.mktemp("tls")
    with running(folder, user=USER, password=PASSWORD, certificate=certificates.pair, access_log=True) as server:
        yield server
