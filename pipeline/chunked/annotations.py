"""Annotations of a layer that say where its table of contents is. They hold for its bytes alone.

Sources: containers/storage docs/containers-storage-zstd-chunked.md; stargz-snapshotter docs/estargz.md.
"""

from collections.abc import Mapping
from typing import Final

_CHUNKED: Final = "io.github.containers.zstd-chunked."
_ENCRYPTION: Final = "org.opencontainers.image.enc."
"""Whose keys open the bytes, and what they must hash to. Source: containers/ocicrypt."""
_ESTARGZ: Final = frozenset({"containerd.io/snapshot/stargz/toc.digest", "io.containers.estargz.uncompressed-size"})
CHECKSUM: Final = f"{_CHUNKED}manifest-checksum"
POSITION: Final = f"{_CHUNKED}manifest-position"
SPLIT_POSITION: Final = f"{_CHUNKED}tarsplit-position"


def of_bytes(key: str) -> bool:
    """Say whether an annotation is about the layer's bytes, and wrong for any others."""
    return key.startswith((_CHUNKED, _ENCRYPTION)) or key in _ESTARGZ


def is_chunked(annotations: Mapping[str, str]) -> bool:
    """Say whether a layer of zstd is one of zstd:chunked."""
    return CHECKSUM in annotations and POSITION in annotations


def carried(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations of a layer whose bytes were made anew: of ``old`` what does not speak of the bytes."""
    return {key: value for key, value in old.items() if not of_bytes(key)} | dict(new)


def table_of(annotations: Mapping[str, str]) -> str:
    """Return the name of the format whose table of contents a layer has, empty if none."""
    if is_chunked(annotations):
        return "zstd:chunked"
    return "eStargz" if _ESTARGZ & annotations.keys() else ""
