"""Whether what a signature says is about this image: what both kinds of signatures share once they are verified."""

from transship.pipeline.digest import Digest
from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import RefusedError, shown
from transship.pipeline.manifest.views import Manifest, Schema1
from transship.pipeline.trust.identity import Identity, matches
from transship.pipeline.trust.payload import Payload


def check_claim(payload: Payload, manifest: Manifest, image: DockerReference | None, identity: Identity) -> None:
    """Raise `RefusedError` unless ``payload`` is about ``manifest``, under a name that ``identity`` allows for it.

    ``image`` is the name that the image was asked for by, None where it has none.
    """
    if _digest(manifest, payload.digest.algorithm) != payload.digest:
        raise RefusedError(f"signature for digest {payload.digest}, the manifest is {manifest.digest}")
    if not matches(identity, image, payload.reference):
        name = str(image).removeprefix("docker://") if image else "an image without a name"
        raise RefusedError(
            f"signature for identity {shown(payload.reference)!r} is not accepted for {name} under {identity.kind}"
        )


def _digest(manifest: Manifest, algorithm: str) -> Digest:
    if isinstance(manifest, Schema1) or algorithm == manifest.digest.algorithm:
        return manifest.digest  # Of a v2s1 manifest the payload is hashed, without its own signatures.
    return Digest.of(manifest.raw, algorithm)
