"""What keeps a waiting job: one function for each limit, and no other place knows the limits.

Admission asks for the first blocker, `explain` for all of them: so the answer to "why does it wait" is the decision
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jobs.admission.limits.availability import NEVER
from jobs.admission.limits.lanes import EXCLUSIVE
from jobs.admission.limits.reservations import place
from jobs.admission.limits.snapshot import LaneHead
from jobs.admission.limits.tally import Tally
from jobs.admission.limits.usage import own_key

PAUSED, DRAINING, NO_WORKER, NO_SLOT, POOL_FULL = "pool_paused", "pool_draining", "no_worker", "no_slot", "pool_limit"
LIMIT, OWN_LIMIT, ACCESS, RATE = "limit", "own_limit", "access", "rate"
TASK_PAUSED = "task_paused"
BUDGET, RESERVED = "budget", "reserved"
EARLY = 1e-5  # seconds that a start may come before its time: moments are rounded
_ROUNDING = 1e-9


class Blocker(NamedTuple):
    """One thing in the way of a job.

    `limit` names the limit row, budget or partition; `size` is what it allows and `used` what of it is taken; `need` is
    the job's own. `until` (epoch seconds) is when it ends by itself, None where that is not known. `partition` is the
    value that the limit counts by.
    """

    kind: str
    limit: str = ""
    size: float | None = None
    used: float | None = None
    need: float | None = None
    until: float | None = None
    partition: str = ""


def pool_blockers(tally: Tally) -> Iterator[Blocker]:
    """What keeps every job of the pool."""
    pool, snapshot, usage = tally.snapshot.pool, tally.snapshot, tally.usage
    if pool.is_paused:
        yield Blocker(PAUSED, pool.name)
    if pool.is_draining:
        yield Blocker(DRAINING, pool.name)
    if not snapshot.slots:
        yield Blocker(NO_WORKER, pool.name)
    elif usage.on_slots >= snapshot.window:
        yield Blocker(NO_SLOT, pool.name, snapshot.slots, usage.on_slots)
    if pool.max_concurrent is not None and usage.in_flight >= pool.max_concurrent:
        yield Blocker(POOL_FULL, pool.name, pool.max_concurrent, usage.in_flight)


def free_slots(tally: Tally) -> int:
    """How many jobs the pool itself has room for, whatever they are; never negative."""
    if next(pool_blockers(tally), None) is not None:
        return 0
    room = tally.snapshot.window - tally.usage.on_slots
    maximum = tally.snapshot.pool.max_concurrent
    return room if maximum is None else min(room, maximum - tally.usage.in_flight)


def blockers_of(tally: Tally, head: LaneHead) -> Iterator[Blocker]:
    """What keeps this job, and so its whole lane, beside what keeps the pool; the first one is enough to keep it."""
    facts = head.facts
    if facts.task in tally.snapshot.paused_tasks:
        yield Blocker(TASK_PAUSED, facts.task)
    yield from limit_blockers(tally, head)
    if facts.max_concurrent is not None:
        yield from own_limit_blockers(tally, head)
    if facts.access:
        yield from access_blockers(tally, head)
    if facts.needs:
        yield from budget_blockers(tally, head)
    yield from rate_blockers(tally, head)
    if needs_free_slot(tally, head):
        yield Blocker(NO_SLOT, tally.snapshot.pool.name, tally.snapshot.slots, tally.usage.on_slots)


def is_full(tally: Tally, head: LaneHead) -> bool:
    """Whether a limit on their number keeps this lane, and the lane itself keeps no other one."""
    return not head.facts.access and next(limit_blockers(tally, head), None) is not None


def limit_blockers(tally: Tally, head: LaneHead) -> Iterator[Blocker]:
    """The limits on how many jobs are in flight."""
    for rule in tally.usage.rules(head.facts).sizes:
        counter = rule.counter(head.facts)
        used = tally.usage.counts.get(counter, 0)
        if rule.size is not None and used + 1 > rule.size:
            yield Blocker(LIMIT, rule.name, rule.size, used, partition=counter[1])


def own_limit_blockers(tally: Tally, head: LaneHead) -> Iterator[Blocker]:
    """The `max_concurrent` of the submit itself."""
    facts = head.facts
    used = tally.usage.own[own_key(facts)]
    if facts.max_concurrent is not None and used >= facts.max_concurrent:
        yield Blocker(OWN_LIMIT, facts.task, facts.max_concurrent, used, partition=facts.partition)


def access_blockers(tally: Tally, head: LaneHead) -> Iterator[Blocker]:
    """Readers share a partition, a writer is alone. A waiting job blocks jobs behind it, or writers starve."""
    facts, access = head.facts, tally.usage.access
    name, partition = facts.partition_by, facts.partition
    used = access[(name, partition, EXCLUSIVE)]
    if facts.access == EXCLUSIVE:
        used += access[(name, partition, "shared")]
    if used or place(head) > tally.reservations.waiting.get(facts.tenant, place(head)):
        yield Blocker(ACCESS, name, None, used, partition=partition)


def budget_blockers(tally: Tally, head: LaneHead) -> Iterator[Blocker]:
    """The pool's budgets, and what of them is reserved for jobs before this one."""
    budgets, fits = tally.snapshot.pool.budgets, True
    for name, need in head.facts.needs.items():
        used, size = tally.usage.used[name], budgets.get(name)
        if size is not None and used + need > size + _ROUNDING:
            fits = False
            yield Blocker(BUDGET, name, size, used, need)
    if fits and tally.reservations.entries:
        yield from reservation_blockers(tally, head)


def reservation_blockers(tally: Tally, head: LaneHead) -> Iterator[Blocker]:
    """The first reservation that this job would delay."""
    seconds = head.facts.longest or NEVER
    if not tally.reservations.profile(head).fits(head.facts.needs, tally.snapshot.now, seconds):
        first = tally.reservations.reservations_before(head)[0]
        yield Blocker(RESERVED, first.head.facts.task, until=first.start)


def rate_blockers(tally: Tally, head: LaneHead) -> Iterator[Blocker]:
    """The rates whose next start is still to come, and those of 0."""
    facts = head.facts
    for counter, space in tally.usage.rates(facts):
        opens = space.opens_at(tally.usage.next_arrivals.get(counter, 0.0))
        if opens > tally.snapshot.now + EARLY:
            yield Blocker(RATE, counter[0], until=opens, partition=counter[1])
    for rule in tally.usage.rules(facts).rates:
        if rule.size == 0:
            yield Blocker(RATE, rule.name, 0, partition=rule.counter(facts)[1])


def needs_free_slot(tally: Tally, head: LaneHead) -> bool:
    """Whether the job must wait for a free slot: jobs under a rate get no look-ahead, because a rate counts starts.

    Neither do the jobs behind such a job; they would take its slot.
    """
    snapshot, next_slot = tally.snapshot, tally.reservations.next_slot
    if not snapshot.slots <= tally.usage.on_slots < snapshot.window:
        return False  # a slot is free, or the whole pool has none
    if next_slot is not None and tally.turns.order(head) > next_slot:
        return True
    return next(tally.usage.rates(head.facts), None) is not None
