"""The scheduler of a run on one machine: what Luigi's Worker asks of one, at constant cost a call.

Luigi's own ``Scheduler.get_work`` looks at every task it knows for each task it hands out;
here a task is known only from the time it is added until its dependants have started.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from luigi.scheduler import WORKER_STATE_ACTIVE
from luigi.task_status import DONE, PENDING


class WindowScheduler:
    """Hands out tasks whose dependencies are done, deepest first, so that an image ends before the next begins."""

    def __init__(self) -> None:
        self._waits: dict[str, set[str]] = {}
        self._dependants: dict[str, list[str]] = {}
        self._ready: deque[str] = deque()

    def add_task(self, *, task_id: str, status: str, deps: Iterable[str] | None = None, **_: Any) -> None:
        """Take a task as Luigi's worker announces it: pending with its dependencies, done, or failed.

        A dependency must be announced before its dependant, unless it is done. A failed task takes
        those that wait for it with it.
        """
        if status == PENDING:
            self._add(task_id, deps or ())
        elif status == DONE:
            self._finish(task_id)
        else:
            self._drop(task_id)

    def get_work(self, **_: Any) -> dict[str, Any]:
        """Return the next task in the form that Luigi's worker reads, ``task_id`` None where none is ready."""
        return {
            "task_id": self._ready.pop() if self._ready else None,
            "running_tasks": [],
            "n_pending_tasks": len(self._waits),
            "n_unique_pending": len(self._waits),
            "worker_state": WORKER_STATE_ACTIVE,
        }

    def add_worker(self, *_: Any, **__: Any) -> None:
        """Take note of nothing: there is one worker."""

    def ping(self, **_: Any) -> dict[str, Any]:
        """Answer the worker's sign of life."""
        return {"rpc_messages": []}

    def knows(self, task_id: str) -> bool:
        """Say whether a task was added and is neither done nor failed."""
        return task_id in self._waits

    def _add(self, task_id: str, deps: Iterable[str]) -> None:
        if self.knows(task_id):
            return
        waits = {dep for dep in deps if self.knows(dep)}
        self._waits[task_id] = waits
        for dep in waits:
            self._dependants.setdefault(dep, []).append(task_id)
        if not waits:
            # Behind all others: an image begun is ended first, and none waits for ever.
            self._ready.appendleft(task_id)

    def _finish(self, task_id: str) -> None:
        self._waits.pop(task_id, None)
        for dependant in self._dependants.pop(task_id, ()):
            waits = self._waits.get(dependant)
            if waits is not None:
                waits.discard(task_id)
                if not waits:
                    self._ready.append(dependant)

    def _drop(self, task_id: str) -> None:
        self._waits.pop(task_id, None)
        for dependant in self._dependants.pop(task_id, ()):
            self._drop(dependant)
