"""The feeder: a process beside a worker that admits and publishes as slots become free, and stands for steward.

Forked from the worker's main process before that has threads or a pool: no import to pay for, no lock to inherit, and
Celery's event loop, which is the bottleneck of a worker, never waits for the database. The process that finishes a
job in this worker writes a byte into its pipe; a submit elsewhere notifies it through the database.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, NoReturn

from django.db import Error, connections

from jobs.admission import limits, passes, publishing
from jobs.admission.wakeup import own_feeder
from jobs.client.task import JobTask
from jobs.core.conf import settings
from jobs.maintenance.steward import Steward
from jobs.worker.listener import Ear

logger = logging.getLogger(__name__)

STOP_WITHIN = 3.0  # seconds for a last word; a database that hangs must not keep the worker from its end
DEAF_FOR = (0.005, 0.1)  # seconds, the first time and at most: see `Patience`
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class Feeder:
    """The worker's side of the feeder: starts it, rings it, starts it again should it die.

    `set_up_logs` makes the process write what the worker writes: it is forked before Celery has seen to that.
    """

    def __init__(self, label: str, set_up_logs: Callable[[], object]) -> None:
        self.label = label
        self.set_up_logs = set_up_logs
        self.pid = 0
        self._is_own = ExitStack()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def start(self) -> None:
        """Fork it. This process, and every process forked from here on, wakes this feeder."""
        self._declare()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._live(parent)

    def _declare(self) -> None:
        self._is_own.close()
        self._is_own.enter_context(own_feeder.woken_by(self.ring))

    def _live(self, parent: int) -> NoReturn:
        """The feeder's whole life, in the forked process; never returns into the worker's code."""
        try:
            self.set_up_logs()
            _prepare(parent)
            loop(self._read, lambda: os.getppid() == parent, Steward(self.label), Ear(JobTask.worker_id))
        except SystemExit as end:
            logger.info("the feeder of %s ends: %s", self.label, end.code or "told to")
        except BaseException:
            logger.exception("the feeder of %s ends", self.label)
        finally:
            logging.shutdown()
            os._exit(0)

    def ring(self) -> None:
        """Say that a slot is free or a job is waiting. Never waits: a full pipe says it already."""
        try:
            os.write(self._write, b"x")
        except OSError:
            logger.debug("the feeder's pipe is full or closed")

    def is_alive(self) -> bool:
        """Whether it runs; a dead one is reaped."""
        try:
            return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
        except ChildProcessError:
            return False

    def stop(self) -> None:
        """End it, by force where it hangs in a call; what it has committed stands, the rest is another's work."""
        if not self.is_alive():
            return
        os.kill(self.pid, signal.SIGTERM)
        kill_at = time.monotonic() + STOP_WITHIN
        while self.is_alive():
            if time.monotonic() >= kill_at:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                return
            time.sleep(0.02)


def _prepare(parent: int) -> None:
    own_feeder.wake = None
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, b"jobs-feeder")  # what `ps` and `top` show beside the pool's children
    for connection in connections.all(initialized_only=True):
        connection.connection = None  # the parent's: neither used nor closed here
    gc.freeze()  # what came with the fork stays; to look through it again would cost each admission
    if os.getppid() != parent:
        raise SystemExit("the worker is gone")


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def loop(pipe: int, goes_on: Callable[[], bool], steward: Steward, ear: Ear) -> None:
    """Feed when the bell rings or the ear hears of new jobs, and let the steward tick, for as long as it goes on."""
    next_tick, patience = 0.0, Patience()
    with limits.lookahead.watched(), publishing.marked_later() as mark:
        try:
            while goes_on():
                rung = _rung(pipe, ear, patience, min(next_tick - time.monotonic(), _until_open()))
                if rung and settings.LOOK_AHEAD:
                    _wait_for_more(pipe)
                _guarded(_feed, rung, ear, patience)
                if time.monotonic() >= next_tick:
                    _guarded(mark)
                    steward.tick()
                    next_tick = time.monotonic() + min(settings.TICK, max(settings.PUBLISH_AFTER / 2, 0.1))
        finally:
            _guarded(mark)
            steward.resign()


class Patience:
    """How long the ear is not minded after it brought nothing: a full pool must not be looked at for every submit.

    A slot that becomes free rings the bell, which is always minded.
    """

    def __init__(self) -> None:
        self._pause = self._until = 0.0

    @property
    def left(self) -> float:
        """Seconds until the ear is minded again; 0 when it is."""
        return max(0.0, self._until - time.monotonic())

    def looked(self, *, for_nothing: bool) -> None:
        """What the ear said was followed: wait longer each time that jobs wait and none could be admitted."""
        self._pause = min(max(2 * self._pause, DEAF_FOR[0]), DEAF_FOR[1]) if for_nothing else 0.0
        self._until = time.monotonic() + self._pause


def _rung(pipe: int, ear: Ear, patience: Patience, seconds: float) -> bool:
    """Wait for the bell or the ear; whether it was the bell, with one answer for however often it rang."""
    deaf_for = patience.left
    heard_from = [] if deaf_for or ear.socket is None else [ear.socket]
    seconds = min(seconds, deaf_for) if deaf_for else 0.0 if ear.has_heard else seconds
    ready, _, _ = select.select([pipe, *heard_from], [], [], max(0.0, seconds))
    if pipe in ready:
        os.read(pipe, 65536)
    return pipe in ready


def _wait_for_more(pipe: int) -> None:
    """Let the next slot become free, too: jobs admitted ahead run until then, and each pass costs."""
    time.sleep(limits.lookahead.pause())
    with suppress(BlockingIOError):
        os.read(pipe, 65536)


def _until_open() -> float:
    """Seconds until a rate lets a job start that this process has seen waiting for it."""
    seconds = passes.seconds_until_open()
    return math.inf if seconds is None else seconds


def _feed(rung: bool, ear: Ear, patience: Patience) -> None:
    began = ear.attend()
    if rung or began:
        ear.heard()  # the look at everything comes after what it said
        passes.admit_everywhere()
    elif not patience.left and (pools := ear.heard()):
        admitted = sum(map(passes.admit, pools))
        patience.looked(for_nothing=not admitted and any(map(limits.has_pending, pools)))
    passes.admit_opened()


def _guarded(act: Callable[..., None], *args: Any) -> None:
    try:
        act(*args)
    except Error as error:
        logger.warning("feeder: the database does not answer: %s", error)
        connections[settings.DATABASE].close()
        time.sleep(settings.TICK)
