"""A run on several machines: segments of it as Luigi tasks, handed out by one luigid.

Each machine announces the same segments of the same plan; luigid gives each to one worker, and to
another where that one dies. What a segment is made of is run where it was given, without luigid:
a call costs it about as much as a task does, and one a segment is few.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import luigi
from luigi.configuration import get_config
from luigi.rpc import RemoteScheduler, RPCError
from luigi.scheduler import UPSTREAM_FAILED
from luigi.task import Task
from luigi.task_status import PENDING
from luigi.worker import Worker

from transship.pipeline.errors import TransportError, shown
from transship.pipeline.jobs import Plan
from transship.pipeline.report import CHECKPOINTS, ERROR
from transship.tasks.delivery import VerifyDigests
from transship.tasks.gauge import Gauge, Message, Percent
from transship.tasks.units import Unit, units
from transship.tasks.workspace import Workspace

_FEW: Final = 60
_MANY: Final = 1000
"""Segments of a small and of a huge run: enough to share evenly, and not so many that luigid, which looks at all
that it knows for each that it gives out, becomes what all wait for.
"""
_UNITS: Final = 50
_ROUNDS_WITHOUT_PROGRESS: Final = 3
_SETTINGS: Final = {"keep_alive": "true", "wait_interval": "1", "wait_jitter": "1", "send_failure_email": "false"}
_PATIENT_TRIES: Final = 150
"""Every two seconds: luigid may be restarted in the middle of a night's run."""

OnTask: TypeAlias = Callable[[str, bool], None]
"""Hears of each task that ended: its id, and whether it is done."""
Drive: TypeAlias = Callable[[Iterable[Task], OnTask], bool]
"""Runs tasks and all they require in this process; returns whether all succeeded."""


@dataclass(slots=True)
class _Team:
    """What the segments of this process work with; they hold only keys, as every task does."""

    units: list[Unit]
    drive: Drive


_teams: dict[str, _Team] = {}


class _Part(luigi.Task):
    """Part of a run. ``run`` names it on every machine, wherever that machine has the run folder."""

    run_name: str = luigi.Parameter()
    run_dir: str = luigi.Parameter(significant=False)

    def work(self) -> Iterator[Task]:
        """Yield the tasks that this part is made of."""
        raise NotImplementedError

    def complete(self) -> bool:
        """Say whether all its work is done; a checkpoint of any machine counts."""
        return all(task.complete() for task in self.work())

    def hopeful(self) -> bool:
        """Say whether something of it is neither done nor known to fail."""
        return any(not task.complete() and not _failed(self.run_dir, task) for task in self.work())

    def run(self) -> None:
        """Do what is left of the part, here.

        Raises:
            TransportError: some of it failed; the rest is done. What and why is in the run folder.
        """
        left = [task for task in self.work() if not task.complete()]
        last = {task.task_id for task in left}
        # Luigi's worker has set both before it calls this.
        percent, message = cast("Percent", self.set_progress_percentage), cast("Message", self.set_status_message)
        with Gauge(len(left), percent, message) as gauge:
            done = _teams[self.run_dir].drive(left, lambda task, done: gauge.count(done) if task in last else None)
        if not done:
            failed = sum(not task.complete() for task in left)
            raise TransportError(f"{failed} of {len(left)} deliveries failed", advice="see transship report")


def _failed(run_dir: str, task: Task) -> bool:
    workspace = Workspace.of(run_dir)
    key = getattr(task, "delivery", "") or getattr(task, "image", "")
    delivery = workspace.plan.deliveries.get(key)
    keys = [key, *(member.image for member in delivery.members)] if delivery else [key]
    return any((workspace.root / CHECKPOINTS / one / ERROR).exists() for one in keys)


class Segment(_Part):
    """The images ``first`` to ``last`` of a run, counted from 1, to all places that are their own."""

    first: int = luigi.IntParameter()
    last: int = luigi.IntParameter()

    def work(self) -> Iterator[Task]:
        """Yield the last tasks of its images."""
        for unit in _teams[self.run_dir].units[self.first - 1 : self.last]:
            yield from unit.tasks(self.run_dir)


