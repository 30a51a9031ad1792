"""The policy of a run, as its plan has it: which file, and what tells that it, or a key that it names, has changed."""

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from transship.pipeline.errors import Error
from transship.pipeline.reference import Reference, StorageReference
from transship.pipeline.trust import material
from transship.pipeline.trust.policy import Enforcer
from transship.pipeline.trust.requirements import AcceptAnything, Keys

NONE: Final = "none"
"""No policy file is anywhere."""
INSECURE: Final = "insecure"
"""A policy was not to be asked."""


class Guard(NamedTuple):
    """``name`` is the file, `NONE` or `INSECURE`; ``fingerprint`` is empty where every image passes unseen."""

    name: str = NONE
    require_signed: bool = False
    fingerprint: str = ""
    enforcer: Enforcer | None = None

    def of(self, reference: Reference) -> str:
        """Return what tells that an image has to be judged anew, empty where nothing is asked of it."""
        if self.enforcer is None or not self.fingerprint:
            return ""
        if self.require_signed or isinstance(reference, StorageReference):
            return self.fingerprint
        _, requirements = self.enforcer.scope_of(reference)
        return "" if all(isinstance(one, AcceptAnything) for one in requirements) else self.fingerprint


def guard(name: str, enforcer: Enforcer | None, raw: bytes, *, require_signed: bool) -> Guard:
    """Return the guard of the policy ``raw`` that ``enforcer`` has read from the file ``name``."""
    if enforcer is None:
        return Guard(name)
    policy = enforcer.policy
    every = [policy.default, *(found for scopes in policy.transports.values() for found in scopes.values())]
    if not require_signed and all(isinstance(one, AcceptAnything) for found in every for one in found):
        return Guard(name, require_signed, "", enforcer)
    hasher = hashlib.sha256(raw + bytes((require_signed,)))
    for path in sorted({path for keys in _keys(every) for path in keys.paths}):
        try:
            content = material.read_file(path, name)
        except Error:
            content = b""  # That it cannot be read is said for the image that needs it.
        hasher.update(hashlib.sha256(content).digest())
    return Guard(name, require_signed, hasher.hexdigest()[:24], enforcer)


def _keys(value: object) -> Iterator[Keys]:
    if isinstance(value, Keys):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _keys(one)
