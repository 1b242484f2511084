"""The table of the steward's chores: what is done, how often, and for how long at a time.

A chore is a function of its own module. It moves jobs by compare-and-set, so two stewards at once are harmless. It does
one batch, or goes on in steps while its time box lasts: no chore may keep the others waiting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from jobs.admission import passes, pools
from jobs.control import tasks
from jobs.core.conf import settings
from jobs.maintenance import (
    drift,
    expiry,
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

RECONCILING = 10  # ticks from one reconciliation to the next
CLEANING = 0.2  # seconds of each tick that retention may take
LONGEST = 0.5  # seconds of each tick for what may concern a million jobs: dead workers must be found in time


@dataclass
class Chore:
    """One line of the table, and how far this steward is with it.

    `cadence` gives the seconds from one start to the next; 0: each tick. With a `time_box` (seconds of one tick) the
    function is a generator of steps, which the next ticks continue until its end; without one, it does a batch.
    """

    name: str
    function: Callable[[], Any]
    cadence: Callable[[], float] = lambda: 0.0
    time_box: float | None = None
    _started_at: float = field(init=False, repr=False)
    _steps: Generator[object, None, None] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._started_at = time.monotonic()

    def run(self) -> None:
        """Go on with its steps, or start it if it is due. Steps that end early leave their tick to a new start."""
        until = time.monotonic() + (self.time_box or 0)
        self._go_on(until)
        if self._steps is not None or time.monotonic() - self._started_at < self.cadence():
            return
        self._started_at = time.monotonic()
        started = self.function()
        if self.time_box is not None:
            self._steps = started
            self._go_on(until)

    def forget(self) -> None:
        """Break off: another steward does it from now on."""
        if self._steps is not None:
            self._steps.close()
            self._steps = None

    def _go_on(self, until: float) -> None:
        steps, self._steps = self._steps, None  # a step that raises ends the run
        for _ in steps or ():
            if time.monotonic() >= until:
                self._steps = steps
                return


def table(watch: Watch, hooks: Round, scoring: Scoring) -> tuple[Chore, ...]:
    """All chores, in the order in which a tick does them. The three that remember what they saw belong to a steward."""
    return (
        Chore("fail expired jobs", expiry.steps, time_box=LONGEST),
        Chore("promote due jobs", promoter.steps, time_box=LONGEST),
        Chore("rescue jobs of dead workers", watch.run),
        Chore("fail jobs past their time-out", timeouts.give_up),
        Chore("fail jobs of unknown tasks", unknown_tasks.give_up),
        Chore("submit fallbacks", fallbacks.submit_due),
        Chore("release jobs whose message is lost", lost_messages.release),
        Chore("publish what was not sent", republisher.publish),
        Chore("restore pools with jobs", pools.restore),
        Chore("hold jobs of paused tasks", tasks.release_queued),
        Chore("request task hooks", hooks.run),
        Chore("admit", passes.admit_everywhere),
        Chore("score attempts", scoring.run),
        Chore("repair drift", drift.reconcile, cadence=lambda: RECONCILING * settings.TICK),
        Chore("delete old jobs", pruner.run, cadence=_cleanup_interval, time_box=CLEANING),
        Chore("delete rates at rest", pruner.forget_rates, cadence=_cleanup_interval),
        Chore("delete turns of old", pruner.forget_turns, cadence=_cleanup_interval),
        Chore("delete dead workers", pruner.forget_workers, cadence=_cleanup_interval),
        Chore("repeat cancel requests", drift.cancel_what_was_asked, cadence=_cleanup_interval),
    )


def _cleanup_interval() -> float:
    return settings.CLEANUP_INTERVAL
