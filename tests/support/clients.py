"""Clients for tests: nothing of the user's, and no patience."""

from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.settings import HostSettings, Patience
from transship.pipeline.registry.tls import Certificates

QUICK = Patience(
    tries=3, first_wait=0.01, connect_timeout=2.0, answer_timeout=2.0, idle_timeout=2.0, document_timeout=2.0
)
ALICE = Credentials("alice", "s3cret-pw")


def client(
    registry: str,
    *,
    credentials: Credentials | None = None,
    patience: Patience = QUICK,
    tls_verify: bool = False,
    certificates: Certificates = Certificates(),  # noqa: B008
    token: str = "",
) -> RegistryClient:
    settings = HostSettings(tls_verify=tls_verify, patience=patience, token=token)
    return RegistryClient(registry, settings, certificates, lambda _: credentials)
