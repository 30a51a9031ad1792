"""Locks made of batch files alone, as if every source were one and the same image."""

from pathlib import Path

from transship.pipeline.batch import expand_batch
from transship.pipeline.batch.resolved import Part, Resolved
from transship.pipeline.digest import Digest
from transship.pipeline.locking import lock_document
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import dump_lines
from transship.pipeline.manifest.media_types import OCI_MANIFEST
from transship.pipeline.manifest.referrer import Left, Referrer
from transship.pipeline.referrers import Found

DIGEST = "sha256:" + "a" * 64


def resolved(referrers: bool = False) -> Resolved:
    digest = Digest.parse(DIGEST)
    one = Referrer(digest, Descriptor(OCI_MANIFEST, Digest.of(b"sbom"), 4, artifact_type="a/b"), "sha256-a.sig")
    hanging = Found((one,), (Left("it is too deep", one), Left("nobody could look")))
    part = Part(OCI_MANIFEST, 7, "linux/amd64")
    return Resolved(digest, OCI_MANIFEST, 7, {digest: part}, {Digest.of(b"x"): 1}, hanging if referrers else None)


def tags(*_: object) -> list[str]:
    return ["v1", "v2", "v3-rc"]


def lock(batch: Path, target: Path) -> None:
    expanded = expand_batch(batch, tags, aimless=True)
    found = [resolved(job.referrers) for job in expanded.batch.jobs]
    target.write_bytes(dump_lines(lock_document(expanded, found, target.parent)))
