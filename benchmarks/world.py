"""Where the commands run: a registry that holds the corpora, and local files, made once per folder."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from benchmarks import corpora
from benchmarks.bundle_files import write_bundle
from benchmarks.registry_files import place
from benchmarks.scenario import real_names
from benchmarks.sizes import Corpus, Sizes
from support.registry_server import RegistryServer, running

_BATCH: Final = 250
_PROCESSES: Final = 2


@dataclass(frozen=True, slots=True)
class World:
    """Two registries over the same data: one is quiet, one writes a line per request."""

    quiet: RegistryServer
    logged: RegistryServer
    data: Path
    local: Path
    bundle: Path
    scratch: Path


@contextmanager
def built(folder: Path, sizes: Sizes, wanted: set[Corpus], say: Callable[[str], None]) -> Iterator[World]:
    """Make the corpora that ``folder`` lacks, serve them on loopback, stop on exit.

    Raises:
        ValueError: ``folder`` holds corpora of other sizes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _same_sizes(folder, sizes)
    # With the corpora kept, what an earlier benchmark wrote is not.
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    local, scratch, quiet, logged = (folder / name for name in ("local", "scratch", "registry", "logged"))
    for path in (quiet / "data", logged):
        path.mkdir(parents=True, exist_ok=True)
    if not (logged / "data").exists():
        (logged / "data").symlink_to(quiet / "data")
    with ExitStack() as stack:
        world = World(
            stack.enter_context(running(quiet)),
            stack.enter_context(running(logged, access_log=True)),
            quiet / "data",
            local,
            folder / "bundle",
            scratch,
        )
        # A bundle is made of what is in the registry by then.
        for name in sorted(wanted, key=lambda name: (name == "bundle", name)):
            done = folder / f"{name}.made"
            if not done.exists():
                say(f"making corpus: {name}")
                if name == "bundle":
                    write_bundle(world.bundle, world.quiet.name, real_names(sizes.real))
                else:
                    _make(name, world.data, local, sizes)
                done.touch()
        yield world


def _same_sizes(folder: Path, sizes: Sizes) -> None:
    record = folder / "sizes.json"
    wanted = json.dumps(asdict(sizes))
    if not record.exists():
        record.write_text(wanted)
    elif record.read_text() != wanted:
        raise ValueError(f"{folder}: holds corpora of other sizes; remove it or name another folder")


def _make(name: Corpus, data: Path, local: Path, sizes: Sizes) -> None:
    """Make one corpus in processes of their own: this one stays small while it measures."""
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        if name == "tiny":
            starts = range(0, sizes.tiny_images, _BATCH)
            parts = [pool.submit(_place_tiny, data, start, min(start + _BATCH, sizes.tiny_images)) for start in starts]
        elif name == "real":
            parts = [pool.submit(_place_real, data, sizes)]
        elif name == "large":
            parts = [pool.submit(_place_large, data, sizes)]
        else:
            shutil.rmtree(local, ignore_errors=True)
            parts = [pool.submit(corpora.write_local, local, sizes.single)]
        for part in parts:
            part.result()


def _place_tiny(data: Path, first: int, last: int) -> None:
    for image in corpora.tiny(first, last):
        place(data, image)


def _place_real(data: Path, sizes: Sizes) -> None:
    for image in corpora.real(sizes.real, sizes.real_layer):
        place(data, image)


def _place_large(data: Path, sizes: Sizes) -> None:
    place(data, corpora.large(sizes.blob))
