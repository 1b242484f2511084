"""The state of one admission: usage, turns and reservations. Each admitted job changes it."""

from __future__ import annotations

from jobs.admission.limits.lanes import Facts
from jobs.admission.limits.reservations import Reservations
from jobs.admission.limits.snapshot import LaneHead, Snapshot
from jobs.admission.limits.turns import Turns
from jobs.admission.limits.usage import Usage


class Tally:
    """A snapshot, counted."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.usage = Usage(snapshot)
        self.turns = Turns(snapshot)
        self.reservations = Reservations(snapshot, self.turns)
        for lane in snapshot.in_flight:
            self.usage.count(lane.facts, lane.pool, lane.number)
            if lane.pool == snapshot.pool.name:
                self._add(lane.facts, lane.number, lane.newest, lane.ends)

    def take(self, head: LaneHead) -> None:
        """Count one more job of this lane as in flight."""
        facts, now = head.facts, self.snapshot.now
        self.usage.count(facts, self.snapshot.pool.name, 1)
        self._add(facts, 1, now, (now + facts.longest,) if facts.longest else ())
        self.usage.start(facts)
        self.turns.last_served[facts.tenant] = now
        self.reservations.drop(head)

    def _add(self, facts: Facts, number: int, newest: float, ends: tuple[float, ...]) -> None:
        self.usage.add(facts, number)
        self.turns.add(facts, number, newest)
        self.reservations.add(facts, number, ends)
