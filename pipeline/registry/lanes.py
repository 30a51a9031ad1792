"""The connections to every origin that talking to one registry leads to.

Only the registry's own host is shown client certificates; redirects and token servers are not.
"""

import threading
from collections.abc import Mapping
from typing import Final, NamedTuple

from transship.pipeline.registry import proxy, tls
from transship.pipeline.registry.connection import Pool
from transship.pipeline.registry.origin import Origin
from transship.pipeline.registry.pace import Pace
from transship.pipeline.registry.settings import HostSettings

AGENT: Final = "transship"


class Lane(NamedTuple):
    """One origin: its connections, its pace, and the User-Agent that it sees."""

    origin: Origin
    pool: Pool
    pace: Pace
    agent: str = AGENT


class Lanes:
    """Lanes by origin, opened when first needed. Thread-safe."""

    def __init__(
        self, host: str, settings: HostSettings, certificates: tls.Certificates, environ: Mapping[str, str]
    ) -> None:
        """``host`` is the registry's API host, without a port; ``environ`` may name proxies."""
        self._environ = environ
        self.stopped = threading.Event()
        self._host = host
        self._settings = settings
        self._certificates = certificates
        self._lanes: dict[Origin, Lane] = {}
        self._lock = threading.Lock()

    def at(self, origin: Origin) -> Lane:
        """Return the lane of ``origin``.

        Raises:
            UsageError: a certificate file cannot be loaded, or a proxy is none.
        """
        lane = self._lanes.get(origin)
        if lane is None:
            with self._lock:
                lane = self._lanes.get(origin) or self._open(origin)
                self._lanes[origin] = lane
        return lane

    def rest(self) -> None:
        """Close the connections that nobody uses just now."""
        for lane in list(self._lanes.values()):
            lane.pool.rest()

    def close(self) -> None:
        """Close all connections and wake who waits; idempotent."""
        self.stopped.set()
        for lane in list(self._lanes.values()):
            lane.pool.close()

    def _open(self, origin: Origin) -> Lane:
        limit = self._settings.concurrency
        pace = Pace(self._settings.patience, limit, self.stopped)
        context = None
        if origin.scheme == "https":
            verify = self._settings.tls_verify is not False
            own = origin.host == self._host
            context = tls.context(self._certificates, self._settings.tls, verify=verify, with_pairs=own)
        pool = Pool(origin, limit, context, proxy.choose(origin, self._environ))
        return Lane(origin, pool, pace, f"{self._settings.agent_prefix} {AGENT}".strip())
