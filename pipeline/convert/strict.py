"""An image config cut down to what the OCI spec names. Source: OCI image-spec config.md, "Properties"."""

from typing import Final

from transship.pipeline.manifest.config import ImageConfig
from transship.pipeline.manifest.document import Json, Object, dump

_TOP: Final = (
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
)
# Memory, MemorySwap, CpuShares and Healthcheck are reserved names without a meaning in the spec.
_CONFIG: Final = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
)
_ROOTFS: Final = ("type", "diff_ids")
_HISTORY: Final = ("created", "author", "created_by", "comment", "empty_layer")


def strict_config(config: ImageConfig) -> tuple[bytes, tuple[str, ...]]:
    """Return the strict config's bytes and the names of the fields dropped, sorted; unchanged bytes if none."""
    dropped: list[str] = []
    made = _only(config.document, _TOP, "config", dropped)
    for key, allowed in (("config", _CONFIG), ("rootfs", _ROOTFS)):
        inner = made.get(key)
        if isinstance(inner, dict):
            made[key] = _only(inner, allowed, f"config {key}", dropped)
    history = made.get("history")
    if isinstance(history, list):
        made["history"] = [
            _only(entry, _HISTORY, "config history", dropped) if isinstance(entry, dict) else entry for entry in history
        ]
    return (dump(made), tuple(sorted(set(dropped)))) if dropped else (config.raw, ())


def _only(document: Object, allowed: tuple[str, ...], where: str, dropped: list[str]) -> dict[str, Json]:
    dropped.extend(f"{where} {key}" for key in document if key not in allowed)
    return {key: document[key] for key in allowed if key in document}
