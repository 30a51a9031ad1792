"""Bundles for tests: layouts of small images, a batch file over them, and the command that makes a bundle of it."""

import json
from collections.abc import Mapping
from pathlib import Path

from support.command import command
from support.images import ImageBytes, make_base, make_image, make_multi, write_layout

BASE = make_base("bundle", layer_size=3000)
IMAGES: dict[str, ImageBytes] = {
    "team/app:v1": make_image("app", docker=False, layers=1, base_layers=BASE, layer_size=9000),
    "team/web:v2": make_image("web", docker=False, layers=1, base_layers=BASE, layer_size=5000),
    "tool:latest": make_multi("tool", docker=False, layers=1, layer_size=1500),
}


def write_batch(folder: Path, images: Mapping[str, ImageBytes], **said: object) -> Path:
    """Write a layout of ``images`` and a batch file over it; the file is returned."""
    write_layout(folder / "from", images)
    entries = [{"from": f"oci:from:{name}", **said} for name in images]
    path = folder / "week.json"
    path.write_text(json.dumps({"version": 1, "images": entries}))
    return path


def create(batch: Path, output: Path, *words: str) -> str:
    """Make the bundle, and return what was printed."""
    done = command(batch.parent, "bundle", "create", batch.name, "-o", str(output), "--progress", "none", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_of(output: Path) -> dict[str, bytes]:
    """Return the files of a bundle, its checksums too, by name."""
    return {path.name: path.read_bytes() for path in sorted(output.parent.glob(f"{output.name}*"))}
