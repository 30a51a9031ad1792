"""What the command line says of trust: which policy is enforced, who signs; and a copy of one image under that."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from transship.pipeline import trace
from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.reference import Reference, StorageReference
from transship.pipeline.store import Store
from transship.pipeline.transport import Signed, Sink, Source
from transship.pipeline.tree import Selection
from transship.pipeline.trust import carrying
from transship.pipeline.trust.carrying import Found, Signing

if TYPE_CHECKING:
    from transship.pipeline.manifest.views import Manifest
    from transship.pipeline.trust.guard import Guard
    from transship.pipeline.trust.policy import Enforcer
    from transship.pipeline.trust.sigstore.session import Session


class Trust(NamedTuple):
    """How one image is copied: under which policy, with which signatures, and whether that is said."""

    enforcer: "Enforcer | None"
    signing: Signing
    remove: bool
    quiet: bool

    def refuse_place(self, sink: Sink, destination: Reference, transport: str) -> None:
        """Raise `UsageError` where a signature is to be made that the destination cannot hold, or under no name."""
        if not self.signing.signers:
            return
        from transship.pipeline.trust.signing import signing_name  # noqa: PLC0415

        carrying.refuse_unsignable(sink, transport, destination, self.signing)
        signing_name(self.signing.identity, destination)
        if self.signing.sigstore:
            self.signing.say()

    def admitted(
        self,
        source: Source,
        store: Store,
        selection: Selection,
        named: tuple[Reference, Digest],
        to: tuple[Reference, str, Sink],
    ) -> Found:
        """Return the signatures to carry of an image that the policy lets pass.

        ``named`` are its reference and the digest that this means, ``to`` is the destination.

        Raises:
            RefusedError: the policy does not let it pass.
            UsageError: it has signatures that the destination cannot hold.
        """
        reference, root = named
        storage = _storage(reference, self.enforcer)
        asked = self.enforcer is not None and self.enforcer.asks(reference, storage)
        found = {} if self.remove and not asked else carrying.collect(source, store, selection, root)
        if self.enforcer is not None:
            lines = carrying.judge(self.enforcer, (reference, storage), store, selection, found)
            self.say("accepted", [line for line in lines if line != carrying.ANYTHING])
        destination, transport, sink = to
        sigstore = carrying.has_sigstore(found)
        if self.remove or not found or not (why := carrying.why_none(sink, transport, sigstore=sigstore)):
            return {} if self.remove else found
        if transport not in carrying.DROPPING:
            raise UsageError(
                f"{destination}: signatures cannot be copied there: {why}", advice="say --remove-signatures"
            )
        print(f"transship: left behind: signatures: {why}", file=sys.stderr)
        return {}

    def put(self, sink: Sink, image: tuple[Store, Selection, Reference], kept: Found) -> tuple[str, ...]:
        """Write the signatures of what was put into an entered sink; as `carrying.put`."""
        return carrying.put(sink, carrying.Image(*image), kept, self.signing)

    def say(self, what: str, lines: Sequence[str]) -> None:
        """Print them, unless nothing is to be."""
        for line in lines if not self.quiet else ():
            print(f"transship: {what}: {line}", file=sys.stderr)


def _storage(reference: Reference, found: "Enforcer | None") -> tuple[str, str]:
    if found is None or not isinstance(reference, StorageReference):
        return "", ""
    from transship.pipeline.transports.podman import storage_of  # noqa: PLC0415

    return storage_of(reference, found.policy)


@contextmanager
def opened_trust(options: argparse.Namespace) -> Iterator[Trust]:
    """Return how ``copy`` is to copy, and forget the keys after it; raises as `enforcer` and `signing` do."""
    makes = signing(options)
    found = enforcer(policy_path(options), require_signed=options.require_signed)
    try:
        yield Trust(found, makes, options.remove_signatures, options.quiet)
    finally:
        if found is not None:
            found.close()
        if makes.session is not None:
            makes.session.close()


def refuse_unwanted(
    options: argparse.Namespace, source: Source, reference: Reference, image: "tuple[Manifest, Manifest]"
) -> None:
    """Raise `RefusedError` where the policy does not let an image pass, and as `enforcer`.

    ``image`` is what ``reference`` names, and the manifest whose blobs are to be read: itself, or one that it lists.
    """
    found = enforcer(policy_path(options), require_signed=options.require_signed)
    if found is None:
        return
    from transship.pipeline.trust.policy import Subject  # noqa: PLC0415 - nobody without a policy needs it

    root, chosen = image
    with closing(found):
        there = source.signatures(chosen.digest, instance=chosen is not root) if isinstance(source, Signed) else ()
        found.check(Subject(reference, chosen, there, _storage(reference, found)))


def policy_path(options: argparse.Namespace, named: str = "") -> str:
    """Return the policy file that counts, empty where none is enforced.

    Of those of the command line, of a batch file (``named``), of the environment and of the usual places the first one.

    Raises:
        UsageError: options that exclude each other; one is required and there is none.
    """
    if options.insecure_policy and options.require_signed:
        raise UsageError("--insecure-policy and --require-signed exclude each other", advice="keep one of them")
    if options.insecure_policy:
        return ""
    found: str = options.policy or named or os.environ.get("CONTAINERS_POLICY_JSON", "")
    if not found:
        from transship.pipeline.registry.config_files import policy_file  # noqa: PLC0415

        usual = policy_file(os.environ)
        found = str(usual) if usual else ""
    return found


def guard_of(options: argparse.Namespace, named: str = "", *, required: bool = False) -> "Guard":
    """Return the policy of a run, ``named`` and ``required`` in its batch file or not; raises as `enforcer`."""
    from transship.pipeline.trust.guard import INSECURE, NONE, guard  # noqa: PLC0415

    require_signed = options.require_signed or (required and not options.insecure_policy)
    path = os.path.abspath(found) if (found := policy_path(options, named)) else ""
    name = path or (INSECURE if options.insecure_policy else NONE)
    # Read once: what is enforced and what a later run compares are the same bytes.
    raw = _raw(path) if path else b""
    made = _enforcer(path, raw, require_signed=require_signed)
    return guard(name, made, raw, require_signed=require_signed)


def enforcing(guard: "Guard") -> "Callable[[], Enforcer | None]":
    """Return what makes an enforcer of the policy of ``guard`` for a process of its own."""
    return lambda: guard.enforcer.anew() if guard.enforcer else None


def enforcer(path: str, *, require_signed: bool) -> "Enforcer | None":
    """Return what enforces the policy file ``path``, None where that is empty.

    Raises:
        UsageError: it cannot be read or is malformed; there is none, and signatures are required.
    """
    return _enforcer(path, _raw(path) if path else b"", require_signed=require_signed)


def _enforcer(path: str, raw: bytes, *, require_signed: bool) -> "Enforcer | None":
    if not path:
        if require_signed:
            raise UsageError(
                "--require-signed: no policy.json says whose signatures count",
                advice="name one with --policy, or put one into ~/.config/containers",
            )
        return None
    from transship.pipeline.trust.policy import Enforcer  # noqa: PLC0415 - nobody without a policy needs it
    from transship.pipeline.trust.policy_file import parse_policy  # noqa: PLC0415

    trace.tell("policy %s: enforced", path)
    return Enforcer(parse_policy(raw, path), require_signed=require_signed)


def _raw(path: str) -> bytes:
    from transship.pipeline.trust.policy_file import MAX_POLICY  # noqa: PLC0415

    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_POLICY + 1)
    except OSError as error:
        why = f"policy {path}: cannot be read: {error.strerror}"
        raise UsageError(why, advice="name another with --policy") from error


def signing(options: argparse.Namespace) -> Signing:
    """Return who signs by the command line.

    Raises:
        UsageError: options that exclude each other, or a name to sign under that is none.
    """
    from transship.pipeline.docker_name import named  # noqa: PLC0415

    identity = vars(options).get("sign_identity", "")
    if identity:
        try:
            found = named(identity)
        except UsageError as error:
            raise UsageError(f"--sign-identity {shown(identity)}: {error.message}", advice=error.advice) from error
        if not (found.tag or found.digest):
            raise UsageError(f"--sign-identity {identity}: has neither tag nor digest", advice="expected name:tag")
    asked = [options.sign_by, options.sign_by_sq_fingerprint, options.sign_by_sigstore_private_key]
    if options.sign_passphrase_file and sum(map(bool, asked)) != 1:
        raise UsageError(
            "--sign-passphrase-file goes with exactly one of --sign-by, --sign-by-sq-fingerprint and "
            "--sign-by-sigstore-private-key",
            advice="give one of them",
        )
    if not any(asked) and not options.sign_by_sigstore:
        return Signing((), identity)
    from transship.pipeline.trust.signing import signers  # noqa: PLC0415 - loads what starts programs

    by, sq, key = asked
    chosen = signers(by, sq, options.sign_by_sigstore, key, options.sign_passphrase_file)
    return Signing(chosen, identity, session())


def session() -> "Session":
    """Return what opens signers of sigstore, and asks at the terminal for passphrases."""
    from transship.pipeline.cli.passphrase import passphrase  # noqa: PLC0415
    from transship.pipeline.trust.sigstore.session import Session  # noqa: PLC0415

    return Session(os.environ, lambda key: passphrase(key, "", "a file that holds it"))
