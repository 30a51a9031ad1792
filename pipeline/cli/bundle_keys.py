"""By which keys bundles are signed, and by which they must be, as the command line says; nothing is loaded without."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.errors import UsageError, shown
from transship.pipeline.transports.checksums import Checksums

if TYPE_CHECKING:
    from transship.pipeline.trust.detached import Signer

Vouched: TypeAlias = Callable[[Path], Checksums | None]
"""Returns the checksums of a bundle once they are found to be signed; None where they need not be."""


@contextmanager
def signing(options: argparse.Namespace) -> Iterator[Sequence["Signer"]]:
    """Return who signs, ready to do so, for as long as this lasts.

    Raises:
        UsageError: options that do not go together; as `Signer.open`, and its other errors.
    """
    by, key, file = options.sign_by, options.sign_by_sigstore_private_key, options.sign_passphrase_file
    if file and bool(by) == bool(key):
        raise UsageError(
            "--sign-passphrase-file goes with exactly one of --sign-by and --sign-by-sigstore-private-key",
            advice="give one of them",
        )
    if not by and not key:
        yield ()
        return
    from transship.pipeline.cli.trust_options import session  # noqa: PLC0415 - loads what starts programs
    from transship.pipeline.trust.detached import OpenpgpSigner, SigstoreKeySigner  # noqa: PLC0415
    from transship.pipeline.trust.sigstore.session import SigstoreKey  # noqa: PLC0415

    with closing(session()) as opened:
        signers: list[Signer] = [OpenpgpSigner(by, file)] if by else []
        if key:
            signers.append(SigstoreKeySigner(opened.signer(SigstoreKey(key, file))))
        for signer in signers:
            signer.open()
        yield signers


def sign(path: Path, signers: Sequence["Signer"], *, verified: bool = False) -> None:
    """Have the bundle at ``path`` signed, and say by whom; as `sign_bundle`, which it raises as."""
    if signers:
        from transship.pipeline.bundle.signing import sign_bundle  # noqa: PLC0415

        for who in sign_bundle(path, signers, verified=verified):
            print(f"{shown(str(path), 400)}: signed by {who}")


@contextmanager
def vouching(options: argparse.Namespace) -> Iterator[Vouched]:
    """Return what judges bundles by ``--signed-by`` and ``--key``, for as long as this lasts.

    It says whose signature it accepts, and raises as `bundle.signing.vouched`.

    Raises:
        UsageError: a file of keys cannot be read or holds none.
    """
    if not options.signed_by and not options.key:
        yield lambda _: None
        return
    from transship.pipeline.bundle.signing import vouched  # noqa: PLC0415 - loads what starts programs
    from transship.pipeline.trust.detached import Accepted  # noqa: PLC0415

    with closing(Accepted(options.signed_by, options.key)) as accepted:

        def judge(path: Path) -> Checksums:
            said, who = vouched(path, accepted)
            print(f"transship: accepted: {shown(str(path), 400)}: signed by {who}", file=sys.stderr)
            return said

        yield judge


def signed_documents(options: argparse.Namespace, paths: Sequence[Path]) -> dict[Path, Digest] | None:
    """Return the digest of the bundle.json that is signed of each bundle; None where none needs to be.

    Who names one may name a link to it. Raises as `vouching`, and what that returns.
    """
    with vouching(options) as vouched:
        found = {path: said for path in paths if (said := vouched(path.resolve())) is not None}
    return {path: said.document for path, said in found.items()} or None
