"""The signatures of an image on their way: read at the source, judged, kept, written at the destination."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from transship.pipeline import tree
from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, RefusedError, UsageError
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Json
from transship.pipeline.manifest.media_types import MANIFESTS, MediaType
from transship.pipeline.manifest.views import Index, Manifest
from transship.pipeline.reference import Reference
from transship.pipeline.signature import MAX_SIGNATURES, Signature, SigstoreSignature, from_file, refuse_more, to_file
from transship.pipeline.store import Store
from transship.pipeline.transport import KeepsSignatures, Signed, Sink, Source
from transship.pipeline.tree import Selection
from transship.pipeline.trust.policy import Enforcer, Subject

if TYPE_CHECKING:
    from transship.pipeline.trust.signing import Signer
    from transship.pipeline.trust.sigstore.session import Session

Found: TypeAlias = Mapping[Digest, tuple[Signature, ...]]
"""The signatures of each manifest that has some."""
_KEPT: Final = MediaType("application/vnd.transship.signature")
_REASONS: Final = {
    "oci": "an OCI layout has no place for them",
    "oci-archive": "an OCI archive has no place for them",
    "bundle": "a bundle has no place for them",
    "docker-archive": "a docker-archive has no place for them",
    "docker-daemon": "the Docker Engine keeps none",
    "containers-storage": "an image goes into Podman's storage without them",
}
KEEPING: Final = ("docker", "dir")
"""Transports whose destinations hold signatures."""
DROPPING: Final = frozenset({"containers-storage"})
"""Transports that other tools can write signatures to: an image goes there without them, and that is said."""
ANYTHING: Final = "insecureAcceptAnything"


class Signing(NamedTuple):
    """Who signs what is written, and under which name: that of the destination where ``identity`` is empty.

    ``session`` opens those of the ``signers`` who sign by sigstore.
    """

    signers: "tuple[Signer, ...]" = ()
    identity: str = ""
    session: "Session | None" = None

    @property
    def sigstore(self) -> bool:
        """Whether one of them signs by sigstore."""
        if not self.signers:
            return False
        from transship.pipeline.trust.sigstore.session import SigstoreFile, SigstoreKey  # noqa: PLC0415

        return any(isinstance(one, SigstoreKey | SigstoreFile) for one in self.signers)

    def say(self) -> tuple[str, ...]:
        """Return what a report says of each; opens their keys, and raises as `signing.sign`."""
        if not self.signers:
            return ()
        from transship.pipeline.trust.signing import says  # noqa: PLC0415 - loads what starts programs

        return tuple(says(signer, self.session) for signer in self.signers)


def collect(source: Source, store: Store, selection: Selection, root: Digest) -> Found:
    """Read the signatures of all manifests of a selection; ``root`` is what the source's reference names.

    Raises:
        Error: as `Signed.signatures` does.
    """
    if not isinstance(source, Signed):
        return {}
    found: dict[Digest, tuple[Signature, ...]] = {}
    size = 0
    for descriptor, _ in tree.manifests(store, selection):
        there = source.signatures(descriptor.digest, instance=descriptor.digest != root)
        if len(there) > MAX_SIGNATURES:
            raise ContentError(f"manifest {descriptor.digest}: over {MAX_SIGNATURES} signatures")
        size += sum(len(to_file(one)) for one in there)
        refuse_more(size, f"manifest {root}")
        if there:
            found[descriptor.digest] = tuple(there)
    return found


def judge(
    enforcer: Enforcer, at: tuple[Reference, tuple[str, str]], store: Store, selection: Selection, found: Found
) -> tuple[str, ...]:
    """Return who vouches for each image of a selection, each line once; ``at`` is as in `Subject`.

    Of an index its images are judged, as container tools do; the index itself where no image of it goes along, or
    something that is no image.

    Raises:
        RefusedError: the policy does not let one of them pass.
    """
    reference, storage = at

    def said(images: Iterator[Manifest]) -> dict[str, None]:
        # One at a time: the views of an index's manifests together take many times their bytes.
        return {
            line: None
            for manifest in images
            for line in enforcer.check(Subject(reference, manifest, found.get(manifest.digest, ()), storage))
        }

    every = partial(_views, store, selection)
    return tuple(said(filter(_is_judged, every())) or said(every()))


def _views(store: Store, selection: Selection) -> Iterator[Manifest]:
    return (manifest for _, manifest in tree.manifests(store, selection))


def _is_judged(manifest: Manifest) -> bool:
    return not isinstance(manifest, Index) or _holds_blobs(manifest)


def _holds_blobs(index: Index) -> bool:
    return any(entry.media_type not in MANIFESTS for entry in index.manifests)


def why_none(sink: Sink, transport: str, *, sigstore: bool = False) -> str:
    """Return why a destination can hold no signatures, empty where it can; ``sigstore``: not even such ones."""
    if isinstance(sink, KeepsSignatures):
        return sink.signatures_refused(sigstore=sigstore)
    return _REASONS.get(transport, "there is no place for them")


def has_sigstore(found: Found) -> bool:
    """Say whether there is a signature of sigstore among them."""
    return any(isinstance(one, SigstoreSignature) for there in found.values() for one in there)


def refuse_unsignable(sink: Sink, transport: str, destination: Reference, signing: Signing) -> None:
    """Raise `UsageError` where signatures are to be made that the destination cannot hold."""
    if signing.signers and (why := why_none(sink, transport, sigstore=signing.sigstore)):
        advice = "change that, or sign elsewhere" if isinstance(sink, KeepsSignatures) else "sign where it is pushed to"
        raise UsageError(f"{destination}: cannot be signed: {why}", advice=advice)


def split(found: Found, written: Sequence[Digest]) -> tuple[Found, tuple[str, ...]]:
    """Return the signatures of manifests that are ``written``, and for each other manifest what is lost."""
    kept = {digest: there for digest, there in found.items() if digest in written}
    lost = tuple(
        f"signatures: {len(there)} of {digest}, which is another manifest now"
        for digest, there in found.items()
        if digest not in written
    )
    return kept, lost


def refuse_change(found: Found, written: Sequence[Digest]) -> None:
    """Raise `RefusedError` where signatures would no longer hold, as container tools do who have not been told so."""
    _, lost = split(found, written)
    if lost:
        raise RefusedError(
            f"{lost[0]}: the change would invalidate them",
            advice="say --remove-signatures, or leave the image as it is",
        )


class Wish(NamedTuple):
    """What to do with signatures at a destination: make some, leave out those of the source."""

    signing: Signing = Signing()
    remove: bool = False


class Image(NamedTuple):
    """What was put into a sink: a tree of manifests in the store, and the reference that it has there."""

    store: Store
    made: Selection
    destination: Reference


class Fate(NamedTuple):
    """What becomes of an image's signatures at one destination: which go along, and what is lost of the others."""

    kept: Found
    lost: tuple[str, ...]


