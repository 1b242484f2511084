"""Who is next: the order among lanes with room, and the fair share between partitions. Touches no database.

The order, smallest first: critical jobs; then partitions whose last admission is AGED_AFTER ago, while their first job
is older than that, by how long they have waited since they were served, or had something to be served; then what a
partition has in flight by its weight; then its turn, which comes with its rank but not before it was served last; then
rank. Jobs without a partition are one partition among the others. A lane that has no room is passed over, whoever waits
in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import chain, filterfalse

from jobs.admission.limits.availability import NEVER
from jobs.admission.limits.blockers import BUDGET, NO_SLOT, RATE, RESERVED, TASK_PAUSED, Blocker
from jobs.admission.limits.snapshot import LaneHead, Snapshot
from jobs.admission.limits.tally import Order, Reservation, Tally
from jobs.admission.queries import Candidate
from jobs.core.conf import settings

LARGE = frozenset({BUDGET, RESERVED, NO_SLOT})  # what may keep a job for which room is kept
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
        """Whether the first lane is the only one that counts, so that its jobs need not be read to be taken.

        Where some that are kept hold back those behind them, each of its own has to be asked for its rank.
        """
        tally = self.tally
        if not self.lanes or tally.reservations or tally.next_slot or self.lanes[0].facts.tenant in tally.held:
            return False
        return len(self.lanes) == 1 or self.free == 1


@dataclass(frozen=True)
class QueuePosition:
    """Where one lane stands: what keeps it (beside the pool's own blockers), and which lanes come before it.

    `ahead` have room and go first; `in_front` are readers and writers of the same partition, kept themselves, that
    those behind may not pass.
    """

    tally: Tally
    head: LaneHead
    blockers: Sequence[Blocker]
    ahead: Sequence[LaneHead]
    in_front: Sequence[LaneHead]


def plan(snapshot: Snapshot, most: int) -> AdmissionPlan:
    """Go through the lanes in their order, pass over those without room, and stop where the slots end.

    Each job that is taken comes from the first lane in the order, and moves it back: so those behind the first `free`
    lanes with room are not reached, and are not asked.
    """
    tally = Tally(snapshot)
    free = max(0, min(tally.free, most))
    with_room: list[LaneHead] = []
    waits: list[float] = []
    for head in in_order(tally, filterfalse(tally.is_full, snapshot.heads)) if free else ():
        blocker = first_blocker(tally, head)
        if blocker is None:
            with_room.append(head)
            if len(with_room) == free:
                break
        elif blocker.kind == RATE and blocker.until is not None:
            waits.append(blocker.until)
    return AdmissionPlan(tally, free, with_room, min(waits, default=None))


def position_of(snapshot: Snapshot, lane: str) -> QueuePosition:
    """One lane as `plan` comes to it, with all that keeps it; LookupError where the snapshot has no such lane."""
    tally = Tally(snapshot)
    ahead: list[LaneHead] = []
    in_front: list[LaneHead] = []
    for head in in_order(tally, snapshot.heads):
        if head.lane == lane:
            tenant = [other for other in in_front if other.facts.tenant == head.facts.tenant]
            return QueuePosition(tally, head, tuple(tally.blockers(head)), ahead, tenant)
        blocker = first_blocker(tally, head)
        if blocker is None:
            ahead.append(head)
        elif blocker.kind != TASK_PAUSED and head.facts.access:
            in_front.append(head)
    raise LookupError(f"nothing waits in lane {lane}")


def in_order(tally: Tally, heads: Iterable[LaneHead]) -> list[LaneHead]:
    """These lanes in their order, once room is kept for large jobs that have waited."""
    reserve(tally)
    return sorted(heads, key=tally.order)


def first_blocker(tally: Tally, head: LaneHead) -> Blocker | None:
    """What keeps a job, which is not passed then by what it holds back.

    That is readers and writers behind a kept one, but not where a person holds it; and who would go ahead of a slot.
    """
    blocker = next(tally.blockers(head), None)
    if blocker is not None and blocker.kind == NO_SLOT:
        tally.reserve_slot(head)
    if blocker is not None and blocker.kind != TASK_PAUSED and head.facts.access:
        tally.block_behind(head)
    return blocker


def reserve(tally: Tally) -> None:
    """Keep room for large jobs that have waited: in their order, each for the first moment at which it is sure to fit.

    The first of each tenant goes before those that would be its second. One that fits just now is kept its room as
    well: else a smaller one, whose turn it is, would take it each time.
    """
    latest = tally.snapshot.now - settings.RESERVE_AFTER
    waited = [head for head in tally.snapshot.heads if head.eligible_at <= latest and head.facts.needs]
    firsts = _first_of_each_tenant(tally, [head for head in waited if _last_turn(tally, head) <= latest])
    tally.guaranteed = {head.lane for head in firsts}
    others = (head for head in sorted(waited, key=tally.order) if head.lane not in tally.guaranteed)
    for head in chain(firsts, others):
        if len(tally.reservations) >= MOST_RESERVATIONS:
            return
        if _lacks_room_only(tally, head):
            _reserve(tally, head)


def _first_of_each_tenant(tally: Tally, heads: Iterable[LaneHead]) -> list[LaneHead]:
    """The one with the best rank of each; critical ones first, then by rank, but not before the tenant's last turn."""

    def place(head: LaneHead) -> tuple[bool, float, float]:
        return not head.is_critical, max(head.rank, _last_turn(tally, head)), head.rank

    firsts: dict[tuple[str, str], LaneHead] = {}
    for head in sorted(heads, key=place):
        if head.facts.tenant not in firsts and _lacks_room_only(tally, head):
            firsts[head.facts.tenant] = head
    return list(firsts.values())


def _last_turn(tally: Tally, head: LaneHead) -> float:
    """When room that was kept for a large job of the same tenant was taken last."""
    return tally.last_served.get(head.facts.turn_with_large, 0.0)


def _lacks_room_only(tally: Tally, head: LaneHead) -> bool:
    return {blocker.kind for blocker in tally.blockers(head)} <= LARGE


def how_many(plan: AdmissionPlan) -> int:
    """How many jobs of the first lane, where it is the only one that counts."""
    number, head = 0, plan.lanes[0]
    while number < plan.free and next(plan.tally.blockers(head), None) is None:
        plan.tally.take(head)
        number += 1
    return number


def first_lanes(plan: AdmissionPlan) -> dict[str, int]:
    """How many jobs of each lane have to be read to choose among them.

    Tenants take turns, so one more than a tenant's part of the slots is enough as a rule; `pick` ends where it is not.
    Of readers and writers the one that a limit keeps is read too: it holds back those behind.
    """
    tenants, tally = len({head.facts.tenant for head in plan.lanes}), plan.tally
    most = max(1, min(plan.free, plan.free // tenants + 1, MOST_READ // len(plan.lanes)))
    return {head.lane: min(most, tally.most(head.facts) + bool(head.facts.access)) for head in plan.lanes}


def pick(plan: AdmissionPlan, candidates: Sequence[Candidate], asked: Mapping[str, int]) -> list[Candidate]:
    """The best of the candidates of several lanes, taken one by one: each that is taken changes what comes next.

    `asked` is how many of each lane were asked for: a lane that gave so many may have more.
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
        if now > key:  # its partition has been served meanwhile
            heappush(heap, (now, lane))
        elif first_blocker(tally, queue[-1][0]) is None:
            head, candidate = queue.pop()
            tally.take(head)
            picked.append(candidate)
            if not queue and given[lane] == asked[lane] and tally.most(head.facts):
                break  # who comes next in this lane was not read, and may be better than all others
            if queue:
                heappush(heap, (_key(tally, queue[-1]), lane))
    return picked


def _by_lane(plan: AdmissionPlan, candidates: Iterable[Candidate]) -> dict[str, list[tuple[LaneHead, Candidate]]]:
    """For each lane its candidates, the best one last, each as the first of its lane that it may become."""
    heads = {head.lane: head for head in plan.lanes}
    waiting: dict[str, list[tuple[LaneHead, Candidate]]] = {}
    for one in sorted(candidates, key=lambda one: (one.rank, one.id), reverse=True):
        head = heads[one.lane]._replace(rank=one.rank, is_critical=one.is_critical)
        waiting.setdefault(one.lane, []).append((head, one))
    return waiting


def _key(tally: Tally, waiting: tuple[LaneHead, Candidate]) -> Key:
    head, candidate = waiting
    return tally.order(head), candidate.id


def _reserve(tally: Tally, head: LaneHead) -> None:
    facts, now = head.facts, tally.snapshot.now
    start = tally.profile(head).first_fit(facts.needs, now, facts.longest or NEVER)
    if start < NEVER:
        is_guaranteed = head.lane in tally.guaranteed
        tally.reservations.append(Reservation(head, start, tally.order(head), is_guaranteed))
