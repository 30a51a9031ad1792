"""Signatures of bundles: beside the list of checksums, which names every byte of all that there is.

They are no part of a bundle: signed or not, it is the same one.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from transship.pipeline.bundle.verify import refuse_damaged, verify_bundle
from transship.pipeline.durable import sweep, write_durably
from transship.pipeline.errors import Error, NotFoundError, RefusedError, shown
from transship.pipeline.transports.checksums import Checksums, checksums_in, read_checksums, read_sums, sums_of
from transship.pipeline.transports.files import read_regular
from transship.pipeline.transports.volumes import numbers, stem_of
from transship.pipeline.trust.detached import Accepted, Signer

MAX_SIGNATURE: Final = 64 << 10
"""Bytes of the file of a signature; the longest of today's keys take some thousand."""


def sign_bundle(path: Path, signers: Sequence[Signer], *, verified: bool = False) -> tuple[str, ...]:
    """Have each of ``signers`` sign the bundle at ``path``; return who has, for messages.

    The bundle is verified first unless it is ``verified`` already: the signature vouches for it. What one has signed
    already stays; any other signature of that kind is replaced. Durable on return.

    Raises:
        ContentError: it is damaged.
        NotFoundError: there is none, or no checksums of it.
        Error: as `Signer.open`; as the disk refuses.
    """
    said = read_checksums(path)
    raw = said.raw()
    left = [one for one in signers if not _has_signed(one, path, raw)]
    if left and not verified:
        refuse_damaged(verify_bundle(path, said), path)
    for one in left:
        where = _beside(path, one.kind)
        sweep(where)
        write_durably(where, one.sign(raw))
    return tuple(one.open() for one in signers)


def vouched(path: Path, accepted: Accepted) -> tuple[Checksums, str]:
    """Return the checksums of the bundle at ``path``, once they are found to be signed, and by whom, for messages.

    What is judged by them is what was signed: they are read once.

    Raises:
        RefusedError: no signature is there, or none by one of the keys that are accepted.
        ContentError: they are damaged.
        NotFoundError: there is no such bundle.
    """
    try:
        raw = read_sums(path)
    except NotFoundError as error:
        if not os.path.lexists(path) and not numbers(stem_of(path)):
            raise
        raise RefusedError(f"{error.message}, so it is not signed", advice=error.advice) from error
    refused: list[str] = []
    for kind in accepted.kinds:
        where = _beside(path, kind)
        try:
            who = accepted.signer(kind, read_regular(where, MAX_SIGNATURE), raw, shown(where.name, 400))
        except NotFoundError:
            refused.append(f"{shown(where.name, 400)} is not there")
        except Error as error:
            refused.append(error.message)
        else:
            return checksums_in(raw, path), who
    why = " and ".join(refused)
    raise RefusedError(f"{shown(str(path), 400)}: not signed by a key that is accepted: {why}", advice="do not use it")


def _has_signed(signer: Signer, path: Path, raw: bytes) -> bool:
    try:
        return signer.has_signed(raw, read_regular(_beside(path, signer.kind), MAX_SIGNATURE))
    except Error:
        return False


def _beside(path: Path, kind: str) -> Path:
    sums = sums_of(path)
    return sums.with_name(sums.name + kind)
