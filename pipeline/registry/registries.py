"""One client per registry, for all who need one."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from transship.pipeline.registry import tls
from transship.pipeline.registry.credentials import Credentials, CredentialStore, auth_files
from transship.pipeline.registry.settings import HostSettings

if TYPE_CHECKING:
    from transship.pipeline.registry.client import RegistryClient
    from transship.pipeline.registry.foreign import ForeignUrls

_ALIASES = {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}


class Registries:
    """Clients by registry, made when first asked for and shared. Thread-safe."""

    def __init__(self, settings: Mapping[str, HostSettings], default: HostSettings, environ: Mapping[str, str]) -> None:
        """``settings`` by registry (host[:port]), ``default`` for all others; ``environ`` is the user's."""
        self._settings = settings
        self._default = default
        self._environ = environ
        self._clients: dict[str, RegistryClient] = {}
        self._stores: dict[str, CredentialStore] = {}
        self._foreign: ForeignUrls | None = None
        self._lock = threading.Lock()

    def client(self, registry: str) -> "RegistryClient":
        """Return the client of ``registry`` (host[:port]); nothing is sent yet.

        Raises:
            UsageError: it is no registry name, or its certs.d folder is wrong.
        """
        name = _ALIASES.get(registry, registry)
        with self._lock:
            if name not in self._clients:
                self._clients[name] = self._make(name)
            return self._clients[name]

    @property
    def foreign(self) -> "ForeignUrls":
        """What reads foreign layers from their URLs, without any registry's credentials or certificates."""
        with self._lock:
            if self._foreign is None:
                from transship.pipeline.registry.foreign import ForeignUrls  # noqa: PLC0415

                self._foreign = ForeignUrls(self._environ)
            return self._foreign

    @property
    def docker_host(self) -> str:
        """Where the Docker Engine is, by the settings or else the user's environment; empty where neither says."""
        return self._default.docker_host or self._environ.get("DOCKER_HOST", "")

    def stop(self) -> None:
        """End what is under way, as `RegistryClient.stop` does, at all registries at once."""
        with self._lock:
            clients = list(self._clients.values())
        stopping = [threading.Thread(target=client.stop, daemon=True) for client in clients]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()

    def close(self) -> None:
        """Close all clients; idempotent."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            if self._foreign:
                self._foreign.close()

    def __enter__(self) -> "Registries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self, name: str) -> "RegistryClient":
        # Copies between files make a `Registries` too, and never ask it for a client.
        from transship.pipeline.registry.client import RegistryClient  # noqa: PLC0415

        settings = self._settings.get(name, self._default)
        if settings.cert_dir:
            certificates = tls.read(Path(settings.cert_dir))
        else:
            certificates = tls.find(name, tls.folders(self._environ))
        return RegistryClient(name, settings, certificates, self._finder(name, settings), self._environ)

    def _finder(self, name: str, settings: HostSettings) -> Callable[[str], Credentials | None]:
        if settings.credentials or settings.anonymous or settings.token:
            return lambda _: settings.credentials
        if settings.authfile not in self._stores:
            self._stores[settings.authfile] = CredentialStore(auth_files(self._environ, settings.authfile))
        store = self._stores[settings.authfile]
        return lambda repository: store.find(name, repository)
