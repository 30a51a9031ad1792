"""How to talk to one registry, as the user said."""

from dataclasses import dataclass, field

from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.pace import Patience


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Settings of one registry; the defaults are those of a user who said nothing.

    ``authfile`` replaces every other place credentials are looked for; ``credentials``, ``token``
    (a registry token sent as it is) and ``anonymous`` replace looking for them at all.
    ``cert_dir`` replaces the certs.d folders. ``concurrency`` counts requests at a time.
    ``tls_verify`` false accepts any certificate and, where TLS fails, plain HTTP.
    """

    tls_verify: bool = True
    cert_dir: str = ""
    authfile: str = ""
    credentials: Credentials | None = None
    token: str = field(default="", repr=False)
    anonymous: bool = False
    concurrency: int = 8
    patience: Patience = field(default_factory=Patience)
