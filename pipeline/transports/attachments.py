"""Sigstore signatures in a registry: layers of an image whose tag is made of the digest that is signed.

Source: cosign's SIGNATURE_SPEC, "Storage"; the config is what container tools put there.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from transship.pipeline.digest import Digest, VerifyingReader
from transship.pipeline.disk import at_disk
from transship.pipeline.durable import scratch_folder
from transship.pipeline.errors import ContentError, NotFoundError, TransportError
from transship.pipeline.manifest import views
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import MAX_DOCUMENT, Json, Object, dump, load
from transship.pipeline.manifest.media_types import OCI_CONFIG, OCI_MANIFEST, MediaType
from transship.pipeline.manifest.views import Image
from transship.pipeline.registry.client import RegistryClient
from transship.pipeline.registry.push import Push
from transship.pipeline.signature import MAX_SIGNATURE, MAX_SIGNATURES, MAX_TOGETHER, SigstoreSignature
from transship.pipeline.transport import FileBlob

_LONGEST_TAG: Final = 128


def read(client: RegistryClient, repository: str, signed: Digest) -> list[SigstoreSignature]:
    """Return what is attached to the manifest ``signed``, in its order: signatures, and whatever else is there.

    Raises:
        ContentError: it is malformed, over its limits, or a blob is not what its descriptor says.
        TransportError: the registry failed.
    """
    found = _attached(client, repository, signed)
    if found is None:
        return []
    return [
        SigstoreSignature(layer.media_type, _contents(client, repository, layer, MAX_SIGNATURE), layer.annotations)
        for layer in found.layers
    ]


def write(client: RegistryClient, repository: str, signed: Digest, signatures: Sequence[SigstoreSignature]) -> None:
    """Attach ``signatures`` to the manifest ``signed``, beside those that are there; idempotent.

    Raises:
        ContentError: what is there is malformed, or would pass the limits.
        TransportError: the registry failed, or can have no tag for such a digest.
    """
    tag = _tag(signed)
    if len(tag) > _LONGEST_TAG:
        raise TransportError(f"{client.registry}/{repository}: no tag is long enough for signatures of {signed}")
    # Not the lock of the digest itself, which a list of referrers takes.
    with client.whereabouts.alone(Digest.of(tag.encode())):
        before = _attached(client, repository, signed)
        layers = list(before.layers) if before else []
        new = _new(layers, signatures)
        if not new:
            return
        config = _config(client, repository, before)
        put = Push(client, repository, lambda: False)
        for descriptor, payload in new:
            _put(put, descriptor, payload)
            _diff_ids(config).append(str(descriptor.digest))
        raw = dump(config)
        configured = Descriptor(MediaType(OCI_CONFIG), Digest.of(raw), len(raw))
        _put(put, configured, raw)
        together = [dict(layer.to_document()) for layer in (*layers, *(descriptor for descriptor, _ in new))]
        manifest = _manifest(before, configured, together, f"{client.registry}/{repository}:{tag}")
        put.put_manifest(manifest, tag)


def _tag(signed: Digest) -> str:
    return f"{signed.algorithm}-{signed.hex}.sig"


def _attached(client: RegistryClient, repository: str, signed: Digest) -> Image | None:
    tag = _tag(signed)
    if len(tag) > _LONGEST_TAG:
        return None
    try:
        found = client.get_manifest(repository, tag)
    except NotFoundError:
        return None
    where = f"{client.registry}/{repository}:{tag}"
    if not isinstance(found, Image) or found.media_type != OCI_MANIFEST:
        raise ContentError(f"{where}: {found.media_type}, expected signatures in {OCI_MANIFEST}")
    if len(found.layers) > MAX_SIGNATURES or sum(layer.size for layer in found.layers) > MAX_TOGETHER:
        raise ContentError(f"{where}: over {MAX_SIGNATURES} signatures, or {MAX_TOGETHER >> 20} MiB of them")
    return found


def _contents(client: RegistryClient, repository: str, wanted: Descriptor, limit: int) -> bytes:
    what = f"{client.registry}/{repository} {wanted.digest}"
    if wanted.size > limit:
        raise ContentError(f"{what}: {wanted.size} bytes beside a signature, over the limit of {limit}")
    parts = []
    with client.open_blob(repository, wanted) as stream:
        reader = VerifyingReader(stream, wanted.digest, wanted.size, what)
        while part := reader.read():
            parts.append(part)
    return b"".join(parts)


def _new(layers: Sequence[Descriptor], signatures: Sequence[SigstoreSignature]) -> list[tuple[Descriptor, bytes]]:
    """Return those of ``signatures`` that are not among ``layers``, each once."""
    there = [(layer.media_type, layer.digest, dict(layer.annotations)) for layer in layers]
    found = []
    for signature in signatures:
        digest, annotations = Digest.of(signature.payload), dict(signature.annotations)
        if (signature.media_type, digest, annotations) not in there:
            there.append((MediaType(signature.media_type), digest, annotations))
            kind, size = MediaType(signature.media_type), len(signature.payload)
            found.append((Descriptor(kind, digest, size, annotations=annotations), signature.payload))
    if len(there) > MAX_SIGNATURES:
        raise ContentError(f"{len(there)} signatures of one manifest, over the limit of {MAX_SIGNATURES}")
    return found


def _config(client: RegistryClient, repository: str, before: Image | None) -> Object:
    """Return the config that is there, or a new one; it names layers, and can be added to."""
    if before is None:
        return {"architecture": "", "os": "", "rootfs": {"type": "layers", "diff_ids": []}}
    what = f"{client.registry}/{repository} {before.config.digest}"
    config = load(_contents(client, repository, before.config, MAX_DOCUMENT), what)
    rootfs = config.setdefault("rootfs", {"type": "layers"})
    if not isinstance(rootfs, dict) or not isinstance(rootfs.setdefault("diff_ids", []), list):
        raise ContentError(f"{what}: the config beside signatures has no rootfs of diff IDs")
    return config


def _diff_ids(config: Object) -> list[Json]:
    rootfs = config["rootfs"]
    found = rootfs["diff_ids"] if isinstance(rootfs, dict) else None
    assert isinstance(found, list)
    return found


def _manifest(before: Image | None, config: Descriptor, layers: Sequence[Object], what: str) -> Image:
    document: Object = dict(before.document) if before else {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    raw = dump({**document, "config": dict(config.to_document()), "layers": list(layers)})
    if len(raw) > MAX_DOCUMENT:
        raise ContentError(f"{what}: the list of signatures would pass {MAX_DOCUMENT} bytes, more than registries take")
    made = views.parse(raw, MediaType(OCI_MANIFEST), what)
    assert isinstance(made, Image)
    return made


def _put(push: Push, descriptor: Descriptor, raw: bytes) -> None:
    from tempfile import gettempdir  # noqa: PLC0415 - few copies write signatures

    # An upload reads a file, so that it can go on where it broke off.
    with scratch_folder(Path(gettempdir())) as folder:
        path = folder / descriptor.digest.hex
        with at_disk(path):
            path.write_bytes(raw)
        push.put_blob(FileBlob(descriptor, path))
