"""The engine: dependencies hold, failures stay local, cost and memory do not grow with the batch."""

import threading

import luigi
import pytest
from luigi.task_status import DONE, FAILED, PENDING

from transship.tasks.engine import drive, park
from transship.tasks.scheduler import WindowScheduler

DONE_STEPS: set[tuple[str, int]] = set()
ORDER: list[tuple[str, int]] = []
PEAK: list[int] = []


class _Memory(luigi.Target):
    def __init__(self, key):
        self.key = key

    def exists(self):
        return self.key in DONE_STEPS


class Step(luigi.Task):
    image = luigi.Parameter()
    number = luigi.IntParameter()
    fails_at = luigi.IntParameter(default=-1)

    def requires(self):
        return Step(image=self.image, number=self.number - 1, fails_at=self.fails_at) if self.number else []

    def output(self):
        return _Memory((self.image, self.number))

    def run(self):
        assert not self.number or (self.image, self.number - 1) in DONE_STEPS, "ran before what it requires"
        PEAK.append(threading.active_count())
        if self.number == self.fails_at:
            raise RuntimeError("as told")
        ORDER.append((self.image, self.number))
        DONE_STEPS.add((self.image, self.number))


class Pair(luigi.Task):
    left = luigi.Parameter()
    right = luigi.Parameter()

    def requires(self):
        return [Step(image=self.left, number=2), Step(image=self.right, number=2, fails_at=1)]

    def output(self):
        return _Memory((self.left + self.right, 9))

    def run(self):
        DONE_STEPS.add((self.left + self.right, 9))


@pytest.fixture(autouse=True)
def _clean():
    DONE_STEPS.clear()
    ORDER.clear()
    PEAK.clear()


def ended(roots, threads=4, **options):
    seen = []
    succeeded = drive(roots, threads, lambda task, error: seen.append((task, error)), **options)
    return succeeded, seen


@pytest.mark.parametrize("threads", [1, 4])
def test_every_step_runs_once_after_what_it_requires(threads):
    succeeded, seen = ended((Step(image=f"i{n}", number=5) for n in range(50)), threads)
    assert succeeded
    assert len(ORDER) == len(set(ORDER)) == len(seen) == 300


def test_what_is_done_is_not_run_again():
    DONE_STEPS.update({("a", 3), ("b", 5)})
    succeeded, _ = ended([Step(image="a", number=5), Step(image="b", number=5)])
    assert succeeded
    assert ORDER == [("a", 4), ("a", 5)]


def test_a_failure_takes_its_dependants_and_no_other_image():
    roots = [Step(image=f"i{n}", number=5, fails_at=2 if n == 7 else -1) for n in range(20)]
    succeeded, seen = ended(roots)
    assert not succeeded
    assert {image for image, number in DONE_STEPS if number == 5} == {f"i{n}" for n in range(20)} - {"i7"}
    assert [str(error) for _, error in seen if error] == ["as told"]
    assert sorted(task.number for task, error in seen if task.image == "i7") == [0, 1, 2, 3, 4, 5]


def test_a_task_with_one_failed_requirement_is_settled_as_not_done():
    succeeded, seen = ended([Pair(left="l", right="r"), Step(image="r", number=2, fails_at=1)])
    assert not succeeded
    assert ("l", 2) in DONE_STEPS
    assert ("lr", 9) not in DONE_STEPS
    assert [type(task).__name__ for task, error in seen if error] == ["Step"]
    assert sum(isinstance(task, Pair) for task, _ in seen) == 1


def test_fail_fast_begins_nothing_after_the_first_failure():
    roots = [Step(image=f"i{n}", number=3, fails_at=0 if n == 0 else -1) for n in range(100)]
    succeeded, _ = ended(roots, threads=1, fail_fast=True)
    assert not succeeded
    assert len(ORDER) < 20


def test_roots_are_drawn_only_as_threads_fall_free():
    drawn = []

    def roots():
        for n in range(200):
            drawn.append(len({image for image, number in DONE_STEPS if number == 5}))
            yield Step(image=f"i{n}", number=5)

    ended(roots(), threads=2)
    assert all(position - done <= 4 for position, done in enumerate(drawn))


def test_the_steps_of_an_image_follow_each_other_in_one_thread():
    threads = {}

    class Placed(Step):
        def requires(self):
            return Placed(image=self.image, number=self.number - 1) if self.number else []

        def run(self):
            threads.setdefault(self.image, set()).add(threading.get_ident())
            super().run()

    succeeded, _ = ended((Placed(image=f"i{n}", number=5) for n in range(50)), threads=4)
    assert succeeded
    assert [len(used) for used in threads.values()] == [1] * 50


def test_a_parked_task_gives_its_place_to_another_and_ends_after_it():
    other_done = threading.Event()

    class Waits(Step):
        def run(self):
            park()
            assert other_done.wait(20), "no place was given away"
            super().run()

    class Frees(Step):
        def run(self):
            super().run()
            other_done.set()

    succeeded, _ = ended([Waits(image="waits", number=0), Frees(image="frees", number=0)], threads=1)
    assert succeeded
    assert ORDER == [("frees", 0), ("waits", 0)]


@pytest.mark.parametrize("threads", [1, 4])
def test_what_cannot_be_told_of_a_task_ends_the_run_with_that_error(threads):
    def broken(_task, _error):
        raise ConnectionError("nobody listens")

    with pytest.raises(ConnectionError, match="nobody listens"):
        drive((Step(image=f"i{n}", number=5) for n in range(20)), threads, broken)
    assert len(ORDER) <= 2 * threads


def test_a_step_that_is_ready_but_not_begun_still_holds_its_dependants_back():
    scheduler = WindowScheduler()
    scheduler.add_task(task_id="a", status=PENDING)
    scheduler.add_task(task_id="b", status=PENDING, deps=["a"])
    assert scheduler.get_work()["task_id"] == "a"
    assert scheduler.get_work()["task_id"] is None
    scheduler.add_task(task_id="a", status=DONE)
    assert scheduler.get_work()["task_id"] == "b"
    scheduler.add_task(task_id="b", status=FAILED)
    assert scheduler.get_work()["n_pending_tasks"] == 0


def test_an_interrupt_is_raised_at_once_while_tasks_still_run():
    release = threading.Event()

    class Slow(Step):
        def run(self):
            release.wait(20)

    def roots():
        yield Slow(image="slow", number=0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ended(roots(), threads=2)
    release.set()
