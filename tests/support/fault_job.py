"""A batch before a fault proxy: the folder it runs in, its verdict, and what another tool does there."""

import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support.fault_proxy import FaultProxy, Rule
from support.figures import FULL, REPORT, figure, megabytes

LARGE = (200 if FULL else 20) * 1_000_000
"""Bytes of the one large layer: in full as the list of cases has it."""
IN_FLIGHT = 4 << 20
"""Bytes that a proxy may have sent and nobody read when a connection ends."""
QUICK: Mapping[str, float] = {
    "first-wait": 0.05,
    "longest-wait": 0.2,
    "answer-timeout": 60 if FULL else 5,
    "idle-timeout": 60 if FULL else 5,
    "longest-retry-after": 1,
}
RUN = ("run", "batch.yaml", "--progress", "none")
_PEER_SECONDS = 60 if FULL else 20


def noise(seed: int, size: int) -> bytes:
    """Return bytes that no packer makes smaller."""
    return random.Random(seed).randbytes(size)


def write_batch(
    folder: Path, sources: Sequence[str], to: Sequence[str], registry: str = "", patience: Mapping[str, float] = QUICK
) -> Path:
    """Write ``batch.yaml`` into ``folder``; ``registry`` is asked without TLS and with ``patience``."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {registry: {"tls-verify": False, "patience": dict(patience)}} if registry else {}
    document = {
        "version": 1,
        "defaults": {"to": list(to)},
        "images": [{"from": source} for source in sources],
        "registries": settings,
    }
    (folder / "batch.yaml").write_text(json.dumps(document))
    return folder


def leftovers(folder: Path) -> list[str]:
    """Return what a run must not leave: half blobs and scratch files."""
    return sorted(
        str(path) for path in folder.rglob("*") if path.name.endswith(".partial") or "ingest/sha" in str(path)
    )


def skopeo(case: int, proxy: FaultProxy, rules: Sequence[Rule], image: str, out: Path) -> None:
    """Where figures are collected, meet skopeo with the same faults and note what it came to."""
    if not REPORT:
        return
    proxy.rules[:] = list(rules)
    proxy.passed.clear()
    words = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{proxy.name}/{image}", f"oci:{out}:x"]
    try:
        code = subprocess.run(words, capture_output=True, timeout=_PEER_SECONDS, check=False).returncode
        ended = f"exit {code}"
    except subprocess.TimeoutExpired:
        ended = f"no end within {_PEER_SECONDS} s"
    shutil.rmtree(out, ignore_errors=True)
    figure(case, f"{ended}, {megabytes(proxy.down)}", "skopeo")


def skopeo_again(case: int, damage: Callable[[Path], None], source: Path, out: Path, blob: str) -> None:
    """Where figures are collected, let skopeo copy into a layout a second time after ``damage`` to a blob of it."""
    if not REPORT:
        return
    words = ["skopeo", "copy", "-q", f"oci:{source}:v1", f"oci:{out}:v1"]
    subprocess.run(words, check=True, capture_output=True)
    path = out / "blobs/sha256" / blob
    path.chmod(0o644)
    damage(path)
    code = subprocess.run(words, check=False, capture_output=True).returncode
    kept = hashlib.sha256(path.read_bytes()).hexdigest() != blob
    figure(case, f"{damage.__name__}, copied again: exit {code}, {'kept' if kept else 'healed'}", "skopeo")
