"""Digests, and the reader that trusts nothing until it has hashed it.

Grammar and registered algorithms: OCI image-spec, descriptor.md, "Digests".
"""

import hashlib
import re
from typing import BinaryIO, NamedTuple, Protocol

from transship.pipeline.errors import ContentError, shown

_HEX_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
ALGORITHMS = frozenset(_HEX_LENGTHS)
_SHAPE = re.compile(r"(sha256|sha384|sha512):([0-9a-f]+)", re.ASCII)


class Hasher(Protocol):
    """What `hashlib` objects offer and transship uses."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Feed ``data``."""

    def hexdigest(self) -> str:
        """Return the lower-case hex of everything fed."""


class Digest(NamedTuple):
    """An algorithm and lower-case hex; safe to put into a path or a URL once it exists."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Return the digest that ``text`` spells.

        Raises:
            ContentError: unknown algorithm, wrong length, upper case, anything else.
        """
        match = _SHAPE.fullmatch(text)
        if match is None or len(match[2]) != _HEX_LENGTHS[match[1]]:
            raise ContentError(f"not a digest: {shown(text)!r}", advice="expected sha256:<64 lower-case hex digits>")
        return cls(match[1], match[2])

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> "Digest":
        """Return the digest of ``content``."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def hasher(self) -> Hasher:
        """Return a fresh hasher of this digest's algorithm."""
        return hashlib.new(self.algorithm)

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def check(content: bytes, digest: Digest, what: str) -> None:
    """Raise `ContentError` unless ``content`` hashes to ``digest``; ``what`` names it in the message."""
    actual = Digest.of(content, digest.algorithm)
    if actual != digest:
        raise ContentError(f"{what}: digest does not match: expected {digest}, got {actual}")


class VerifyingReader:
    """Reads a stream of a known digest and size; the last read raises unless both hold.

    A caller must read to the end (`drain`) before it trusts a byte. Reading stops one byte
    past ``size``, so an endless stream costs no more than the blob it claims to be.
    """

    def __init__(self, stream: BinaryIO, digest: Digest, size: int, what: str) -> None:
        self._stream = stream
        self._digest = digest
        self._left = size
        self._what = what
        self._hasher = digest.hasher()
        self._done = False

    def read(self, size: int = 1 << 20) -> bytes:
        """Return up to ``size`` bytes, empty at the verified end.

        Raises:
            ContentError: the stream is shorter or longer than its size, or hashes differently.
        """
        data = self._stream.read(min(size, self._left + 1)) if not self._done else b""
        if len(data) > self._left:
            raise ContentError(f"{self._what}: longer than its descriptor says")
        self._left -= len(data)
        self._hasher.update(data)
        if not data and not self._done:
            self._finish()
        return data

    def drain(self) -> None:
        """Read to the end; raises as `read` does."""
        while self.read():
            pass

    def _finish(self) -> None:
        self._done = True
        if self._left:
            raise ContentError(f"{self._what}: ends {self._left} bytes short of its descriptor's size")
        if self._hasher.hexdigest() != self._digest.hex:
            raise ContentError(
                f"{self._what}: digest does not match: expected {self._digest}, "
                f"got {self._digest.algorithm}:{self._hasher.hexdigest()}"
            )
