"""Servers and engines that are started once a session; each test keeps to names of its own in them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Certificates, issued
from support.encryption_keys import KeyFolder
from support.engines import Containerd, Docker, Podman, containerd, docker_engine, podman_storage
from support.keys import Keys, keys
from support.registry_server import RegistryServer, running
from support.signed_bundles import make_signable
from support.token_server import ISSUER, SERVICE, Account, TokenServer, issuing

READER = "bob"
USER, PASSWORD = "alice", "s3cret: pass-word"


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    with docker_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def ctr() -> Iterator[Containerd]:
    with containerd() as client:
        yield client


@pytest.fixture(scope="session")
def openpgp() -> Iterator[Keys]:
    with keys() as made:
        yield made


@pytest.fixture(scope="session")
def signable(tmp_path_factory: pytest.TempPathFactory, openpgp: Keys) -> Path:
    """A folder with a bundle, and all that signs it; to be copied."""
    folder = tmp_path_factory.mktemp("signable")
    make_signable(folder, openpgp)
    return folder


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
def token_server(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[TokenServer]:
    """A token server: USER may do everything, READER may pull."""
    accounts = {
        USER: Account(PASSWORD, frozenset({"pull", "push", "delete", "*"})),
        READER: Account(PASSWORD, frozenset({"pull"})),
    }
    with issuing(issued(tmp_path_factory.mktemp("signer"), "token.example"), accounts, certificates) as server:
        yield server


@pytest.fixture(scope="session")
def token_registry(
    tmp_path_factory: pytest.TempPathFactory, token_server: TokenServer, certificates: Certificates
) -> Iterator[RegistryServer]:
    """A registry that trusts the tokens of `token_server`, over TLS; with an access log."""
    settings = {
        "realm": token_server.realm,
        "service": SERVICE,
        "issuer": ISSUER,
        "rootcertbundle": str(token_server.signer.trusted / "ca.crt"),
    }
    with running(
        tmp_path_factory.mktemp("token"), certificate=certificates.pair, access_log=True, token=settings
    ) as server:
        yield server


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


@pytest.fixture(scope="session")
def key_folder() -> Iterator[KeyFolder]:
    # A socket's name is short, and GnuPG's are in its folder.
    with tempfile.TemporaryDirectory(prefix="keys-") as folder:
        yield KeyFolder(Path(folder))
