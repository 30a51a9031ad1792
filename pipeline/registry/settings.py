"""How to talk to one registry, as the user said."""

from typing import NamedTuple

from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.tls_details import TlsDetails


class Patience(NamedTuple):
    """Limits of waiting; times in seconds. ``tries`` counts the first attempt. A batch may set each by its name.

    ``answer_timeout`` is for the whole head of an answer, and for each MiB that is sent. ``idle_timeout``
    ends a body that brings less than 64 KiB in that time; ``document_timeout`` and ``blob_timeout`` one that
    takes longer in all, 0 for never. A blob then goes on by another request.
    ``tries_when_down`` holds for an origin that could not be reached in all tries of an earlier
    request, until it answers again; for ``rest_when_down`` after each such failure nobody asks it at all:
    a dead registry costs its time-outs once, not once per image.
    """

    tries: int = 6
    tries_when_down: int = 2
    first_wait: float = 0.5
    longest_wait: float = 30.0
    longest_retry_after: float = 900.0
    connect_timeout: float = 10.0
    connect_timeout_when_down: float = 3.0
    rest_when_down: float = 10.0
    answer_timeout: float = 60.0
    idle_timeout: float = 60.0
    document_timeout: float = 300.0
    blob_timeout: float = 0.0


class HostSettings(NamedTuple):
    """Settings of one registry; the defaults are those of a user who said nothing.

    ``authfile`` replaces every other place credentials are looked for; ``credentials``, ``token``
    (a registry token sent as it is) and ``anonymous`` replace looking for them at all.
    ``cert_dir`` replaces the certs.d folders. ``concurrency`` counts requests at a time.
    ``tls_verify`` false accepts any certificate and, where TLS fails, plain HTTP; None leaves that to
    registries.conf. ``docker_host`` is where the Docker Engine is; empty leaves that to the environment.
    ``agent_prefix`` goes before transship's own User-Agent. ``tls`` narrows what TLS may be.
    """

    tls_verify: bool | None = None
    cert_dir: str = ""
    authfile: str = ""
    credentials: Credentials | None = None
    token: str = ""
    anonymous: bool = False
    concurrency: int = 8
    patience: Patience = Patience()
    docker_host: str = ""
    agent_prefix: str = ""
    tls: TlsDetails = TlsDetails()

    def __repr__(self) -> str:
        shown = {**self._asdict(), "token": "..." if self.token else ""}
        return f"HostSettings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