class Archive(_Part):
    """One destination of several images, written once all of them are there."""

    delivery: str = luigi.Parameter()

    def requires(self) -> list[Segment]:
        """The segments that its images are in."""
        team = _teams[self.run_dir]
        images = {member.image for member in Workspace.of(self.run_dir).plan.deliveries[self.delivery].members}
        places = [place for place, unit in enumerate(team.units, start=1) if unit.image in images]
        found = segments(self.run_name, self.run_dir)
        return [one for one in found if any(one.first <= place <= one.last for place in places)]

    def hopeful(self) -> bool:
        """Say whether it is still to be written, and all its images are there."""
        return super().hopeful() and all(segment.complete() for segment in self.requires())

    def work(self) -> Iterator[Task]:
        """Yield the last task of the archive."""
        yield VerifyDigests(run_dir=self.run_dir, delivery=self.delivery)


def segments(run_name: str, run_dir: str) -> list[Segment]:
    """Return the segments of a run that this process has opened; the same plan gives the same ones."""
    count = len(_teams[run_dir].units)
    size = max(1, min(_UNITS, count // _FEW), -(-count // _MANY))
    return [
        Segment(run_name=run_name, run_dir=run_dir, first=first, last=min(first + size - 1, count))
        for first in range(1, count + 1, size)
    ]


def parts(run_name: str, run_dir: str, plan: Plan) -> list[_Part]:
    """Return all segments, then the archives that several of them feed."""
    shared = [key for key, delivery in plan.deliveries.items() if len(delivery.members) > 1]
    archives = [Archive(run_name=run_name, run_dir=run_dir, delivery=key) for key in shared]
    return [*segments(run_name, run_dir), *archives]


class _TeamWorker(Worker):
    """Luigi's worker, which stays as long as another may still fail or die, and no longer."""

    run_name = ""

    def _keep_alive(self, get_work_response: Any) -> bool:
        # Failed tasks count as pending there, and nobody waits for luigid to try them again. To ask for a list
        # makes it look for workers that are gone, too, which of itself it does once a minute.
        search = f"run_name={self.run_name}"
        pending, stuck = (self._scheduler.task_list(PENDING, status, search=search) for status in ("", UPSTREAM_FAILED))
        return len(pending) > len(stuck) or bool(get_work_response.running_tasks)


class _Luigid(RemoteScheduler):
    """luigid, asked again where it does not answer."""

    def __init__(self, url: str, tries: int) -> None:
        super().__init__(url)  # type: ignore[no-untyped-call]
        self._rpc_retry_attempts = tries
        self._rpc_retry_wait = 2
        self._rpc_log_retries = False


class _Factory:
    def __init__(self, url: str, run_name: str) -> None:
        self._url = url
        self._run_name = run_name

    def create_remote_scheduler(self, url: str) -> _Luigid:
        """Return luigid."""
        return _Luigid(self._url, _PATIENT_TRIES)

    def create_worker(self, scheduler: Any, worker_processes: int, assistant: bool = False) -> _TeamWorker:
        """Return this process's worker."""
        worker = _TeamWorker(scheduler=scheduler, worker_processes=1, assistant=assistant)
        worker.run_name = self._run_name
        return worker


def reach(url: str) -> None:
    """Ask the luigid at ``url`` for a sign of life.

    Raises:
        TransportError: it gives none.
    """
    try:
        _Luigid(url, 2)._request("/api/has_task_history", {})
    except RPCError as error:
        raise TransportError(f"no luigid answers at {shown(url)}", advice="start one with: luigid") from error


def share(workspace: Workspace, run_name: str, url: str, drive: Drive) -> None:
    """Work on the run of ``workspace`` with all who ask the luigid at ``url``, until nothing of it is left to do.

    Raises:
        TransportError: luigid cannot be reached for five minutes.
    """
    for name, value in _SETTINGS.items():
        get_config().set("worker", name, value)
    run_dir = str(workspace.root)
    _teams[run_dir] = _Team(units(workspace.plan, workspace.plan.deliveries), drive)
    everything = parts(run_name, run_dir, workspace.plan)
    idle, left = 0, 0
    while idle < _ROUNDS_WITHOUT_PROGRESS:
        try:
            # Its log has a traceback for each failure; what failed and why is in the run folder.
            luigi.build(
                everything,
                worker_scheduler_factory=_Factory(url, run_name),
                scheduler_url=url,
                no_lock=True,
                log_level="CRITICAL",
            )
        except RPCError as error:
            raise TransportError(f"luigid at {shown(url)} is gone", advice="start it, and run again") from error
        before, left = left, sum(part.hopeful() for part in everything)
        if not left:
            return
        # Told again: what a machine had that died, which luigid has for failed, and all to a luigid that forgot.
        idle = idle + 1 if left == before else 0
        time.sleep(idle)
