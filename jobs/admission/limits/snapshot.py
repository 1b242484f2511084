"""Reads, in one statement, everything that decides what a pool may admit. Decides nothing itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from jobs.admission import queries
from jobs.admission.limits import lanes, lookahead, rules
from jobs.admission.limits.lanes import CPU, DISK, MEMORY, Facts, facts_of
from jobs.admission.limits.rules import Counter, Rules, read_rules
from jobs.admission.queries import FIRST_LANE, MOST_LANES
from jobs.core.conf import settings
from jobs.core.db.values import read
from jobs.models import Job


@dataclass(frozen=True)
class PoolFacts:
    """A pool's row. A budget that is not named here is no limit."""

    name: str
    is_paused: bool
    is_draining: bool
    max_concurrent: int | None
    budgets: Mapping[str, float]


class InFlight(NamedTuple):
    """The jobs of one lane in flight. `newest` is the last admission. `ends` has an entry for each job with a time-out.

    An end is when time-out and grace are over. Moments are epoch seconds.
    """

    pool: str
    facts: Facts
    number: int
    newest: float
    ends: tuple[float, ...]


class LaneHead(NamedTuple):
    """The first waiting job of a lane, which stands for all of them. Moments are epoch seconds."""

    lane: str
    rank: float
    eligible_at: float
    is_critical: bool
    facts: Facts


@dataclass(frozen=True)
class Snapshot:
    """A pool at one moment (`now`, epoch seconds by the database's clock).

    `without_slot` jobs run on silent or draining workers, whose slots are not in `slots`. `next_arrivals` is the state
    of the rates (GCRA), `last_served` the last admission of each partition.
    """

    now: float
    pool: PoolFacts
    slots: int
    without_slot: int
    rules: Rules
    next_arrivals: Mapping[Counter, float]
    last_served: Mapping[tuple[str, str], float]
    in_flight: Sequence[InFlight]
    heads: Sequence[LaneHead]
    sees_everywhere: bool
    paused_tasks: Collection[str] = ()

    @cached_property
    def window(self) -> int:
        """How many jobs may be in flight: the live slots, plus the look-ahead of each."""
        return self.slots * (1 + lookahead.of(self.pool.name, {head.facts.task for head in self.heads}))

    @property
    def is_crowded(self) -> bool:
        """Whether there are more lanes than one snapshot reads."""
        return len(self.heads) >= MOST_LANES

    @property
    def shared(self) -> list[str]:
        """Names of the limits that span pools and count a waiting job, in the order in which they are locked."""
        if not self.rules.are_shared:
            return []
        by_lane = (self.rules.of(head.facts, self.pool.name) for head in self.heads)
        distinct = {id(rules): rules for rules in by_lane}.values()  # many lanes have the same
        return sorted({rule.name for rules in distinct for rule in (*rules.sizes, *rules.rates) if rule.is_shared})


def take_snapshot(pool: str, *, everywhere: bool = True, start: UUID = FIRST_LANE) -> Snapshot | None:
    """Read a pool; None when there is no such pool.

    `everywhere` also reads the jobs in flight in other pools, for limits that span pools. `start` is the first lane to
    read, where there are more lanes than one snapshot reads.
    """
    row = queries.read_snapshot(pool, rules.COLUMNS, everywhere=everywhere, start=start)
    if row is None:
        return None
    now, paused, draining, maximum, memory, cpu, disk, resources, slots, without_slot, limits, *texts = row
    next_arrivals, last_served, (tasks,), in_flight, waiting = map(json.loads, texts)
    known = _known(pool, waiting[0], in_flight[0])
    budgets = {MEMORY: memory, CPU: cpu, DISK: disk, **json.loads(resources)}
    heads = _heads(waiting, known)
    return Snapshot(
        now=now,
        pool=PoolFacts(pool, bool(paused), bool(draining), maximum, _budgets(budgets, heads)),
        slots=int(slots),
        without_slot=int(without_slot),
        rules=read_rules(limits, settings.MAX_CONCURRENT),
        next_arrivals={(name, partition): tat for name, partition, tat in zip(*next_arrivals, strict=True)},
        last_served={(by, partition): at for by, partition, at in zip(*last_served, strict=True)},
        in_flight=[_in_flight(known[lane], *rest) for lane, *rest in zip(*in_flight, strict=True) if lane in known],
        heads=heads,
        sees_everywhere=everywhere,
        paused_tasks=set(tasks),
    )


def _heads(waiting: Sequence[Sequence[Any]], known: Mapping[str, Facts]) -> list[LaneHead]:
    return [
        LaneHead(lane, rank, eligible_at, bool(critical), known[lane])
        for lane, rank, eligible_at, critical in zip(*waiting, strict=True)
        if lane in known
    ]


def _budgets(sizes: Mapping[str, float | None], heads: Sequence[LaneHead]) -> dict[str, float]:
    """The pool's budgets. Of a resource that a job needs and the pool does not name there is none."""
    named = {name for head in heads for name in head.facts.resources or ()}
    return {name: float(size) for name, size in {**dict.fromkeys(named, 0), **sizes}.items() if size is not None}


def preview(pool: str) -> Snapshot | None:
    """A pool as its next admission will read it: other pools only where a limit spans them. Locks nothing."""
    snapshot = take_snapshot(pool)
    if snapshot is None or snapshot.shared:
        return snapshot
    here = [lane for lane in snapshot.in_flight if lane.pool == pool]
    return replace(snapshot, in_flight=here, sees_everywhere=False)


def head_of(job: Job) -> LaneHead:
    """A waiting job as if it were the first of its lane."""
    facts = facts_of({name: getattr(job, name) for name in lanes.COLUMNS})
    eligible_at = job.eligible_at.timestamp()
    return LaneHead(str(job.lane), job.rank, eligible_at, job.priority == "critical", facts)


_facts: dict[str, Facts] = {}  # by lane; never stale, because a lane's id is the hash of its facts
MOST_KNOWN = 50_000


def _known(pool: str, waiting: Sequence[str], in_flight: Sequence[str]) -> Mapping[str, Facts]:
    """The facts of these lanes. A lane whose last job has just left is missing: it neither waits nor holds anything."""
    new = [[lane for lane in lanes_seen if lane not in _facts] for lanes_seen in (waiting, in_flight)]
    if any(new):
        if len(_facts) > MOST_KNOWN:
            _facts.clear()
            new = [list(waiting), list(in_flight)]
        for lane, *facts in queries.samples(pool, lanes.COLUMNS, *new):
            _facts[str(lane)] = Facts(**read(settings.DATABASE, Job, lanes.COLUMNS, facts))
    return _facts


def _in_flight(facts: Facts, pool: str, number: int, newest: float | None, starts: Sequence[float] | None) -> InFlight:
    ends = tuple(start + facts.longest for start in starts) if starts and facts.longest else ()
    return InFlight(pool, facts, number, newest or 0.0, ends)
