"""Which jobs hold what another job waits for, found by the lanes that the limits count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber

from jobs.admission import queries
from jobs.admission.limits import Blocker, Facts, InFlight, QueuePosition, Tally
from jobs.admission.limits import blockers as blocker_kinds
from jobs.admission.limits.lanes import EXCLUSIVE
from jobs.core.conf import settings
from jobs.models import Job
from jobs.monitoring.explain.answer import Holder
from jobs.states import IN_FLIGHT

MOST = 10  # jobs named for each reason
_WAITING = ""  # in place of a pool: the first job of a lane, which is not in flight
Place = tuple[str, UUID]  # a pool and a lane


@dataclass(frozen=True)
class HeldBy:
    """Some of the jobs that hold a thing, and the number of the others."""

    named: tuple[Holder, ...] = ()
    more: int = 0


def holders(stand: QueuePosition, blockers: Sequence[Blocker]) -> list[HeldBy]:
    """The jobs that hold each blocker: jobs in flight, or waiting jobs ahead. At most two statements in all."""
    flights = [_flights(stand, blocker) for blocker in blockers]
    waiting = [_waiting(stand, blocker)[:MOST] for blocker in blockers]
    places = [[(group.pool, group.facts.lane) for group in groups[:MOST]] for groups in flights]
    holders_at = _read(stand.tally.snapshot.pool.name, places, waiting)
    return [
        _held_by(
            holders_at, [*place, *((_WAITING, UUID(lane)) for lane in front)], sum(group.number for group in groups)
        )
        for groups, place, front in zip(flights, places, waiting, strict=True)
    ]


def in_flight_without_end(tally: Tally, facts: Facts) -> int:
    """How many jobs in flight use a budget that this job needs, and have no time-out."""
    in_pool = _in_pool(tally)
    return sum(group.number - len(group.ends) for group in in_pool if group.facts.needs.keys() & facts.needs.keys())


def _flights(stand: QueuePosition, blocker: Blocker) -> list[InFlight]:
    """The jobs in flight that count for this blocker, by the rules of the limits."""
    tally, facts = stand.tally, stand.head.facts
    if blocker.kind in (blocker_kinds.NO_SLOT, blocker_kinds.POOL_FULL):
        return _in_pool(tally)
    if blocker.kind == blocker_kinds.BUDGET:
        return [group for group in _in_pool(tally) if group.facts.needs.get(blocker.limit)]
    in_flight = tally.snapshot.in_flight
    if blocker.kind == blocker_kinds.LIMIT:
        counter = (blocker.limit, blocker.partition)
        return [group for group in in_flight if counter in _counters(tally, group)]
    partition = (facts.partition_by, facts.partition)
    same = [group for group in in_flight if (group.facts.partition_by, group.facts.partition) == partition]
    if blocker.kind == blocker_kinds.OWN_LIMIT:
        return [group for group in same if group.facts.task == facts.task]
    if blocker.kind == blocker_kinds.ACCESS:
        return [group for group in same if group.facts.access and EXCLUSIVE in (group.facts.access, facts.access)]
    return []


def _waiting(stand: QueuePosition, blocker: Blocker) -> list[str]:
    """Lanes whose first job is ahead of this job."""
    if blocker.kind == blocker_kinds.RESERVED:
        return [stand.tally.reservations.reservations_before(stand.head)[0].head.lane]
    if blocker.kind == blocker_kinds.ACCESS and not blocker.used:
        return [head.lane for head in stand.in_front]
    return []


def _read(pool: str, places: Iterable[Iterable[Place]], waiting: Iterable[Iterable[str]]) -> dict[Place, list[Holder]]:
    lanes = {lane for group in places for _, lane in group}
    front = {lane: 1 for group in waiting for lane in group}
    first = {UUID(candidate.id) for candidate in queries.best_of(pool, front)} if front else set()
    if not lanes and not first:
        return {}
    chosen = Q(state__in=IN_FLIGHT, lane__in=lanes) | Q(pk__in=first)
    number = Window(RowNumber(), partition_by=[F("pool"), F("lane"), F("state")], order_by="id")
    rows = Job.objects.using(settings.DATABASE).filter(chosen).annotate(number=number).filter(number__lte=MOST)
    holders_at: dict[Place, list[Holder]] = {}
    for row in rows.order_by("id").only("lane", "pool", "task", "key", "state"):
        place = (_WAITING if row.pk in first else row.pool, row.lane)
        holders_at.setdefault(place, []).append(Holder(row.pk, row.task, row.key, row.state))
    return holders_at


def _held_by(holders_at: dict[Place, list[Holder]], places: Iterable[Place], total: int) -> HeldBy:
    """The oldest jobs first, across all lanes."""
    named = sorted((holder for place in places for holder in holders_at.get(place, ())), key=lambda holder: holder.id)
    return HeldBy(tuple(named[:MOST]), max(0, total - MOST, total - len(named)))


def _in_pool(tally: Tally) -> list[InFlight]:
    return [group for group in tally.snapshot.in_flight if group.pool == tally.snapshot.pool.name]


def _counters(tally: Tally, flight: InFlight) -> list[tuple[str, str]]:
    return [rule.counter(flight.facts) for rule in tally.snapshot.rules.of(flight.facts, flight.pool).sizes]
