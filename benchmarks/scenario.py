"""What a row of the table is: work that is measured, and the sides that do it."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.sizes import Corpus

TRANSSHIP: Final = shlex.quote(str(Path(sys.executable).with_name("transship")))
"""The command of this interpreter's installation."""
SKOPEO: Final = "skopeo --insecure-policy"
COPY: Final = f"{SKOPEO} copy -q --src-tls-verify=false"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one command runs: its own empty folder, the registry's ``host:port`` and data folder, the local corpora."""

    folder: Path
    registry: str
    data: Path
    local: Path
    bundle: Path


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do a scenario's work.

    ``script`` writes what the commands need into the folder and returns them; ``program`` must be on PATH,
    and ``command`` be known to this version of transship.
    """

    name: str
    script: Callable[[Place], str]
    program: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Work that is measured: transship first, then peers.

    ``images`` counts the images of one round. ``counted`` asks for an untimed round against the registry
    that logs. With ``again`` the sides run once untimed, and then in the same folder.
    """

    name: str
    title: str
    sides: tuple[Side, ...]
    corpora: frozenset[Corpus]
    images: int = 1
    counted: bool = True
    again: bool = False
    max_rounds: int = 100
    note: str = ""


def write_batch(folder: Path, registry: str, images: list[str], **defaults: object) -> str:
    """Write the batch of ``images`` of a registry into a folder, and return its name."""
    batch = {
        "version": 1,
        "name": "bench",
        "defaults": defaults,
        "images": [{"from": f"docker://{registry}/{name}"} for name in images],
        "registries": {registry: {"tls-verify": False}},
    }
    (folder / "batch.json").write_text(json.dumps(batch))
    return "batch.json"


def real_names(count: int) -> list[str]:
    """Return the names of the realistic images in the registry."""
    return [f"real/app{n}:v1" for n in range(count)]
