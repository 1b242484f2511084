"""Chore: find workers that are dead, fence them, take their jobs back.

A steward declares a worker dead only if it watched the heartbeat stand still for STALE_AFTER, without an error or a
pause of its own. An outage of the database, a pause of this process or an election starts the observation again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from jobs.core.conf import settings
from jobs.execution import heartbeats
from jobs.execution.rescue import attempts_of_the_fenced, rescue
from jobs.maintenance.counters import repaired

BATCH = 500


class Watch:
    """What one steward has seen of the workers' heartbeats. Ages are by this process's clock, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[UUID, tuple[datetime, float]] = {}
        self._looked_at = 0.0

    def forget(self) -> None:
        """Start the observation again."""
        self._seen = {}

    def run(self) -> int:
        """Look, fence who is stale, rescue what the fenced were running; returns how many jobs moved."""
        for boot_id, beat_seen in self._stale():
            heartbeats.fence(boot_id, beat_seen)
        pairs = attempts_of_the_fenced(BATCH)
        return repaired("worker_dead", len(rescue(pairs, "its worker was declared dead or had ended", "steward")))

    def _stale(self) -> list[tuple[UUID, datetime]]:
        now = self._clock()
        if now - self._looked_at > self._longest_gap():
            self.forget()
        self._looked_at = now
        beats = heartbeats.heartbeats()
        self._seen = {
            boot_id: seen if (seen := self._seen.get(boot_id)) and seen[0] == beat else (beat, now)
            for boot_id, beat in beats
        }
        return [(boot_id, beat) for boot_id, (beat, since) in self._seen.items() if now - since > settings.STALE_AFTER]

    @staticmethod
    def _longest_gap() -> float:
        """Seconds between two looks after which this process must have been stopped or stuck itself."""
        return max(5 * settings.TICK, settings.HEARTBEAT)
