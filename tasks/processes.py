"""One run on several cores: processes that draw images from one share and tell the first what came of each.

Python runs one thread at a time; of an image with small layers nearly all the work is Python's.
The first process only watches. If it dies the others end at once, and what one that dies had
begun is left undone, for the first to do.
"""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from typing import Final, TypeAlias

from transship.pipeline.digest import Digest
from transship.pipeline.errors import Error
from transship.pipeline.manifest.descriptor import Descriptor
from transship.pipeline.manifest.document import Object
from transship.tasks.share import Share

_FLUSH_SECONDS: Final = 0.1
_END_SECONDS: Final = 2.5
_SIGNALS: Final = frozenset({signal.SIGINT, signal.SIGTERM})


@dataclass(slots=True)
class Events:
    """What one process tells since it last did: bytes by blob, deliveries settled, tasks that failed, tasks run.

    ``error`` is what ended it before its time; ``unkept`` are reasons that the disk had no room for, by key.
    """

    bytes: dict[Digest, tuple[Descriptor, int]] = field(default_factory=dict)
    settled: list[tuple[str, bool]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ran: int = 0
    error: str = ""
    unkept: dict[str, Object] = field(default_factory=dict)


class Teller:
    """Collects the events of this process, from any thread, and sends them ten times a second."""

    def __init__(self, sender: "Connection[Events, None]") -> None:
        self._sender = sender
        self._lock = threading.Lock()
        self._events = Events()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def bytes(self, blob: Descriptor, count: int) -> None:
        """``count`` more bytes of ``blob`` have arrived."""
        with self._lock:
            _, before = self._events.bytes.get(blob.digest, (blob, 0))
            self._events.bytes[blob.digest] = (blob, before + count)

    def settled(self, key: str, verified: bool) -> None:
        """A delivery is settled."""
        with self._lock:
            self._events.settled.append((key, verified))

    def ended(self, task_id: str, done: bool) -> None:
        """A task has ended, done or not."""
        with self._lock:
            self._events.ran += 1
            if not done:
                self._events.failed.append(task_id)

    def unkept(self, key: str, error: Object) -> None:
        """Why an image or delivery failed could not be written down."""
        with self._lock:
            self._events.unkept[key] = error

    def broke(self, error: Error) -> None:
        """This process gives up."""
        with self._lock:
            self._events.error = str(error)

    def close(self) -> None:
        """Send what is left."""
        self._done.set()
        self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._done.wait(_FLUSH_SECONDS):
            self.flush()

    def flush(self) -> None:
        """Send what there is."""
        with self._lock:
            events, self._events = self._events, Events()
        if events != Events():
            self._sender.send(events)


Work: TypeAlias = Callable[[Iterator[int], Teller], None]
"""Does the units drawn, all of them before it returns."""


def fan_out(
    count: int, processes: int, work: Work, on_events: Callable[[Events], bool], stop: Callable[[], None] = lambda: None
) -> None:
    """Let ``processes`` forks do ``work`` on the units 0 to ``count``; return when all have ended.

    ``on_events`` hears what each tells, in this thread; once it returns False no further unit is begun.
    ``stop`` is called in a fork that ends before its time, as this process did or was interrupted.

    Raises:
        KeyboardInterrupt: the forks have ended then, in the middle of what they did.
    """
    context = get_context("fork")
    lifeline, hold = os.pipe()
    # Objects that live till the end are not looked at by the forks' collectors, which would copy their pages.
    gc.collect()
    gc.freeze()
    receivers: list[Connection[None, Events]] = []
    children = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    share = Share(count)
    try:
        for _ in range(processes):
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_live, args=(share, sender, lifeline, hold, work), kwargs={"stop": stop})
            child.start()
            sender.close()
            receivers.append(receiver)
            children.append(child)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _listen(receivers, share, on_events)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(hold)
        for child in children:
            child.join(_END_SECONDS)
            child.kill()
            child.join()
        os.close(lifeline)
        share.close()
        gc.unfreeze()


def _listen(receivers: "list[Connection[None, Events]]", share: Share, on_events: Callable[[Events], bool]) -> None:
    while receivers:
        ready = connection.wait(receivers)
        for receiver in [one for one in receivers if one in ready]:
            try:
                events = receiver.recv()
            except EOFError:
                receivers.remove(receiver)
                continue
            if not on_events(events):
                share.end()


def _live(
    share: Share,
    sender: "Connection[Events, None]",
    lifeline: int,
    hold: int,
    work: Work,
    *,
    stop: Callable[[], None],
) -> None:
    """The life of one fork."""
    for number in _SIGNALS:
        # The first process hears them too, and ends. Not SIG_IGN, which programs begun from here would inherit.
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.close(hold)
    threading.Thread(target=_die_with, args=(lifeline, stop), daemon=True).start()
    teller = Teller(sender)
    try:
        work(share.draw(), teller)
    except Error as error:
        teller.broke(error)
    teller.close()
    # Not by the interpreter's end, which would run what the first process has registered for its own.
    os._exit(0)


def _die_with(lifeline: int, stop: Callable[[], None]) -> None:
    # Nothing is ever written to it: it ends as the first process ends, however that does.
    os.read(lifeline, 1)
    try:
        stop()
    finally:
        os._exit(1)
