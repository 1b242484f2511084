"""What waiting jobs keep from jobs behind them: room for a large job, a place in a partition, the next free slot."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.admission.limits.availability import NEVER, Allocation, Profile
from jobs.admission.limits.lanes import Facts
from jobs.admission.limits.snapshot import LaneHead, Snapshot
from jobs.admission.limits.turns import Order, Turns


@dataclass(frozen=True)
class Reservation:
    """Room kept for a large job from `start` (epoch seconds) on; `order` is the job's place when it was made.

    A guaranteed one is its tenant's turn with large jobs: it also holds against jobs that go before it by the fair
    share alone.
    """

    head: LaneHead
    start: float
    order: Order
    is_guaranteed: bool = False


class Reservations:
    """The pool's budgets over time, and what is kept free in them."""

    def __init__(self, snapshot: Snapshot, turns: Turns) -> None:
        self.snapshot = snapshot
        self.turns = turns
        self.allocations: list[Allocation] = []
        self.entries: list[Reservation] = []
        self.guaranteed: set[str] = set()
        self.waiting: dict[tuple[str, str], tuple[bool, float]] = {}  # tenant → its first reader or writer that waits
        self.next_slot: Order | None = None  # of the first job under a rate that waits for a slot

    def add(self, facts: Facts, number: int, ends: tuple[float, ...]) -> None:
        """Note what jobs in flight take of the budgets, and until when where that is known."""
        if needs := facts.needs:
            now = self.snapshot.now
            self.allocations += [Allocation(now, max(end, now + 1), needs) for end in ends]
            self.allocations += [Allocation(now, NEVER, needs)] * (number - len(ends))

    def reserve(self, head: LaneHead) -> None:
        """Keep room for a job from the first moment at which it is sure to fit; none where that is never."""
        facts, now = head.facts, self.snapshot.now
        start = self.profile(head).first_fit(facts.needs, now, facts.longest or NEVER)
        if start < NEVER:
            is_guaranteed = head.lane in self.guaranteed
            self.entries.append(Reservation(head, start, self.turns.order(head), is_guaranteed))

    def drop(self, head: LaneHead) -> None:
        """The first job of this lane is admitted: its reservation, and its tenant's turn with large jobs, are used."""
        if head.lane in self.guaranteed:
            self.turns.last_served[head.facts.turn_with_large] = self.snapshot.now
            self.guaranteed.remove(head.lane)
        self.entries = [entry for entry in self.entries if entry.head.lane != head.lane]

    def reserve_slot(self, head: LaneHead) -> None:
        """Only a slot is missing for this job: jobs behind it must not take the next one."""
        order = self.turns.order(head)
        self.next_slot = min(self.next_slot or order, order)

    def block_behind(self, head: LaneHead) -> None:
        """This reader or writer waits: jobs behind it in its partition must not pass it."""
        first = self.waiting.get(head.facts.tenant, place(head))
        self.waiting[head.facts.tenant] = min(first, place(head))

    def reservations_before(self, head: LaneHead) -> list[Reservation]:
        """The reservations that this job must not touch; of those made after its own there is none.

        The job's order now does not tell which reservation is its own: its tenant's share may have grown since, and
        SQLite cuts the digits of a rank in JSON.
        """
        order, lanes = self.turns.order(head), [entry.head.lane for entry in self.entries]
        before = self.entries[: lanes.index(head.lane)] if head.lane in lanes else self.entries
        is_bound = head.lane in self.guaranteed
        return [
            entry
            for entry in before
            if entry.order < order
            or (entry.is_guaranteed and (is_bound or entry.head.rank < head.rank) and not head.is_critical)
        ]

    def profile(self, head: LaneHead) -> Profile:
        """The budgets over time as this job finds them, with what is reserved for jobs before it."""
        reserved = [
            Allocation(entry.start, entry.start + (entry.head.facts.longest or NEVER), entry.head.facts.needs)
            for entry in self.reservations_before(head)
        ]
        return Profile(self.snapshot.pool.budgets, [*self.allocations, *reserved])


def place(head: LaneHead) -> tuple[bool, float]:
    """A job's place among the jobs of its partition, smallest first."""
    return not head.is_critical, head.rank
