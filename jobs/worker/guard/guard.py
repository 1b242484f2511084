"""The guard's thread. Celery's event loop never waits for it, nor for its database."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

from billiard.common import TERM_SIGNAL
from celery.concurrency.prefork import TaskPool
from celery.worker import state
from django.db import Error, connections

from jobs.client.task import JobTask
from jobs.core.conf import settings
from jobs.execution.termination import INTERRUPTED, Termination, end_attempt, stronger
from jobs.worker.feeder import Feeder
from jobs.worker.fork_safety import Statements
from jobs.worker.guard import descendants, terminations
from jobs.worker.guard.kill import is_dead, stop, wait_for_death
from jobs.worker.guard.rules import verdict_on
from jobs.worker.guard.running import Holder, holders

logger = logging.getLogger(__name__)

LOOK_EVERY = 0.5  # seconds
TERM = signal.Signals(TERM_SIGNAL)  # under REMAP_SIGTERM a child ignores the real one
TERM_WITHIN = 2.0  # seconds between TERM, which lets `finally` run, and KILL; a shutdown leaves the job's grace


def can_stop(pool: Any) -> bool:
    """Whether a pool's code can be stopped from outside: only processes can."""
    return isinstance(pool, TaskPool)


def children(pool: Any) -> list[int]:
    """The processes of a pool; [] of one that has none, or none any more."""
    workers = getattr(getattr(pool, "_pool", None), "_pool", None) or []
    return [process.pid for process in list(workers) if process.pid]


class Guard:
    """Looks twice a second at what the pool's processes run, as long as Celery says that they run anything."""

    def __init__(self, controller: Any, feeder: Feeder) -> None:
        self._controller = controller
        self._feeder = feeder
        self._ending = threading.Event()
        self._statements = Statements()
        self._thread = threading.Thread(target=self._run, name="jobs-guard", daemon=True)

    def start(self) -> None:
        """Begin to look, where there is anything that can be stopped."""
        if can_stop(self._controller.pool):
            self._statements.watch_forks()
            self._thread.start()

    def stop(self) -> None:
        """The worker has ended: whatever its processes still held was interrupted by that."""
        if not self._thread.is_alive():
            return
        self._ending.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ending.wait(LOOK_EVERY):
            self._guarded(descendants.bury)
            self._guarded(self._look)
        self._guarded(self._close)
        self._guarded(descendants.bury)
        connections[settings.DATABASE].close()

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except Error as error:
            logger.warning("guard: the database does not answer: %s", error)
            connections[settings.DATABASE].close()
        except Exception:
            logger.exception("guard: went wrong, and goes on")

    def _look(self) -> None:
        if terminations.is_empty() and not state.active_requests:
            return
        held = self._holders()
        terminations.forget_old({holder.attempt_id for holder in held})
        for holder in held:
            self._judge(holder, children(self._controller.pool))

    def _judge(self, holder: Holder, pids: Collection[int]) -> None:
        verdict = stronger(terminations.verdict_on(holder.attempt_id), verdict_on(holder))
        if verdict is None:
            return
        if holder.pid not in pids or is_dead(holder.pid):
            self._name(holder, verdict)
            return
        number = _next_signal(holder, verdict)
        if number is not None:
            self._stop(holder, verdict, pids, number)

    def _stop(self, holder: Holder, verdict: Termination, pids: Collection[int], number: signal.Signals) -> None:
        """The verdict is written down first: Celery may hear of the death before this thread goes on."""
        before, is_struck = terminations.entry(holder.attempt_id), False
        terminations.pronounce(holder.attempt_id, verdict, is_told=True)
        try:
            is_struck = stop(holder, pids, number, self._reread)
        finally:
            if not is_struck:
                terminations.withdraw(holder.attempt_id, before)
        if is_struck and number == signal.SIGKILL and wait_for_death(holder.pid):
            self._name(holder, verdict)

    def _name(self, holder: Holder, verdict: Termination) -> None:
        """Take the edge, its process being dead; then its slot is free."""
        descendants.bury()
        with self._statements.own():
            moved = end_attempt(holder.pair, verdict, str(self._controller.hostname))
        for one in moved:
            logger.warning("guard: job %s, %s: %s", one.id, one.edge, verdict.why)
        self._feeder.ring()

    def _close(self) -> None:
        """The last word: no process of the pool outlives this, and what one still held is named."""
        for holder in self._holders():
            if stop(holder, children(self._controller.pool), signal.SIGKILL, self._reread):
                wait_for_death(holder.pid)
            if is_dead(holder.pid):
                found = stronger(terminations.verdict_on(holder.attempt_id), verdict_on(holder))
                self._name(holder, found or INTERRUPTED)

    def _holders(self) -> list[Holder]:
        boot_id = JobTask.worker_id
        with self._statements.own():
            return [] if boot_id is None else holders(boot_id)

    def _reread(self, attempt_id: UUID) -> Holder | None:
        return next((holder for holder in self._holders() if holder.attempt_id == attempt_id), None)


def _next_signal(holder: Holder, verdict: Termination) -> signal.Signals | None:
    """TERM where the body may clean up, KILL where it may not, or has had its time; None while it has."""
    entry = terminations.entry(holder.attempt_id)
    told_at = entry.told_at if entry else None
    if told_at is None:
        return TERM if verdict.is_gentle else signal.SIGKILL
    patience = holder.grace if verdict.edge == "interrupt" else TERM_WITHIN
    is_patient = verdict.is_gentle and time.monotonic() - told_at < patience
    return None if is_patient else signal.SIGKILL
