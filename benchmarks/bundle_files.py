"""A bundle of realistic images, and the layout in it unpacked, for what reads bundles and what cannot."""

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from benchmarks.scenario import TRANSSHIP, write_batch

NAME: Final = "bundle.tar"
LAYOUT: Final = "layout"


def write_bundle(folder: Path, registry: str, images: list[str]) -> None:
    """Make `NAME`, its checksums and `LAYOUT` in ``folder``, of ``images`` out of a registry.

    Raises:
        subprocess.CalledProcessError: this version of transship makes no bundles, or failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    batch = write_batch(folder, registry, images)
    script = f"{TRANSSHIP} bundle create {batch} -o {NAME} --progress none"
    subprocess.run(["/bin/sh", "-c", script], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(folder / "runs")
    with tarfile.open(folder / NAME) as archive:
        archive.extractall(folder / LAYOUT, filter="data")
