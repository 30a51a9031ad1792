"""The parts of Docker's v2s1 manifests that the view needs: layers and the signed payload.

Source: Docker "Image Manifest Version 2, Schema 1"; libtrust's JSON web signature form.
"""

import json
from typing import NamedTuple

from transship.pipeline.digest import Digest
from transship.pipeline.errors import ContentError
from transship.pipeline.manifest.document import Object
from transship.pipeline.manifest.fields import Fields


class Schema1Layer(NamedTuple):
    """A gzip layer and the history entry (a JSON document in a string) that made it."""

    digest: Digest
    v1_compatibility: str


def read_layers(fields: Fields) -> tuple[Schema1Layer, ...]:
    """Return the layers, base first (the document has them top first).

    Raises:
        ContentError: fsLayers and history differ in length, or a field is malformed.
    """
    layers, history = fields.objects("fsLayers"), fields.objects("history")
    if len(layers) != len(history):
        raise ContentError(f"{fields.where}: {len(layers)} fsLayers but {len(history)} history entries")
    return tuple(
        Schema1Layer(layer.digest("blobSum"), entry.text("v1Compatibility"))
        for layer, entry in zip(reversed(layers), reversed(history), strict=True)
    )


def unsigned(raw: bytes, document: Object) -> bytes:
    """Return the signed payload of ``raw``, or ``raw`` itself where it bears no signatures.

    Raises:
        ContentError: the signature's protected header does not describe ``raw``.
    """
    signatures = document.get("signatures")
    if not isinstance(signatures, list) or not signatures:
        return raw
    first = signatures[0]
    protected = first.get("protected") if isinstance(first, dict) else None
    try:
        header = json.loads(_decode(str(protected)))
        length, tail = header["formatLength"], _decode(header["formatTail"])
    except (ValueError, KeyError, TypeError) as error:
        raise ContentError("v2s1 manifest: malformed signature header") from error
    if not isinstance(length, int) or not 0 <= length <= len(raw):
        raise ContentError("v2s1 manifest: signature header's formatLength is out of range")
    return raw[:length] + tail


def _decode(text: str) -> bytes:
    import base64  # noqa: PLC0415 - few manifests are v2s1

    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
