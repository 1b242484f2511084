"""The steward: does what time or death causes, in one process at a time.

`Steward.tick()` is called about once a second by the process that hosts one (a worker's feeder, the ASGI process,
`manage.py jobs_steward`). It holds or takes the lease, and runs the chores that are due: the table is in `chores`.
"""

from __future__ import annotations

import logging
from uuid import UUID, uuid4

from django.db import Error, InterfaceError, OperationalError, connections

from jobs.core.conf import settings
from jobs.maintenance import chores, leader
from jobs.maintenance.dead_workers import Watch
from jobs.maintenance.scores import Scoring
from jobs.maintenance.task_hooks import Round

logger = logging.getLogger(__name__)


class Steward:
    """One candidate for the office. Not shared between threads."""

    def __init__(self, label: str) -> None:
        self.id: UUID = uuid4()
        self.label = label
        self.is_leader = False
        self._blind = False
        self._watch = Watch()
        self._scoring = Scoring()
        self._chores = chores.table(self._watch, Round(), self._scoring)

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
        for chore in self._chores:
            _do(chore)
        return True

    def _lose_sight(self, error: Error) -> None:
        if not self._blind:
            logger.warning("steward: the database does not answer; heartbeats are observed from the start: %s", error)
        self._blind = True
        self._forget()
        connections[settings.DATABASE].close()

    def _forget(self) -> None:
        self.is_leader = False
        self._watch.forget()
        self._scoring.forget()
        for chore in self._chores:
            chore.forget()


def _do(chore: chores.Chore) -> None:
    """Run one chore. An error in it (one row can cause one) must not keep the others from running."""
    try:
        chore.run()
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        logger.exception("steward: the chore %r failed, the others go on", chore.name)
