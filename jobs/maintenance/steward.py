"""The steward: does what time or death causes, in one process at a time.

`Steward.tick()` is called about once a second by whoever hosts one (a worker's feeder, the ASGI process,
`manage.py jobs_steward`). It holds or takes the lease, and does what is due. Every chore moves jobs by compare-and-set,
so two stewards at once are harmless.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

from django.db import Error, InterfaceError, OperationalError, connections

from jobs.admission import passes, pools
from jobs.control import tasks
from jobs.core.conf import settings
from jobs.maintenance import (
    counters,
    drift,
    expiry,
    leader,
    lost_messages,
    promoter,
    pruner,
    republisher,
    timeouts,
    unknown_tasks,
)
from jobs.maintenance.dead_workers import Watch
from jobs.maintenance.scores import Scoring
from jobs.maintenance.task_hooks import Round
from jobs.workflows import fallbacks

logger = logging.getLogger(__name__)


RECONCILING = 10  # ticks from one reconciliation to the next
CLEANING = 0.2  # seconds of each tick that retention may take
LONGEST = 0.5  # seconds of each tick for what may concern a million jobs at once: the dead must be seen meanwhile


class Steward:
    """One candidate for the office. Not shared between threads."""

    def __init__(self, label: str) -> None:
        self.id: UUID = uuid4()
        self.label = label
        self.is_leader = False
        self._blind = False
        self._watch = Watch()
        self._round = Round()
        self._scoring = Scoring()
        self._pruned_at = time.monotonic()
        self._reconciled_at = time.monotonic()
        self._cleaning: Iterator[Counter[str]] | None = None
        self._deleted: Counter[str] = Counter()

    def tick(self) -> bool:
        """Hold the lease and do what is due; False when another is the steward, or the database is away."""
        try:
            led = self._tick()
        except Error as error:
            self._lose_sight(error)
            return False
        self._blind = False
        return led

    def resign(self) -> None:
        """Give the lease back, so that the next one need not wait for its end."""
        if not self.is_leader:
            return
        self._forget()
        try:
            leader.resign(self.id)
        except Error as error:
            self._lose_sight(error)

    def _tick(self) -> bool:
        led = self.is_leader
        self.is_leader = leader.elect(self.id, self.label)
        if not self.is_leader:
            self._forget()
            return False
        if not led:
            logger.info("steward: %s leads", self.label)
            self._watch.forget()
        for chore in self._chores():
            _do(chore)
        return True

    def _chores(self) -> list[Callable[[], object]]:
        chores: list[Callable[[], object]] = [
            _expire,
            _promote,
            self._watch.run,
            timeouts.give_up,
            unknown_tasks.give_up,
            fallbacks.submit_due,
            lost_messages.release,
            republisher.publish,
            pools.restore,
            tasks.release_queued,
            self._round.run,
            passes.admit_everywhere,
            self._scoring.run,
        ]
        if time.monotonic() - self._reconciled_at >= RECONCILING * settings.TICK:
            self._reconciled_at = time.monotonic()
            chores.append(drift.reconcile)
        if self._cleaning is not None:
            chores.append(self._clean)
        elif time.monotonic() - self._pruned_at >= settings.CLEANUP_INTERVAL:
            self._pruned_at, self._deleted, self._cleaning = time.monotonic(), Counter(), pruner.steps()
            chores += [self._clean, pruner.forget_rates, pruner.forget_turns, pruner.forget_workers]
            chores.append(drift.cancel_what_was_asked)
        return chores

    def _clean(self) -> None:
        """Go on with the retention for a moment: the other chores must not wait for its end."""
        until = time.monotonic() + CLEANING
        while self._cleaning is not None and time.monotonic() < until:
            gone = next(self._cleaning, None)
            if gone is None:
                self._end_cleaning()
            else:
                self._deleted += gone

    def _end_cleaning(self) -> None:
        counters.pruned(self._deleted)
        self._cleaning, self._deleted = None, Counter()

    def _lose_sight(self, error: Error) -> None:
        if not self._blind:
            logger.warning("steward: the database does not answer, observation starts anew: %s", error)
        self._blind = True
        self._forget()
        connections[settings.DATABASE].close()

    def _forget(self) -> None:
        self.is_leader = False
        self._watch.forget()
        self._scoring.forget()
        self._end_cleaning()


def _expire() -> None:
    """Chore: fail what has expired, the longest overdue first; the next tick goes on."""
    _for_a_moment(expiry.steps())


def _promote() -> None:
    """Chore: what is due may run; the next tick goes on."""
    _for_a_moment(promoter.steps())


def _for_a_moment(steps: Iterator[int]) -> None:
    until = time.monotonic() + LONGEST
    for _ in steps:
        if time.monotonic() >= until:
            return


def _do(chore: Callable[[], object]) -> None:
    """One chore. What goes wrong with it (a single row may do that) must not keep the others from being done."""
    try:
        chore()
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("steward: a chore went wrong, the others go on: %r", chore)
