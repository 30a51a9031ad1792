"""Podman as a program: the stable way into a containers-storage, whose files have locks and drivers of their own."""

import io
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from transship.pipeline.disk import at_disk
from transship.pipeline.errors import ConflictError, NotFoundError, TransientError, TransportError, shown
from transship.pipeline.reference import Reference, StorageLocation, StorageReference
from transship.pipeline.trust.policy_file import Policy

_ASK_SECONDS: Final = 120.0
_MOVE_SECONDS: Final = 3 * 3600.0
_IMAGE_ID: Final = re.compile(r"[0-9a-f]{64}")


class Podman:
    """Podman on one storage. Safe across threads: Podman locks its storage itself."""

    def __init__(self, store: StorageLocation) -> None:
        """Find the program.

        Raises:
            TransportError: Podman is not installed.
        """
        self._store = store
        program = shutil.which("podman")
        if program is None:
            raise TransportError(
                "containers-storage: podman is not installed, or not in PATH",
                advice="install podman: images are read and written by it",
            )
        self._words = [program, *_places(store)]

    def image_id(self, reference: StorageReference) -> str:
        """Return the whole ID of the image that the reference names.

        Raises:
            NotFoundError: there is none.
            TransportError: Podman failed.
        """
        named = reference.image_id or _findable(reference)
        done = self._run("image", "exists", named)
        if done.returncode == 1:
            raise NotFoundError(f"{reference}: no such image", advice="see podman images")
        self._succeeded(done, str(reference))
        done = self._run("image", "inspect", "--format", "{{.ID}}", named)
        return self._id(self._succeeded(done, str(reference)), str(reference))

    def save(self, image_id: str) -> io.FileIO:
        """Return a docker archive of one image, an open file without a name.

        It is the form in which Podman keeps every byte of the config; its OCI forms write a Docker config anew.

        Raises:
            TransportError: Podman failed, or the disk refused.
        """
        with at_disk(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="transship-") as folder:
            path = f"{folder}/saved.tar"
            done = self._run(
                *("image", "save", "--quiet", "--format", "docker-archive", "--output", path, image_id),
                seconds=_MOVE_SECONDS,
            )
            self._succeeded(done, f"image {image_id}")
            return io.FileIO(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def load(self, folder: Path) -> str:
        """Load the image of a ``dir:`` folder, manifest as it is, without a name; return its ID.

        Raises:
            TransportError: Podman failed.
        """
        done = self._run("image", "load", "--quiet", "--input", str(folder), seconds=_MOVE_SECONDS)
        return self._id(self._succeeded(done, "load"), "load")

    def tag(self, image_id: str, name: str) -> None:
        """Give an image a name, which another image may lose by it.

        Raises:
            TransportError: Podman failed.
        """
        self._succeeded(self._run("image", "tag", image_id, name), name)

    def names(self, image_id: str) -> list[str]:
        """Return the names, each with a tag, that an image has.

        Raises:
            TransportError: Podman failed.
        """
        done = self._run("image", "inspect", "--format", "{{range .RepoTags}}{{println .}}{{end}}", image_id)
        return self._succeeded(done, image_id).stdout.decode("utf-8", "replace").split()

    def delete(self, image_id: str) -> None:
        """Remove an image with all its names; what other images are made of stays.

        Raises:
            ConflictError: a container is made of it; all is as it was.
            TransportError: Podman failed; the image has the names that it had.
        """
        done = self._run("ps", "--all", "--external", "--no-trunc", "--format", "{{.ImageID}} {{.ID}}")
        containers = [line.split() for line in self._succeeded(done, "ps").stdout.decode().splitlines()]
        users = [found[-1] for found in containers if found[:1] == [image_id]]
        if users:
            raise ConflictError(f"image {image_id}: container {users[0]} is made of it", advice="podman rm that first")
        names = self.names(image_id)
        # By its ID, Podman removes an image of one name at most, or by force, containers and all.
        if len(names) > 1:
            self._succeeded(self._run("image", "untag", image_id), image_id)
        try:
            self._succeeded(self._run("image", "rm", "--no-prune", image_id), image_id)
        except TransportError:
            for name in names:
                self.tag(image_id, name)
            raise

    def place(self) -> tuple[str, str]:
        """Return the driver and the root of the storage; raises as `image_id`."""
        done = self._run("info", "--format", "{{.Store.GraphDriverName}} {{.Store.GraphRoot}}")
        driver, _, root = self._succeeded(done, "storage").stdout.decode("utf-8", "replace").strip().partition(" ")
        return driver, root

    def check(self) -> None:
        """Raise `TransportError` where Podman cannot open the storage."""
        self._succeeded(self._run("image", "exists", "0" * 64), "storage", good=(0, 1))

    def _run(self, *words: str, seconds: float = _ASK_SECONDS) -> "subprocess.CompletedProcess[bytes]":
        try:
            return subprocess.run(  # noqa: S603 # no shell; the words that the user chose stand after options
                [*self._words, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"podman {words[1]}: no end after {seconds:.0f} s") from error
        except OSError as error:
            raise TransportError(f"podman: {error.strerror}") from error

    def _succeeded(
        self, done: "subprocess.CompletedProcess[bytes]", what: str, good: tuple[int, ...] = (0,)
    ) -> "subprocess.CompletedProcess[bytes]":
        if done.returncode not in good:
            lines = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
            said = next((line for line in reversed(lines) if line.startswith("Error: ")), (lines or ["no reason"])[-1])
            where = f" {self._store}" if any(self._store) else ""
            raise TransportError(f"podman{where}: {what}: {shown(said.removeprefix('Error: '), 400)}")
        return done

    def _id(self, done: "subprocess.CompletedProcess[bytes]", what: str) -> str:
        found = _IMAGE_ID.findall(done.stdout.decode("utf-8", "replace"))
        if len(found) != 1:
            raise TransportError(f"podman: {what}: said no image ID, but {shown(str(done.stdout[:200]))}")
        return str(found[0])


def storage_of(reference: Reference, policy: Policy) -> tuple[str, str]:
    """Return driver and root of the storage of an image, where a policy has scopes there; else nothing.

    Raises:
        TransportError: Podman failed, or is not installed.
    """
    if not isinstance(reference, StorageReference) or not any(policy.transports.get(reference.transport, {})):
        return "", ""
    return Podman(reference.store).place()


def _places(store: StorageLocation) -> list[str]:
    """Return the store as options that stand before any command."""
    said = (("--storage-driver", store.driver), ("--root", store.root), ("--runroot", store.run_root))
    words = [word for option, value in said if value for word in (option, value)]
    return [*words, *(word for option in store.options for word in ("--storage-opt", option))]


def _findable(reference: StorageReference) -> str:
    """Return the name without the tag where there is a digest too: Podman takes one of them."""
    named = reference.named
    return f"{named.name}@{named.digest}" if named and named.digest else reference.name