def fate(found: Found, written: Sequence[Digest], to: tuple[Sink, str], *, strict: bool) -> Fate:
    """Return which signatures of a source go along with ``written`` manifests to a sink of a transport.

    Raises:
        RefusedError: some are lost, which ``strict`` does not allow.
    """
    sink, transport = to
    kept, lost = split(found, written)
    if kept and (why := why_none(sink, transport, sigstore=has_sigstore(kept))):
        lost += tuple(f"signatures: {len(there)} of {digest}: {why}" for digest, there in kept.items())
        kept = {}
    if lost and strict and transport not in DROPPING:
        raise RefusedError(f"{lost[0]}: they would be lost", advice="say --remove-signatures, or copy it unchanged")
    return Fate(kept, lost)


def put(sink: Sink, image: Image, kept: Found, signing: Signing) -> tuple[str, ...]:
    """Write signatures of what was put into an entered sink: those ``kept`` and new ones; return who has signed.

    Raises:
        UsageError: there is no name to sign under, or no such key.
        TransportError: the destination does not take them.
    """
    if not kept and not signing.signers:
        return ()
    store, made, destination = image
    if not isinstance(sink, KeepsSignatures):
        raise UsageError(f"{destination}: can hold no signatures", advice="sign where it is pushed to")
    for descriptor, _ in tree.manifests(store, made):
        new = _made(descriptor.digest, signing, destination)
        there = (*kept.get(descriptor.digest, ()), *new)
        if there:
            sink.put_signatures(descriptor.digest, there, instance=descriptor.digest != made.root.digest)
    return signing.say()


def _made(manifest: Digest, signing: Signing, destination: Reference) -> tuple[Signature, ...]:
    if not signing.signers:
        return ()
    from transship.pipeline.trust.signing import sign, signing_name  # noqa: PLC0415 - loads what starts programs

    name = signing_name(signing.identity, destination)
    return tuple(sign(signer, manifest, name, session=signing.session) for signer in signing.signers)


def to_document(store: Store, found: Found) -> Json:
    """Keep signatures in the store; return what a checkpoint says of them."""
    return [
        {
            "manifest": str(digest),
            "files": [store.put(to_file(one), _KEPT, durable=False).to_document() for one in there],
        }
        for digest, there in found.items()
    ]


def from_document(store: Store, document: Json) -> Found:
    """Return what `to_document` kept.

    Raises:
        ContentError: it is malformed, or gone from the store.
    """
    found: dict[Digest, tuple[Signature, ...]] = {}
    for entry in document if isinstance(document, list) else []:
        if not isinstance(entry, dict) or not isinstance(files := entry.get("files"), list):
            raise ContentError("checkpoint: signatures are malformed")
        kept = [_descriptor(one) for one in files]
        found[Digest.parse(str(entry.get("manifest")))] = tuple(
            from_file(store.read(one), f"signature {one.digest}") for one in kept
        )
    return found


def _descriptor(document: Json) -> Descriptor:
    if not isinstance(document, dict) or not isinstance(size := document.get("size"), int):
        raise ContentError("checkpoint: the descriptor of a signature is malformed")
    return Descriptor(_KEPT, Digest.parse(str(document.get("digest"))), size)
