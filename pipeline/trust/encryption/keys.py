"""The keys of one copy: for whom layers are encrypted, and what opens those that are."""

from collections.abc import Sequence
from typing import NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError, shown
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.trust.encryption.annotations import (
    Secret,
    made_annotations,
    read_public,
    read_secret,
    secret_document,
    wrapped_keys,
)
from transship.pipeline.trust.encryption.cipher import Sealing
from transship.pipeline.trust.encryption.decryption_keys import SecretKey, load_decryption_keys
from transship.pipeline.trust.encryption.recipients import Recipients, load_recipients


class Opening(NamedTuple):
    """What decrypts one layer: its secret, the HMAC that it must have, the file name of the key that opened it."""

    secret: Secret
    mac: bytes
    by: str


class Keys:
    """Wraps and unwraps the keys of layers; holds secrets, and shows none."""

    def __init__(self, recipients: Recipients, secrets: Sequence[SecretKey]) -> None:
        self._recipients = recipients
        self._secrets = tuple(secrets)

    def annotations(self, sealed: Sealing, plain: Digest) -> dict[str, str]:
        """Return what the descriptor of a layer must say that ``sealed`` has encrypted; ``plain`` is that layer."""
        return made_annotations(self._recipients.wrap(secret_document(sealed.secret, plain)), sealed.mac)

    def open(self, layer: Descriptor) -> Opening:
        """Return what decrypts ``layer``; every key is tried on every wrapped key that it may be for.

        Raises:
            ContentError: no key opens it, or what its descriptor says is malformed.
        """
        what = f"layer {layer.digest}"
        public = read_public(layer.annotations, what)
        packets = wrapped_keys(layer.annotations, what)
        doubts = []
        for protocol, wrapped in packets.items():
            for key in self._secrets:
                way = key.by_protocol.get(protocol)
                for packet in wrapped if way else ():
                    opened = way(packet, what) if way else None
                    if opened and opened.plain is not None:
                        return Opening(read_secret(opened.plain, public, what), public.mac, key.name)
                    if opened and opened.why:
                        doubts.append(f"{key.name}: {opened.why}")
        for_whom = ", ".join(shown(protocol, 40) for protocol in list(packets)[:5]) or "nobody"
        tried = ", ".join(key.name for key in self._secrets) or "none"
        raise ContentError(
            f"{what}: is encrypted by {for_whom}, and none of the keys opens it (tried: {tried})",
            advice="; ".join(dict.fromkeys(doubts)) or "give the private key that it was encrypted for",
        )


def load_keys(encrypt: Sequence[str], decrypt: Sequence[str]) -> Keys:
    """Return the keys that are named; raises `UsageError` where one cannot be read or used."""
    return Keys(load_recipients(encrypt), load_decryption_keys(decrypt))
