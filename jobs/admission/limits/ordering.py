"""Which jobs are next: the order among lanes with room, and the fair share between partitions. Touches no database.

The order is that of `Turns.order`. A lane without room is skipped, however good the rank of its first job is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import chain, filterfalse

from jobs.admission.limits.blockers import (
    BUDGET,
    NO_SLOT,
    RATE,
    RESERVED,
    TASK_PAUSED,
    Blocker,
    blockers_of,
    free_slots,
    is_full,
)
from jobs.admission.limits.snapshot import LaneHead, Snapshot
from jobs.admission.limits.tally import Tally
from jobs.admission.limits.turns import Order
from jobs.admission.queries import Candidate
from jobs.core.conf import settings

LARGE = frozenset({BUDGET, RESERVED, NO_SLOT})  # what may keep a job for which room is reserved
MOST_RESERVATIONS = 20
MOST_READ = 2000  # waiting jobs read by one admission, beside the first of each lane
Key = tuple[Order, str]


@dataclass(frozen=True)
class AdmissionPlan:
    """What one snapshot allows: the first lanes with room, best first, for so many jobs in all.

    `opens_at` (epoch seconds) is when a rate lets the next job start; None where no rate is in the way.
    """

    tally: Tally
    free: int
    lanes: Sequence[LaneHead]
    opens_at: float | None

    @property
    def is_simple(self) -> bool:
        """Whether only the first lane counts, so that its jobs can be moved without reading them first.

        Not where a waiting job blocks jobs behind it: each job's own rank then says whether it is behind.
        """
        reservations = self.tally.reservations
        if not self.lanes or reservations.entries or reservations.next_slot:
            return False
        if self.lanes[0].facts.tenant in reservations.waiting:
            return False
        return len(self.lanes) == 1 or self.free == 1


@dataclass(frozen=True)
class QueuePosition:
    """What keeps one lane (beside the pool's own blockers), and which lanes come before it.

    `ahead` have room and go first. `in_front` wait themselves: readers and writers of the same partition, which this
    lane must not pass.
    """

    tally: Tally
    head: LaneHead
    blockers: Sequence[Blocker]
    ahead: Sequence[LaneHead]
    in_front: Sequence[LaneHead]


def plan(snapshot: Snapshot, most: int) -> AdmissionPlan:
    """Go through the lanes in their order, skip lanes without room, and stop when the slots are used up.

    Each admitted job comes from the first lane in the order, and moves that lane back. So lanes behind the first `free`
    lanes with room cannot be reached, and are not checked.
    """
    tally = Tally(snapshot)
    free = max(0, min(free_slots(tally), most))
    with_room: list[LaneHead] = []
    waits: list[float] = []
    for head in in_order(tally, filterfalse(partial(is_full, tally), snapshot.heads)) if free else ():
        blocker = first_blocker(tally, head)
        if blocker is None:
            with_room.append(head)
            if len(with_room) == free:
                break
        elif blocker.kind == RATE and blocker.until is not None:
            waits.append(blocker.until)
    return AdmissionPlan(tally, free, with_room, min(waits, default=None))


def position_of(snapshot: Snapshot, lane: str) -> QueuePosition:
    """One lane as `plan` reaches it, with everything that keeps it; LookupError: the snapshot has no such lane."""
    tally = Tally(snapshot)
    ahead: list[LaneHead] = []
    in_front: list[LaneHead] = []
    for head in in_order(tally, snapshot.heads):
        if head.lane == lane:
            tenant = [other for other in in_front if other.facts.tenant == head.facts.tenant]
            return QueuePosition(tally, head, tuple(blockers_of(tally, head)), ahead, tenant)
        blocker = first_blocker(tally, head)
        if blocker is None:
            ahead.append(head)
        elif blocker.kind != TASK_PAUSED and head.facts.access:
            in_front.append(head)
    raise LookupError(f"nothing waits in lane {lane}")


def in_order(tally: Tally, heads: Iterable[LaneHead]) -> list[LaneHead]:
    """These lanes in their order; room for large jobs that have waited is reserved first."""
    reserve(tally)
    return sorted(heads, key=tally.turns.order)


def first_blocker(tally: Tally, head: LaneHead) -> Blocker | None:
    """The first reason why this job cannot start; None: it can.

    A reader or writer that cannot start blocks the jobs behind it in its partition, except when its task is paused. A
    job that only lacks a slot keeps the next one.
    """
    blocker = next(blockers_of(tally, head), None)
    if blocker is not None and blocker.kind == NO_SLOT:
        tally.reservations.reserve_slot(head)
    if blocker is not None and blocker.kind != TASK_PAUSED and head.facts.access:
        tally.reservations.block_behind(head)
    return blocker


def reserve(tally: Tally) -> None:
    """Reserve room for large jobs that have waited for RESERVE_AFTER, in their order.

    The first large job of each tenant goes before any second one. A job that fits right now gets a reservation, too:
    otherwise the next smaller job would take the room each time.
    """
    latest = tally.snapshot.now - settings.RESERVE_AFTER
    waited = [head for head in tally.snapshot.heads if head.eligible_at <= latest and head.facts.needs]
    firsts = _first_of_each_tenant(tally, [head for head in waited if _last_turn(tally, head) <= latest])
    guaranteed = tally.reservations.guaranteed = {head.lane for head in firsts}
    others = (head for head in sorted(waited, key=tally.turns.order) if head.lane not in guaranteed)
    for head in chain(firsts, others):
        if len(tally.reservations.entries) >= MOST_RESERVATIONS:
            return
        if _lacks_room_only(tally, head):
            tally.reservations.reserve(head)


def _first_of_each_tenant(tally: Tally, heads: Iterable[LaneHead]) -> list[LaneHead]:
    """The best-ranked large job of each tenant: critical ones first, then by rank or the tenant's last such turn."""

    def place(head: LaneHead) -> tuple[bool, float, float]:
        return not head.is_critical, max(head.rank, _last_turn(tally, head)), head.rank

    firsts: dict[tuple[str, str], LaneHead] = {}
    for head in sorted(heads, key=place):
        if head.facts.tenant not in firsts and _lacks_room_only(tally, head):
            firsts[head.facts.tenant] = head
    return list(firsts.values())


def _last_turn(tally: Tally, head: LaneHead) -> float:
    """When a large job of the same tenant last took room reserved for it."""
    return tally.turns.last_served.get(head.facts.turn_with_large, 0.0)


def _lacks_room_only(tally: Tally, head: LaneHead) -> bool:
    return {blocker.kind for blocker in blockers_of(tally, head)} <= LARGE


def how_many(plan: AdmissionPlan) -> int:
    """How many jobs of the first lane to admit, where only that lane counts."""
    number, head = 0, plan.lanes[0]
    while number < plan.free and next(blockers_of(plan.tally, head), None) is None:
        plan.tally.take(head)
        number += 1
    return number


def first_lanes(plan: AdmissionPlan) -> dict[str, int]:
    """How many jobs of each lane to read before choosing among them.

    Tenants take turns, so one more than a tenant's part of the slots is usually enough; `pick` stops where it is not.
    For readers and writers one more is read: a job that a limit keeps blocks the jobs behind it.
    """
    tenants, tally = len({head.facts.tenant for head in plan.lanes}), plan.tally
    most = max(1, min(plan.free, plan.free // tenants + 1, MOST_READ // len(plan.lanes)))
    return {head.lane: min(most, tally.usage.most(head.facts) + bool(head.facts.access)) for head in plan.lanes}


def pick(plan: AdmissionPlan, candidates: Sequence[Candidate], asked: Mapping[str, int]) -> list[Candidate]:
    """The best candidates of several lanes, taken one by one, because each one changes the order of the others.

    `asked` is how many jobs of each lane were read: a lane that returned so many may have more.
    """
    tally, waiting = plan.tally, _by_lane(plan, candidates)
    given = {lane: len(queue) for lane, queue in waiting.items()}
    heap = [(_key(tally, queue[-1]), lane) for lane, queue in waiting.items()]
    heapify(heap)
    picked: list[Candidate] = []
    while heap and len(picked) < plan.free:
        key, lane = heappop(heap)
        queue = waiting[lane]
        now = _key(tally, queue[-1])
        if now > key:  # its partition was served since this key was computed
            heappush(heap, (now, lane))
        elif first_blocker(tally, queue[-1][0]) is None:
            head, candidate = queue.pop()
            tally.take(head)
            picked.append(candidate)
            if not queue and given[lane] == asked[lane] and tally.usage.most(head.facts):
                break  # the lane's next job was not read, and may be the best of all
            if queue:
                heappush(heap, (_key(tally, queue[-1]), lane))
    return picked


def _by_lane(plan: AdmissionPlan, candidates: Iterable[Candidate]) -> dict[str, list[tuple[LaneHead, Candidate]]]:
    """The candidates of each lane, the best last; each with the lane head it would be."""
    heads = {head.lane: head for head in plan.lanes}
    waiting: dict[str, list[tuple[LaneHead, Candidate]]] = {}
    for candidate in sorted(candidates, key=lambda candidate: (candidate.rank, candidate.id), reverse=True):
        head = heads[candidate.lane]._replace(rank=candidate.rank, is_critical=candidate.is_critical)
        waiting.setdefault(candidate.lane, []).append((head, candidate))
    return waiting


def _key(tally: Tally, waiting: tuple[LaneHead, Candidate]) -> Key:
    head, candidate = waiting
    return tally.turns.order(head), candidate.id
