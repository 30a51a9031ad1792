"""A real registry with the images of the bundle's acceptance, and the bundles that are made of it."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.bundle_corpus import COUNT, FULL, blobs_of, bundle_corpus, name_of
from support.command import command
from support.corpus import Sample, push
from support.disk_peak import allocated, disk_peak
from support.engines import spent, timed
from support.registry_server import RegistryServer, running

FORMS = {"b.tar": (), "s.tar": ("--split", "150M" if FULL else "2M"), "z.tar.zst": ()}
"""The names of the bundles, and the words that make them what they are."""


@dataclass(frozen=True)
class World:
    """A registry of the images, and a folder with batch, lock and in ``folder/<form>`` the bundle of that form."""

    registry: RegistryServer
    folder: Path
    peaks: dict[str, float] = field(default_factory=dict)
    """What the making of each form took of the disk at most, as a part of what bundle and store take."""

    def bundle(self, form: str) -> Path:
        return self.folder / form / form

    def name(self, image: Sample) -> str:
        return f"{self.registry.name}/{name_of(image)}"

    @property
    def lock(self) -> Path:
        return self.folder / "batch.lock.json"


@contextmanager
def bundle_world(folder: Path) -> Iterator[World]:
    """Push the images, lock a batch of all of them, and make a bundle of each form."""
    with running(folder / "registry") as registry:
        for image in bundle_corpus():
            push(registry.name, image)
        batch = {
            "version": 1,
            "defaults": {"platforms": "all"},
            "images": [{"from": f"docker://{registry.name}/{name_of(image)}"} for image in bundle_corpus()],
            "registries": {registry.name: {"tls-verify": False}},
        }
        (folder / "batch.json").write_text(json.dumps(batch))
        done(folder, "lock", "batch.json", "-o", "batch.lock.json")
        world = World(registry, folder)
        print(f"\n{COUNT} images of {sum(blobs_of(bundle_corpus()).values()) / 1e6:.1f} MB in all")
        for form in FORMS:
            world.peaks[form] = _make(world, form)
        yield world
        print(f"\n{spent()}")


def _make(world: World, form: str) -> float:
    place = world.folder / form
    place.mkdir()
    with disk_peak(place) as peak:
        done(place, *create(world.folder / "batch.json", form))
    (store,) = place.glob("runs/*/blobs")
    kept = allocated(store) + sum(path.stat().st_blocks * 512 for path in files_of(world.bundle(form)))
    print(f"{form}: bundle and store {kept / 1e6:.1f} MB, at most {peak.bytes / 1e6:.1f} MB ({peak.samples} samples)")
    return peak.bytes / kept


def done(folder: Path, *words: str) -> str:
    """Run the command, which must succeed; return what it prints."""
    with timed(f"transship {' '.join(words[:2])}"):
        ended = command(folder, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def create(source: Path, form: str) -> tuple[str, ...]:
    return ("bundle", "create", str(source), "-o", form, "--progress", "none", "--runs", "runs", *FORMS[form])


def files_of(bundle: Path) -> list[Path]:
    return sorted(path for path in bundle.parent.glob(f"{bundle.name}*"))


def volumes_of(bundle: Path) -> list[Path]:
    return [path for path in files_of(bundle) if path.suffix != ".sums"]


def sums(bundle: Path) -> dict[str, str]:
    found = {}
    for path in files_of(bundle):
        with path.open("rb") as stream:
            found[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return found


def digests(bundle: Path) -> dict[str, str]:
    """Return what bundle.json says that the images are."""
    with tarfile.open(bundle) as archive:
        stream = archive.extractfile("bundle.json")
        assert stream is not None
        return {image["name"]: image["digest"] for image in json.load(stream)["images"]}
