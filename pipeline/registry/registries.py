"""One client per registry and way of asking it, for all who need one; and where registries.conf says images are."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import DeniedError
from transship.pipeline.registry import tls
from transship.pipeline.registry.credentials import Credentials, CredentialStore, auth_files
from transship.pipeline.registry.namespaces import Place, RegistriesConf
from transship.pipeline.registry.settings import HostSettings, Patience

if TYPE_CHECKING:
    from transship.pipeline.lookaside import Signatures
    from transship.pipeline.registry.client import RegistryClient
    from transship.pipeline.registry.foreign import ForeignUrls
    from transship.pipeline.registry.signature_store import Lookaside

_ALIASES: Final = {"index.docker.io": "docker.io", "registry-1.docker.io": "docker.io"}
_MIRROR_TRIES: Final = 2
_MIRROR_CONNECT: Final = 5.0
_MIRROR_CONNECT_WHEN_DOWN: Final = 1.0
_MIRROR_PAUSE: Final = 5.0
"""Seconds, as those before: what is behind a mirror is there at once, so a mirror is not waited for as long."""


class Reach(NamedTuple):
    """Where an image really is: the client to ask, and its reference there."""

    client: "RegistryClient"
    reference: DockerReference


class Registries:
    """Clients by registry, made when first asked for and shared. Thread-safe."""

    def __init__(
        self,
        settings: Mapping[str, HostSettings],
        default: HostSettings,
        environ: Mapping[str, str],
        configured: Callable[[], RegistriesConf] = RegistriesConf,
        kept: "Callable[[DockerReference], Signatures] | None" = None,
    ) -> None:
        """``settings`` by registry (host[:port]), ``default`` for all others; ``environ`` is the user's.

        ``configured`` reads registries.conf, once, when a registry is first asked for. ``kept`` says by registries.d
        where the signatures of an image are; without it there are none.
        """
        self._kept = kept
        self._settings = settings
        self._default = default
        self._environ = environ
        self._configured = configured
        self._conf: RegistriesConf | None = None
        self._clients: dict[tuple[str, HostSettings], RegistryClient] = {}
        self._stores: dict[str, CredentialStore] = {}
        self._foreign: ForeignUrls | None = None
        self._lock = threading.Lock()

    @property
    def conf(self) -> RegistriesConf:
        """What registries.conf says.

        Raises:
            UsageError: a file of it is malformed.
        """
        if self._conf is None:
            self._conf = self._configured()
        return self._conf

    def client(self, registry: str) -> "RegistryClient":
        """Return the client of ``registry`` (host[:port]) itself; nothing is sent yet.

        Raises:
            UsageError: it is no registry name, or its certs.d folder or registries.conf is wrong.
            DeniedError: registries.conf blocks it.
        """
        insecure, block = self.conf.registry(registry)
        if block:
            raise DeniedError(f"registry {registry}: blocked by {block}")
        return self._client(registry, self._settings_of(registry, registry, insecure=insecure))

    def at(self, reference: DockerReference) -> Reach:
        """Return an image or a repository where its name says: what is written, listed or deleted there.

        Source: containers-registries.conf(5), "location" and mirrors are for pulling alone.

        Raises:
            UsageError: as `client`.
            DeniedError: registries.conf blocks it.
        """
        return self._reach(self.conf.named(reference).checked(), reference.registry)

    def home(self, reference: DockerReference) -> Reach:
        """Return where an image or a repository is read from that no mirror has: whom to ask for its tags.

        Raises:
            UsageError: as `client`.
            DeniedError: registries.conf blocks it.
        """
        return self._reach(self.conf.primary(reference).checked(), reference.registry)

    def to_read(self, reference: DockerReference) -> Sequence[Reach]:
        """Return where to ask for an image, in order: mirrors first, all but the last with little patience.

        Raises:
            UsageError: as `client`.
            DeniedError: registries.conf blocks it, and it has no mirror.
        """
        *mirrors, last = self.conf.to_read(reference)
        found = [self._reach(mirror, reference.registry, brief=True) for mirror in mirrors]
        return (*found, self._reach(last, reference.registry))

    @property
    def foreign(self) -> "ForeignUrls":
        """What reads foreign layers from their URLs, without any registry's credentials or certificates."""
        with self._lock:
            if self._foreign is None:
                from transship.pipeline.registry.foreign import ForeignUrls  # noqa: PLC0415

                self._foreign = ForeignUrls(self._environ, self._default.agent_prefix, self._default.tls)
            return self._foreign

    def lookaside(self, reference: DockerReference) -> "Lookaside | None":
        """Return the store of the signatures of an image where its name says, None where nobody looks for any.

        Raises:
            UsageError: a file of registries.d is malformed.
        """
        if self._kept is None:
            return None
        from transship.pipeline.registry.signature_store import Lookaside  # noqa: PLC0415

        return Lookaside(self._kept(reference), self._document)

    def _document(self, url: str, limit: int) -> bytes | None:
        return self.foreign.document(url, limit)

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

    def rest(self) -> None:
        """Close the connections that nobody uses just now: what other processes open is instead of them."""
        with self._lock:
            for client in self._clients.values():
                client.rest()

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

    def _reach(self, place: Place, named: str, *, brief: bool = False) -> Reach:
        registry = place.reference.registry
        settings = self._settings_of(registry, named, insecure=place.insecure)
        if brief:
            settings = settings._replace(patience=_brief(settings.patience))
        return Reach(self._client(registry, settings), place.reference)

    def _settings_of(self, registry: str, named: str, *, insecure: bool) -> HostSettings:
        """Return how to ask ``registry`` for an image that the user calls one of the registry ``named``."""
        name = _ALIASES.get(registry, registry)
        found = self._settings.get(name)
        if found is None:
            found = self._default
            if name != _ALIASES.get(named, named):
                # Who to be was said of the registry that was named, and is no other one's business.
                found = found._replace(credentials=None, token="")
        return found._replace(tls_verify=not insecure) if found.tls_verify is None else found

    def _client(self, registry: str, settings: HostSettings) -> "RegistryClient":
        name = _ALIASES.get(registry, registry)
        with self._lock:
            key = name, settings
            if key not in self._clients:
                self._clients[key] = self._make(name, settings)
            return self._clients[key]

    def _make(self, name: str, settings: HostSettings) -> "RegistryClient":
        # Copies between files make a `Registries` too, and never ask it for a client.
        from transship.pipeline.registry.client import RegistryClient  # noqa: PLC0415

        if settings.cert_dir:
            certificates = tls.read(Path(settings.cert_dir))
        else:
            certificates = tls.find(name, tls.folders(self._environ))
        return RegistryClient(name, settings, certificates, self._finder(name, settings), self._environ)

    def _finder(self, name: str, settings: HostSettings) -> Callable[[str], Credentials | None]:
        if settings.credentials or settings.anonymous or settings.token:
            return lambda _: settings.credentials
        if settings.authfile not in self._stores:
            files = auth_files(self._environ, settings.authfile)
            self._stores[settings.authfile] = CredentialStore(files, self.conf.helpers)
        store = self._stores[settings.authfile]
        return lambda repository: store.find(name, repository)


def _brief(usual: Patience) -> Patience:
    return usual._replace(
        tries=min(usual.tries, _MIRROR_TRIES),
        tries_when_down=1,
        connect_timeout=min(usual.connect_timeout, _MIRROR_CONNECT),
        connect_timeout_when_down=min(usual.connect_timeout_when_down, _MIRROR_CONNECT_WHEN_DOWN),
        longest_retry_after=min(usual.longest_retry_after, _MIRROR_PAUSE),
    )
