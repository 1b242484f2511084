"""Counts what a snapshot holds, and says what keeps each waiting job: the one place that knows every limit.

Admission asks it for the first thing in the way, `explain` for all of them; so the answer to "why" cannot be another
one than the decision.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from jobs.admission.limits.availability import NEVER, Allocation, Profile
from jobs.admission.limits.blockers import (
    ACCESS,
    BUDGET,
    DRAINING,
    LIMIT,
    NO_SLOT,
    NO_WORKER,
    OWN_LIMIT,
    PAUSED,
    POOL_FULL,
    RATE,
    RESERVED,
    TASK_PAUSED,
    Blocker,
)
from jobs.admission.limits.lanes import EXCLUSIVE, Facts
from jobs.admission.limits.rules import Counter, Under, rate_name
from jobs.admission.limits.snapshot import LaneHead, Snapshot
from jobs.core.conf import settings
from jobs.core.options.rate import Spacing, spacing

EARLY = 1e-5  # seconds before its time that a start may come: moments are rounded; the next one is not early for it
Order = tuple[int, float, float, float]  # class, share, turn, rank


@dataclass(frozen=True)
class Reservation:
    """A moment (epoch seconds) from which room is kept for a large job; `order` is where it stood then.

    A guaranteed one is its tenant's turn with large jobs: it also binds who passes it by the fair share alone.
    """

    head: LaneHead
    start: float
    order: Order
    is_guaranteed: bool = False


@dataclass
class Tally:
    """What is in flight, counted as the limits count it, and carried on with each job that is taken."""

    snapshot: Snapshot
    in_flight: int = 0
    counts: defaultdict[Counter, int] = field(default_factory=lambda: defaultdict(int))
    tenants: defaultdict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    newest: dict[tuple[str, str], float] = field(default_factory=dict)
    own: defaultdict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    access: defaultdict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    next_arrivals: dict[Counter, float] = field(default_factory=dict)
    last_served: dict[tuple[str, str], float] = field(default_factory=dict)
    used: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    allocations: list[Allocation] = field(default_factory=list)
    held: dict[tuple[str, str], tuple[bool, float]] = field(default_factory=dict)
    reservations: list[Reservation] = field(default_factory=list)
    next_slot: Order | None = None  # of the first job under a rate that waits for a slot: none behind it goes ahead
    guaranteed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.next_arrivals, self.last_served = dict(self.snapshot.next_arrivals), dict(self.snapshot.last_served)
        for flight in self.snapshot.in_flight:
            self._count(flight.facts, flight.pool, flight.number)
            if flight.pool == self.snapshot.pool.name:
                self._hold(flight.facts, flight.number)
                self._occupy(flight.facts, flight.number, flight.newest, flight.ends)

    @property
    def free(self) -> int:
        """How many jobs the pool itself has room for, whatever they are; never negative."""
        if next(self.pool_blockers(), None) is not None:
            return 0
        room = self.snapshot.window - (self.in_flight - self.snapshot.beyond)
        maximum = self.snapshot.pool.max_concurrent
        return room if maximum is None else min(room, maximum - self.in_flight)

    def pool_blockers(self) -> Iterator[Blocker]:
        """What keeps every job of the pool."""
        pool, here = self.snapshot.pool, self.in_flight
        if pool.is_paused:
            yield Blocker(PAUSED, pool.name)
        if pool.is_draining:
            yield Blocker(DRAINING, pool.name)
        if not self.snapshot.slots:
            yield Blocker(NO_WORKER, pool.name)
        elif here - self.snapshot.beyond >= self.snapshot.window:
            yield Blocker(NO_SLOT, pool.name, self.snapshot.slots, here - self.snapshot.beyond)
        if pool.max_concurrent is not None and here >= pool.max_concurrent:
            yield Blocker(POOL_FULL, pool.name, pool.max_concurrent, here)

    def blockers(self, head: LaneHead) -> Iterator[Blocker]:
        """What keeps this job, and its whole lane, beside what keeps the pool; the first one is reason enough."""
        facts = head.facts
        if facts.task in self.snapshot.paused_tasks:
            yield Blocker(TASK_PAUSED, facts.task)
        yield from self._limit_blockers(facts)
        if facts.max_concurrent is not None and (own := self.own[_own(facts)]) >= facts.max_concurrent:
            yield Blocker(OWN_LIMIT, facts.task, facts.max_concurrent, own, partition=facts.partition)
        if facts.access:
            yield from self._access_blockers(head)
        if facts.needs:
            yield from self._budget_blockers(head)
        yield from self._rate_blockers(facts)
        if self.needs_free_slot(head):
            yield Blocker(NO_SLOT, self.snapshot.pool.name, self.snapshot.slots, self.in_flight - self.snapshot.beyond)

    def needs_free_slot(self, head: LaneHead) -> bool:
        """Whether it may not be admitted ahead of a slot, and there is none: a rate counts starts, not the wait before.

        Nor may who comes behind such a job, or those would take each slot that becomes free before it.
        """
        if not self.snapshot.slots <= self.in_flight - self.snapshot.beyond < self.snapshot.window:
            return False  # a slot is free, or else the pool itself has none
        if self.next_slot is not None and self.order(head) > self.next_slot:
            return True
        return next(self.rates(head.facts), None) is not None

    def reserve_slot(self, head: LaneHead) -> None:
        """Nothing but a slot keeps this job: the next one is not for those behind it."""
        self.next_slot = min(self.next_slot or self.order(head), self.order(head))

    def block_behind(self, head: LaneHead) -> None:
        """This reader or writer is kept: those behind it in its partition must not pass."""
        first = self.held.get(head.facts.tenant, _place(head))
        self.held[head.facts.tenant] = min(first, _place(head))

    def take(self, head: LaneHead) -> None:
        """Count one more job of this lane as in flight."""
        facts, pool, now = head.facts, self.snapshot.pool.name, self.snapshot.now
        self._count(facts, pool, 1)
        self._hold(facts, 1)
        self._occupy(facts, 1, now, (now + facts.longest,) if facts.longest else ())
        for counter, space in self.rates(facts):
            self.next_arrivals[counter] = space.after_start(self.next_arrivals.get(counter, 0.0), now)
        self.last_served[facts.tenant] = now
        if head.lane in self.guaranteed:
            self.last_served[facts.turn_with_large] = now
            self.guaranteed.remove(head.lane)
        self.reservations = [one for one in self.reservations if one.head.lane != head.lane]

    def order(self, head: LaneHead) -> Order:
        """Where a job stands, smallest first: critical, then long unserved partitions, then by share, turn and rank.

        Those long unserved go by how long that is: by rank, a backlog of long bodies would go first each time one ends;
        by share, one that waits beside a long job of its own would not be reached while others come that have none.
        """
        if head.is_critical:
            return 0, 0.0, head.rank, head.rank
        long_ago, tenant = self.snapshot.now - settings.AGED_AFTER, head.facts.tenant
        served = self.last_served.get(tenant, 0.0)
        if head.rank < long_ago and served < long_ago and self.newest.get(tenant, 0.0) < long_ago:
            return 1, 0.0, max(head.eligible_at, served), head.rank
        return 2, self.share(head.facts), max(head.rank, served), head.rank

    def rates(self, facts: Facts) -> Iterator[tuple[Counter, Spacing]]:
        """The rates that a start counts for, each with how far it spaces; where none may start there is none."""
        own = spacing(facts.rate) if facts.rate else None
        for rule in self._under(facts).rates:
            if rule.spacing is not None:
                is_tasks = own is not None and rule.name == rate_name(facts.task)
                yield rule.counter(facts), rule.spacing.tightened(own) if is_tasks and own else rule.spacing
        if own is not None and not self._has_rate(facts):
            yield (rate_name(facts.task), facts.partition), own

    def most(self, facts: Facts) -> int:
        """How many more jobs of a lane the limits on their number allow; a large number where none is set."""
        rooms = [
            rule.size - self.counts.get(rule.counter(facts), 0)
            for rule in self._under(facts).sizes
            if rule.size is not None
        ]
        if facts.max_concurrent is not None:
            rooms.append(facts.max_concurrent - self.own[_own(facts)])
        return max(0, int(min(rooms, default=sys.maxsize)))

    def is_full(self, head: LaneHead) -> bool:
        """Whether a limit on their number keeps this lane, and that is all it does: none behind is kept by it."""
        return not head.facts.access and next(self._limit_blockers(head.facts), None) is not None

    def share(self, facts: Facts) -> float:
        """What a tenant has in flight, by its weight."""
        return self.tenants.get(facts.tenant, 0) / self._under(facts).weight

    def reservations_before(self, head: LaneHead) -> list[Reservation]:
        """The reservations that this job has to leave as they are; of those made after its own there is none.

        Where the job stands now says nothing about whose a reservation is: its tenant's share may have grown since,
        and SQLite cuts the digits of a rank in JSON.
        """
        order, lanes = self.order(head), [one.head.lane for one in self.reservations]
        before = self.reservations[: lanes.index(head.lane)] if head.lane in lanes else self.reservations
        is_bound = head.lane in self.guaranteed
        return [
            one
            for one in before
            if one.order < order
            or (one.is_guaranteed and (is_bound or one.head.rank < head.rank) and not head.is_critical)
        ]

    def profile(self, head: LaneHead) -> Profile:
        """The budgets over time as this job finds them, with what is reserved for those before it."""
        booked = [
            Allocation(one.start, one.start + (one.head.facts.longest or NEVER), one.head.facts.needs)
            for one in self.reservations_before(head)
        ]
        return Profile(self.snapshot.pool.budgets, [*self.allocations, *booked])

    def _under(self, facts: Facts) -> Under:
        return self.snapshot.rules.of(facts, self.snapshot.pool.name)

    def _count(self, facts: Facts, pool: str, number: int) -> None:
        for rule in self.snapshot.rules.of(facts, pool).sizes:
            self.counts[rule.counter(facts)] += number

    def _hold(self, facts: Facts, number: int) -> None:
        """What a job brings itself, its own maximum and its place among readers and writers, counts in its pool."""
        self.own[_own(facts)] += number
        if facts.access:
            self.access[(facts.partition_by, facts.partition, facts.access)] += number

    def _occupy(self, facts: Facts, number: int, newest: float, ends: tuple[float, ...]) -> None:
        tenant = facts.tenant
        self.in_flight += number
        self.tenants[tenant] += number
        self.newest[tenant] = max(newest, self.newest.get(tenant, 0.0))
        if needs := facts.needs:
            for name, need in needs.items():
                self.used[name] += need * number
            now = self.snapshot.now
            self.allocations += [Allocation(now, max(end, now + 1), needs) for end in ends]
            self.allocations += [Allocation(now, NEVER, needs)] * (number - len(ends))

    def _has_rate(self, facts: Facts) -> bool:
        return any(rule.name == rate_name(facts.task) and rule.spacing is not None for rule in self._under(facts).rates)

    def _limit_blockers(self, facts: Facts) -> Iterator[Blocker]:
        for rule in self._under(facts).sizes:
            counter = rule.counter(facts)
            used = self.counts.get(counter, 0)
            if rule.size is not None and used + 1 > rule.size:
                yield Blocker(LIMIT, rule.name, rule.size, used, partition=counter[1])

    def _access_blockers(self, head: LaneHead) -> Iterator[Blocker]:
        """Readers share; a writer is alone. Who waits in front keeps those behind from passing, or writers starve."""
        facts = head.facts
        name, partition = facts.partition_by, facts.partition
        writers = self.access[(name, partition, EXCLUSIVE)]
        readers = self.access[(name, partition, "shared")]
        used = writers + (readers if facts.access == EXCLUSIVE else 0)
        if used or _place(head) > self.held.get(facts.tenant, _place(head)):
            yield Blocker(ACCESS, name, None, used, partition=partition)

    def _budget_blockers(self, head: LaneHead) -> Iterator[Blocker]:
        budgets, fits = self.snapshot.pool.budgets, True
        for name, need in head.facts.needs.items():
            used, size = self.used[name], budgets.get(name)
            if size is not None and used + need > size + 1e-9:
                fits = False
                yield Blocker(BUDGET, name, size, used, need)
        if fits and self.reservations:
            yield from self._reservation_blockers(head)

    def _reservation_blockers(self, head: LaneHead) -> Iterator[Blocker]:
        seconds = head.facts.longest or NEVER
        if not self.profile(head).fits(head.facts.needs, self.snapshot.now, seconds):
            first = self.reservations_before(head)[0]
            yield Blocker(RESERVED, first.head.facts.task, until=first.start)

    def _rate_blockers(self, facts: Facts) -> Iterator[Blocker]:
        for counter, space in self.rates(facts):
            opens = space.opens_at(self.next_arrivals.get(counter, 0.0))
            if opens > self.snapshot.now + EARLY:
                yield Blocker(RATE, counter[0], until=opens, partition=counter[1])
        for rule in self._under(facts).rates:
            if rule.size == 0:
                yield Blocker(RATE, rule.name, 0, partition=rule.counter(facts)[1])


def _place(head: LaneHead) -> tuple[bool, float]:
    """Where a job stands among those of its partition."""
    return not head.is_critical, head.rank


def _own(facts: Facts) -> tuple[str, str, str]:
    return facts.task, facts.partition_by, facts.partition
