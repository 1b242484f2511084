"""Sends a signal to the process that holds an attempt: to exactly that one, or to none.

The chosen process may have started another job before the signal arrives. So it is frozen first, then the rows are read
once more, and only a process that still holds the attempt gets the signal; any other goes on. A process frozen between
claim and end holds no lock of Celery's pool: it writes into the pool's pipes before the claim and after the end.
"""

from __future__ import annotations

import functools
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Self
from uuid import UUID

import psutil

from jobs.worker import sampler
from jobs.worker.guard import descendants
from jobs.worker.guard.running import Holder

logger = logging.getLogger(__name__)

FROZEN_AT_MOST = 2.0  # seconds; a database that hangs must not keep a process frozen
_SLACK = 1.0  # seconds between a process's age by the kernel and its attempt's by the database
_DRIFT = 0.01  # of the attempt's age, for two clocks that do not run alike
_DEAD_WITHIN = 1.0
_GOES_ON = {psutil.STATUS_RUNNING, psutil.STATUS_SLEEPING, psutil.STATUS_DISK_SLEEP, psutil.STATUS_IDLE}


def stop(
    holder: Holder, children: Collection[int], number: signal.Signals, reread: Callable[[UUID], Holder | None]
) -> bool:
    """Send TERM or KILL to the child that holds an attempt; False where it holds it no more, and nothing was done.

    `reread` says who holds the attempt now.
    """
    try:
        process = psutil.Process(holder.pid)
        if holder.pid not in children or not _is_it(process, holder):
            return False
        with _Frozen(process) as frozen:
            still = reread(holder.attempt_id)
            return still is not None and still.pid == holder.pid and frozen.strike(number)
    except psutil.NoSuchProcess:
        return False


def is_dead(pid: int) -> bool:
    """Whether a process is no more, or only waits to be buried by its parent."""
    try:
        return descendants.is_dead(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return True


def wait_for_death(pid: int) -> bool:
    """Whether a process that was killed is dead, after a moment at most."""
    until = time.monotonic() + _DEAD_WITHIN
    while not is_dead(pid):
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


def _is_it(process: psutil.Process, holder: Holder) -> bool:
    """Whether this is the process in which the attempt began, by its own word, or as its age leaves no doubt."""
    if sampler.is_running(holder.attempt_id, holder.pid) or _is_old_enough(process, holder):
        return True
    _say_once(holder.pid, holder.attempt_id)
    return False


def _is_old_enough(process: psutil.Process, holder: Holder) -> bool:
    """A process that started after the attempt is another one with the same number."""
    return time.time() - process.create_time() >= holder.elapsed * (1 - _DRIFT) - _SLACK


@functools.lru_cache(maxsize=256)
def _say_once(pid: int, attempt_id: UUID) -> None:
    """The guard comes by twice a second."""
    logger.warning("guard: process %d is younger than attempt %s, and is not touched", pid, attempt_id)


class _Frozen:
    """A process that stands still for the time of the block, though not for ever: then it is let go, and left alone."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._is_let_go = False
        self._timer = threading.Timer(FROZEN_AT_MOST, self._let_go)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._process.suspend()
        self._timer.start()
        while self._process.status() in _GOES_ON and not self._is_let_go:
            time.sleep(0.0005)  # the signal takes its time to a process that is on another core
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._let_go()

    def strike(self, number: signal.Signals) -> bool:
        """Signal it while it stands still, so that what it has started until now is known."""
        with self._lock:
            if self._is_let_go:
                logger.warning("guard: process %d was not judged in time, and goes on", self._process.pid)
                return False
            descendants.remember(self._process.pid)
            self._process.send_signal(number)
        return True

    def _let_go(self) -> None:
        with self._lock, suppress(psutil.NoSuchProcess):
            self._is_let_go = True
            self._process.resume()
