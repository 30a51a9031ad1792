"""Checkpoints: the Luigi targets of the six tasks, one small JSON file each.

Not fsynced one by one: a task makes its data durable before it writes its checkpoint, so a
checkpoint lost or torn by a power cut repeats work and never claims any. `Workspace.sync`
makes all of them durable before a run says that it is done.
"""

import json
import os
from contextlib import suppress
from typing import Final, TypeAlias

import luigi

from transship import schemas
from transship.pipeline.disk import disk_error
from transship.pipeline.manifest.document import MAX_DOCUMENT, Object, load

Result: TypeAlias = Object
_MAX_KEPT: Final = 512


class CheckpointTarget(luigi.Target):
    """The checkpoint file of one task; unreadable, malformed or of another task counts as absent."""

    def __init__(self, path: str, task: str, kept: "dict[str, Result]") -> None:
        self.path = path
        self._task = task
        self._kept = kept

    def exists(self) -> bool:
        """Say whether the task is done."""
        return self.read() is not None

    def read(self) -> Result | None:
        """Return the result that the task left, None where there is none that can be trusted."""
        if self.path in self._kept:
            return self._kept[self.path]
        try:
            with open(self.path, "rb") as stream:
                document = load(stream.read(MAX_DOCUMENT + 1), self.path)
            schemas.validate("checkpoint", document, self.path)
        except Exception:
            return None
        result = document["result"]
        if document["task"] != self._task or not isinstance(result, dict):
            return None
        self._keep(result)
        return result

    def write(self, result: Result, seconds: float) -> None:
        """Write the checkpoint, whole or not at all; the data that it vouches for must be durable already.

        Raises:
            TransportError: the disk refused.
        """
        document = {"version": 1, "task": self._task, "seconds": round(seconds, 6), "result": result}
        folder, name = os.path.split(self.path)
        scratch = f"{folder}/.{name}.partial"
        raw = json.dumps(document, ensure_ascii=False).encode()
        try:
            try:
                _write(scratch, raw)
            except FileNotFoundError:
                os.makedirs(folder, exist_ok=True)
                _write(scratch, raw)
            os.rename(scratch, self.path)
        except OSError as error:
            raise disk_error(self.path, error) from error
        self._keep(result)

    def remove(self) -> None:
        """Forget what was done; idempotent."""
        self._kept.pop(self.path, None)
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _keep(self, result: Result) -> None:
        while len(self._kept) >= _MAX_KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[self.path] = result


def _write(path: str, raw: bytes) -> None:
    with open(path, "wb", buffering=0) as stream:
        stream.write(raw)
