"""Which jobs hold what another one waits for: found by the lanes that the limits have counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F, Q, Window
from django.db.models.functions import RowNumber

from jobs.admission import queries
from jobs.admission.limits import Blocker, Facts, InFlight, QueuePosition, Tally
from jobs.admission.limits import blockers as kinds
from jobs.admission.limits.lanes import EXCLUSIVE
from jobs.core.conf import settings
from jobs.models import Job
from jobs.monitoring.explain.answer import Holder
from jobs.states import IN_FLIGHT

MOST = 10  # jobs named for each reason
_WAITING = ""  # in place of a pool: the first job of a lane, which is not in flight
Place = tuple[str, UUID]  # a pool and a lane


@dataclass(frozen=True)
class Held:
    """Some of the jobs that hold a thing, and how many others do."""

    named: tuple[Holder, ...] = ()
    more: int = 0


def holders(stand: QueuePosition, blockers: Sequence[Blocker]) -> list[Held]:
    """For each blocker who holds it: jobs in flight, or such as wait in front. At most two statements for all."""
    flights = [_flights(stand, blocker) for blocker in blockers]
    waiting = [_waiting(stand, blocker)[:MOST] for blocker in blockers]
    places = [[(one.pool, one.facts.lane) for one in some[:MOST]] for some in flights]
    found = _read(stand.tally.snapshot.pool.name, places, waiting)
    return [
        _held(found, [*place, *((_WAITING, UUID(lane)) for lane in front)], sum(one.number for one in some))
        for some, place, front in zip(flights, places, waiting, strict=True)
    ]


def in_flight_without_end(tally: Tally, facts: Facts) -> int:
    """How many jobs in flight take of the budgets that a job needs, and have no time-out."""
    return sum(one.number - len(one.ends) for one in _here(tally) if one.facts.needs.keys() & facts.needs.keys())


def _flights(stand: QueuePosition, blocker: Blocker) -> list[InFlight]:
    """What is in flight and counts for this blocker, by the limits' own rules."""
    tally, mine = stand.tally, stand.head.facts
    if blocker.kind in (kinds.NO_SLOT, kinds.POOL_FULL):
        return _here(tally)
    if blocker.kind == kinds.BUDGET:
        return [one for one in _here(tally) if one.facts.needs.get(blocker.limit)]
    everybody = tally.snapshot.in_flight
    if blocker.kind == kinds.LIMIT:
        counter = (blocker.limit, blocker.partition)
        return [one for one in everybody if counter in _counters(tally, one)]
    same = [one for one in everybody if (one.facts.partition_by, one.facts.partition) == _partition(mine)]
    if blocker.kind == kinds.OWN_LIMIT:
        return [one for one in same if one.facts.task == mine.task]
    if blocker.kind == kinds.ACCESS:
        return [one for one in same if one.facts.access and EXCLUSIVE in (one.facts.access, mine.access)]
    return []


def _waiting(stand: QueuePosition, blocker: Blocker) -> list[str]:
    """Lanes whose first job is in front of this one."""
    if blocker.kind == kinds.RESERVED:
        return [stand.tally.reservations.reservations_before(stand.head)[0].head.lane]
    if blocker.kind == kinds.ACCESS and not blocker.used:
        return [head.lane for head in stand.in_front]
    return []


def _read(pool: str, places: Iterable[Iterable[Place]], waiting: Iterable[Iterable[str]]) -> dict[Place, list[Holder]]:
    lanes = {lane for some in places for _, lane in some}
    front = {lane: 1 for some in waiting for lane in some}
    first = {UUID(one.id) for one in queries.best_of(pool, front)} if front else set()
    if not lanes and not first:
        return {}
    chosen = Q(state__in=IN_FLIGHT, lane__in=lanes) | Q(pk__in=first)
    number = Window(RowNumber(), partition_by=[F("pool"), F("lane"), F("state")], order_by="id")
    rows = Job.objects.using(settings.DATABASE).filter(chosen).annotate(number=number).filter(number__lte=MOST)
    found: dict[Place, list[Holder]] = {}
    for row in rows.order_by("id").only("lane", "pool", "task", "key", "state"):
        place = (_WAITING if row.pk in first else row.pool, row.lane)
        found.setdefault(place, []).append(Holder(row.pk, row.task, row.key, row.state))
    return found


def _held(found: dict[Place, list[Holder]], places: Iterable[Place], total: int) -> Held:
    """The oldest first, whatever lanes they are of."""
    named = sorted((holder for place in places for holder in found.get(place, ())), key=lambda holder: holder.id)
    return Held(tuple(named[:MOST]), max(0, total - MOST, total - len(named)))


def _here(tally: Tally) -> list[InFlight]:
    return [one for one in tally.snapshot.in_flight if one.pool == tally.snapshot.pool.name]


def _counters(tally: Tally, flight: InFlight) -> list[tuple[str, str]]:
    return [rule.counter(flight.facts) for rule in tally.snapshot.rules.of(flight.facts, flight.pool).sizes]


def _partition(facts: Facts) -> tuple[str, str]:
    return facts.partition_by, facts.partition
