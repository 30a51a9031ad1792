"""``docker:`` images that registries.conf gives mirrors: the first place that has one is asked for all of it.

Source: containers-registries.conf(5), "Remapping and mirroring registries". What a tag means is asked once, as
mirrors may differ; what is named by its digest is the same everywhere, so any place that is left may give it.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import ContentError, Error, TransportError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.referrer import Referrer
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.registry.registries import Reach
from transship.pipeline.signature import Signature
from transship.pipeline.transport import RangeRefusedError
from transship.pipeline.transports.docker import DockerSource

if TYPE_CHECKING:
    from transship.pipeline.registry.signature_store import Lookaside

_T = TypeVar("_T")


class MirroredSource:
    """One image that is in several places, as `transport.Source`; the clients are shared and stay open."""

    def __init__(
        self,
        places: Sequence[Reach],
        lookaside: "Callable[[DockerReference], Lookaside | None]" = lambda _: None,
    ) -> None:
        """``places`` are asked in order; who fails once is not asked again for this image."""
        self._names = [place.reference.name for place in places]
        self._sources = [DockerSource(client, there, partial(lookaside, there)) for client, there in places]
        self._first = 0
        self._named: Manifest | None = None

    def manifest(self, instance: Digest | None = None) -> Manifest:
        """Return the manifest from the first place that has it; see `transport.Source`.

        Where none has it the error is that of the last place, and names what the others said.
        """
        if instance is not None:
            return self._ask(lambda source: source.manifest(instance))
        if self._named is None:
            self._named = self._ask(lambda source: source.manifest())
        return self._named

    def blob(self, wanted: Descriptor, start: int = 0) -> AbstractContextManager[BinaryIO]:
        """Open a blob; see `transport.Source`."""
        return self._ask(lambda source: source.blob(wanted, start))

    def blob_size(self, digest: Digest) -> int:
        """Ask how large a blob is; see `transport.SizesBlobs`."""
        return self._ask(lambda source: source.blob_size(digest))

    def referrers(self, subject: Digest) -> list[Referrer]:
        """Ask the place that gives the image what hangs on a manifest; see `transport.Referring`."""
        return self._ask(lambda source: source.referrers(subject))

    def has_referrer(self, referrer: Referrer) -> bool:
        """Ask that place for one; see `transport.Referring`."""
        return self._ask(lambda source: source.has_referrer(referrer))

    def signatures(self, manifest: Digest, *, instance: bool) -> list[Signature]:
        """Read signatures where the image is read from; see `transport.Signed`."""
        return self._ask(lambda source: source.signatures(manifest, instance=instance))

    def close(self) -> None:
        """Do nothing: the clients belong to `Registries`."""

    def _ask(self, ask: Callable[[DockerSource], _T]) -> _T:
        failures: list[tuple[str, Error]] = []
        for position in range(self._first, len(self._sources)):
            try:
                found = ask(self._sources[position])
            except RangeRefusedError:
                raise
            except (TransportError, ContentError) as error:
                failures.append((self._names[position], error))
                continue
            self._first = max(self._first, position)
            return found
        *others, (_, last) = failures
        if not others:
            raise last
        said = "; ".join(f"{name}: {error.message}" for name, error in others)
        raise type(last)(f"{last.message} (mirrors failed too: {said})", advice=last.advice) from last
