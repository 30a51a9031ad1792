"""How Luigi is driven: a worker that runs tasks on threads and knows only a window of the batch.

Luigi's own worker forks a process a task, which shares no connection and no cache, and adds the
whole batch to its scheduler before it runs anything.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import luigi
from luigi.task import Task
from luigi.task_register import Register
from luigi.task_status import DONE, FAILED, PENDING
from luigi.worker import Worker

from transship.pipeline.disk import at_disk
from transship.tasks.scheduler import WindowScheduler

OnEnd: TypeAlias = Callable[[Task, BaseException | None], None]
"""Hears of each task that has ended, and what it raised if it failed."""

_POLL: Final = 0.2
_MOST_PARKED: Final = 256
_SEMAPHORES: Final = Path("/dev/shm")  # noqa: S108 - nothing is made there by its name
_thread = threading.local()


def park() -> None:
    """Say that the task of this thread only waits from here on, for a write that it shares with others.

    Its place is given to another task; of no effect in a thread that is not the engine's.
    """
    parked: Callable[[], None] = getattr(_thread, "park", _stay)
    parked()


def _stay() -> None:
    """Park nothing: this thread is not the engine's."""


class ThreadWorker(Worker):
    """Luigi's worker, with threads for processes and a window for the batch.

    A root that fails takes its dependants with it and no other root.
    """

    def __init__(
        self,
        scheduler: Any,
        roots: Iterable[Task],
        threads: int,
        on_end: OnEnd,
        *,
        fail_fast: bool,
        failed: Iterable[str],
    ) -> None:
        super().__init__(scheduler=scheduler, worker_processes=threads)  # type: ignore[no-untyped-call]
        self._roots: Iterator[Task] = iter(roots)
        self._threads = threads
        self._on_end = on_end
        self._fail_fast = fail_fast
        self._changed = threading.Condition(threading.RLock())
        """Guards all that follows, and the scheduler; told when the batch has ended or the engine is broken."""
        self._broken: BaseException | None = None
        self._parked: set[str] = set()
        self._open_roots: set[str] = set()
        self._waiting: dict[str, list[Task]] = {}
        self._failed: set[str] = set(failed)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Begin no further task; those that run go on."""
        self._stopped.set()

    def run(self) -> bool:
        """Run the batch; return whether every task that was needed succeeded."""
        self.run_succeeded = True
        self._add_worker()
        self._pool = pool = ThreadPoolExecutor(self._threads + _MOST_PARKED, "task")
        try:
            with self._changed:
                try:
                    self._fill()
                    # A bounded wait lets the main thread hear of signals.
                    while self._running_tasks and self._broken is None:
                        self._changed.wait(_POLL)
                finally:
                    self.stop()
            if self._broken is not None:
                raise self._broken
        finally:
            # After an interrupt the caller ends the process; it shall not wait for a slow registry.
            pool.shutdown(wait=False, cancel_futures=True)
            # Luigi's worker would end what it takes for child processes.
            self._running_tasks.clear()
        return bool(self.run_succeeded)

    def _fill(self) -> None:
        """Give a thread to each task that is ready, as far as there are places; the lock is held."""
        while task := self._next():
            self._pool.submit(self._perform, task)

    def _next(self) -> Task | None:
        """Return a task that now counts as running, or None where none is ready or all places are taken."""
        if self._stopped.is_set():
            return None
        self._top_up()
        if len(self._running_tasks) - len(self._parked) >= self._threads:
            return None
        task_id = self._get_work().task_id
        if task_id is None:
            return None
        task: Task = self._scheduled_tasks[task_id]
        self._running_tasks[task_id] = task
        return task

    def _top_up(self) -> None:
        while len(self._open_roots) < self._threads + len(self._parked) and len(self._parked) < _MOST_PARKED:
            root = next(self._roots, None)
            if root is None:
                return
            if self._announce(root) and root.task_id not in self._failed:
                self._open_roots.add(root.task_id)

    def _announce(self, task: Task) -> bool:
        """Add a task after what it requires; return whether it is still to be done."""
        if task.task_id in self._scheduled_tasks or task.task_id in self._failed:
            return True
        if task.complete():
            return False
        open_deps = [dep for dep in task.deps() if self._announce(dep)]
        if any(dep.task_id in self._failed for dep in open_deps):
            self._failed.add(task.task_id)
            self._on_end(task, None)
            self.run_succeeded = False
            return True
        self._scheduled_tasks[task.task_id] = task
        self._tell(task, PENDING, [dep.task_id for dep in open_deps])
        for dep in open_deps:
            self._waiting.setdefault(dep.task_id, []).append(task)
        return True

    def _perform(self, task: Task | None) -> None:
        """Run a task, and then what it made ready: handing that to another thread costs more than many a task."""
        while task is not None:
            error: BaseException | None = None
            _thread.park = partial(self._park, task.task_id)
            try:
                task.trigger_event(luigi.Event.START, task)
                task.run()
                task.trigger_event(luigi.Event.SUCCESS, task)
            except BaseException as raised:
                error = raised
                task.trigger_event(luigi.Event.FAILURE, task, raised)
            task = self._after(task, error)

    def _after(self, task: Task, error: BaseException | None) -> Task | None:
        """Settle a task that has ended; return the next one for its thread."""
        with self._changed:
            try:
                self._finish(task, error)
                following = self._next()
                self._fill()
            except BaseException as raised:
                following, self._broken = None, raised
            if not self._running_tasks or self._broken is not None:
                self._changed.notify()
            return following

    def _park(self, task_id: str) -> None:
        with self._changed:
            self._parked.add(task_id)
            self._fill()

    def _finish(self, task: Task, error: BaseException | None) -> None:
        self._running_tasks.pop(task.task_id, None)
        self._parked.discard(task.task_id)
        self._tell(task, DONE if error is None else FAILED, None)
        self._forget(task)
        self._on_end(task, error)
        waiting = self._waiting.pop(task.task_id, [])
        if error is not None:
            self.run_succeeded = False
            self._fail(task, waiting)
            if self._fail_fast:
                self.stop()

    def _fail(self, task: Task, waiting: list[Task]) -> None:
        self._failed.add(task.task_id)
        for dependant in waiting:
            if dependant.task_id in self._scheduled_tasks:
                self._forget(dependant)
                self._on_end(dependant, None)
                self._fail(dependant, self._waiting.pop(dependant.task_id, []))

    def _forget(self, task: Task) -> None:
        self._scheduled_tasks.pop(task.task_id, None)
        self._open_roots.discard(task.task_id)

    def _tell(self, task: Task, status: str, deps: list[str] | None) -> None:
        # Not by Luigi's _add_task, which keeps every call it makes for a summary that nobody prints here.
        self._scheduler.add_task(
            worker=self._id,
            task_id=task.task_id,
            status=status,
            deps=deps,
            runnable=status == PENDING,
            family=task.task_family,
            module=task.task_module,
        )


class _Factory:
    """What `luigi.build` asks for its scheduler and its worker."""

    def __init__(self, make: Callable[[Any], ThreadWorker]) -> None:
        self._make = make
        self.worker: ThreadWorker | None = None

    def create_local_scheduler(self) -> WindowScheduler:
        """Return the scheduler of this process."""
        return WindowScheduler()

    def create_worker(self, scheduler: Any, worker_processes: int, assistant: bool = False) -> ThreadWorker:
        """Return the one worker."""
        # Luigi's worker has a queue for processes, which are semaphores: files of a few bytes.
        with at_disk(_SEMAPHORES):
            self.worker = self._make(scheduler)
        return self.worker


def drive(
    roots: Iterable[Task], threads: int, on_end: OnEnd, *, fail_fast: bool = False, failed: Iterable[str] = ()
) -> bool:
    """Run ``roots`` and all they require on ``threads`` threads; return whether all succeeded.

    ``failed`` are ids of tasks that have failed before and are not tried again. Roots are drawn as
    threads fall free, so memory and cost do not grow with their number.
    A KeyboardInterrupt stops at once and is raised again.
    """
    # Luigi keeps every task ever made, for the sake of forked workers.
    Register.disable_instance_cache()

    def make(scheduler: Any) -> ThreadWorker:
        return ThreadWorker(scheduler, roots, threads, on_end, fail_fast=fail_fast, failed=failed)

    factory = _Factory(make)
    luigi.build([], worker_scheduler_factory=factory, local_scheduler=True, no_lock=True, log_level="ERROR")
    return factory.worker is not None and bool(factory.worker.run_succeeded)
