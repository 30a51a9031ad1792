"""A policy enforced: which requirements hold for an image, and whether it fulfils them all."""

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.docker_name import DockerReference, named
from transship.pipeline.errors import ContentError, RefusedError, UsageError
from transship.pipeline.manifest.views import Manifest
from transship.pipeline.reference import DaemonReference, PathReference, Reference, StorageReference
from transship.pipeline.signature import Signature, SigstoreSignature, SimpleSignature
from transship.pipeline.trust import scopes
from transship.pipeline.trust.policy_file import Policy
from transship.pipeline.trust.requirements import (
    GPG_KEYS,
    VERIFIES,
    AcceptAnything,
    Keys,
    Reject,
    Requirement,
    SignedBaseLayer,
    SignedBy,
    SigstoreSigned,
)

if TYPE_CHECKING:
    from transship.pipeline.trust.gpg import Keyring
    from transship.pipeline.trust.sigstore.verification import Trusted

# What verifies is loaded by who needs it.
# ruff: noqa: PLC0415

COSIGN: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
"""The media type of what is a sigstore signature; what else hangs beside it is none."""


class Subject(NamedTuple):
    """An image to be judged: its reference, its manifest, its signatures.

    ``storage`` is the driver and the root of the storage that a `StorageReference` is in.
    """

    reference: Reference
    manifest: Manifest
    signatures: Sequence[Signature]
    storage: tuple[str, str] = ("", "")


class Enforcer:
    """One policy, and the keys that it names once they were read. Thread-safe; to be closed."""

    def __init__(self, policy: Policy, *, require_signed: bool = False) -> None:
        """With ``require_signed`` an image for which no signature is asked is refused."""
        self.policy = policy
        self._require_signed = require_signed
        self._keyrings: dict[Keys, Keyring] = {}
        self._trusted: dict[SigstoreSigned, Trusted] = {}
        self._lock = threading.Lock()

    def anew(self) -> "Enforcer":
        """Return another one of the same policy, with keys of its own."""
        return Enforcer(self.policy, require_signed=self._require_signed)

    def check(self, subject: Subject) -> tuple[str, ...]:
        """Return for each requirement of an image who fulfils it, such as ``signedBy <fingerprint>``.

        Raises:
            RefusedError: one is not fulfilled; names the image, the scope and the requirement.
            UsageError: a key that the policy names cannot be read.
        """
        scope, requirements = self.scope_of(subject.reference, subject.storage)
        where = f"{subject.reference}: policy {self.policy.origin}, {scope}"
        if self._require_signed and not any(isinstance(one, VERIFIES) for one in requirements):
            raise RefusedError(f"{where}: asks for no signature, which --require-signed wants")
        return tuple(self._one(requirement, subject, where) for requirement in requirements)

    def asks(self, reference: Reference, storage: tuple[str, str] = ("", "")) -> bool:
        """Say whether signatures decide about an image."""
        return any(isinstance(one, VERIFIES) for one in self.scope_of(reference, storage)[1])

    def scope_of(
        self, reference: Reference, storage: tuple[str, str] = ("", "")
    ) -> tuple[str, tuple[Requirement, ...]]:
        """Return what the most exact scope is called that an image falls under, and what it asks."""
        transport = scopes.transport_of(reference)
        found: Mapping[str, tuple[Requirement, ...]] = self.policy.transports.get(transport, {})
        for scope in (*scopes.scopes(reference, storage), ""):
            if scope in found:
                return f"scope {transport}:{scope}", found[scope]
        return "default", self.policy.default

    def close(self) -> None:
        """Remove the keys; idempotent."""
        with self._lock:
            for keyring in self._keyrings.values():
                keyring.close()
            self._keyrings.clear()

    def _one(self, requirement: Requirement, subject: Subject, where: str) -> str:
        if isinstance(requirement, AcceptAnything):
            return requirement.type
        if isinstance(requirement, Reject):
            raise RefusedError(f"{where}: reject")
        if isinstance(requirement, SignedBaseLayer):
            raise RefusedError(f"{where}: signedBaseLayer is not implemented, by any tool")
        wanted = [one for one in subject.signatures if _may_count(requirement, one)]
        if not wanted:
            others = f" of this kind ({len(subject.signatures)} others)" if subject.signatures else ""
            raise RefusedError(
                f"{where}: {requirement.type}: a signature is required, and there is none{others} "
                f"for {subject.manifest.digest}"
            )
        reasons: list[str] = []
        for signature in wanted:
            try:
                return self._accepted(requirement, signature, subject, where)
            except (RefusedError, ContentError) as error:
                reasons.append(error.message)
        raise RefusedError(f"{where}: {requirement.type}: {'; '.join(dict.fromkeys(reasons))}")

    def _accepted(self, requirement: Requirement, signature: Signature, subject: Subject, where: str) -> str:
        image = image_name(subject.reference)
        if isinstance(requirement, SignedBy) and isinstance(signature, SimpleSignature):
            if requirement.key_type != GPG_KEYS:
                raise RefusedError(f"keyType {requirement.key_type} is not implemented, by any tool")
            from transship.pipeline.trust import simple

            keyring = self._keyring(requirement.keys, where)
            by = simple.Signatory(keyring, keyring.fingerprints)
            signer = simple.verified(signature, by, subject.manifest, image, requirement.identity)
            return f"signedBy {signer}"
        if isinstance(requirement, SigstoreSigned) and isinstance(signature, SigstoreSignature):
            from transship.pipeline.trust.sigstore.verification import accepted

            trusted = self._trust(requirement, where)
            return f"sigstoreSigned {accepted(trusted, signature, subject.manifest, image)}"
        raise RefusedError("a signature of another kind")

    def _keyring(self, keys: Keys, where: str) -> "Keyring":
        from transship.pipeline.trust import gpg, material

        with self._lock:
            if keys not in self._keyrings:
                self._keyrings[keys] = gpg.Keyring(material.read(keys, where), where)
            return self._keyrings[keys]

    def _trust(self, requirement: SigstoreSigned, where: str) -> "Trusted":
        from transship.pipeline.trust.sigstore.verification import trusted

        with self._lock:
            if requirement not in self._trusted:
                try:
                    self._trusted[requirement] = trusted(requirement)
                except UsageError as error:
                    raise UsageError(f"{where}: {error.message}", advice=error.advice) from error
            return self._trusted[requirement]


def image_name(reference: Reference) -> DockerReference | None:
    """Return the name that an image is asked for by, None where it has none: in a folder or a layout."""
    if isinstance(reference, DockerReference):
        return reference
    if isinstance(reference, DaemonReference | StorageReference):
        return reference.named
    if isinstance(reference, PathReference) and reference.transport == "docker-archive" and reference.name:
        return named(reference.name)
    return None


def _may_count(requirement: Requirement, signature: Signature) -> bool:
    if isinstance(signature, SimpleSignature):
        return isinstance(requirement, SignedBy)
    return isinstance(requirement, SigstoreSigned) and signature.media_type == COSIGN
