"""Admits jobs, from pending to queued: under the pool's lock, in order, within every limit.

A process that finds the lock busy leaves. The holder of the lock reads the pool once more after its commit, without the
lock, so it sees every row that was committed before another process failed to lock. When the holder has filled every
slot it skips that read: the next free slot wakes a feeder, and a feeder that found the lock busy retries by itself.
Messages are published after each commit. Nothing here waits for a broker longer than `publishing` does.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db import Error, transaction

from jobs.admission import limits, publishing, queries, wakeup
from jobs.admission.limits import AdmissionPlan, Snapshot, Tally
from jobs.admission.publishing import JobMessage
from jobs.admission.queries import FIRST_LANE
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import retry_on_deadlock
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit, execute_many, query
from jobs.models import transitions
from jobs.models.transitions import Moved

logger = logging.getLogger(__name__)

BATCH = 200  # jobs per admission transaction
MOST_EMPTY = 3  # passes in a row that move nothing, after which a call ends
LONGEST = 0.5  # seconds after which a call ends even if there is room: the caller has other work
BACK_IN = (0.003, 0.1)  # seconds until a feeder that found the lock busy tries again: at first, at most


@dataclass
class _LastPass:
    """What this process remembers of a pool from one pass to the next.

    `opens_at` (monotonic) is when to try again, where a rate or the lock was in the way; `back_in` the seconds until
    then, where it was the lock. `spanning` names the limits in the last snapshot that span pools. `is_crowded`: there
    are more lanes than one snapshot reads.
    """

    opens_at: float | None = None
    back_in: float = 0.0
    spanning: Sequence[str] = ()
    is_crowded: bool = False


last_passes: defaultdict[str, _LastPass] = defaultdict(_LastPass)


def admit(pool: str) -> int:
    """Admit what has room in a pool and publish it; returns how many jobs were admitted by this call.

    Runs outside the caller's transaction (after its commit). Does nothing while the broker is known to be away: an
    admitted job is out of reach of priority and pause, so it is better pending. If jobs finish as fast as this admits
    there is always room, so LONGEST ends the call; the next finished job or the steward's tick continues.
    """
    last_passes[pool].opens_at = None
    return _admit(pool) if limits.has_room(pool) else 0


def admit_everywhere() -> int:
    """Admit in every pool; returns how many jobs were admitted."""
    return sum(_admit(pool) for pool in limits.pools_with_room())


def admit_on_commit(pool: str) -> None:
    """After the caller's commit: wake a feeder, this process's own or another's, or admit here where there is none."""
    wake = wakeup.own_feeder.wake
    if wake is not None:
        after_commit(wake)
    elif wakeup.is_left_to_caller(pool):
        after_commit(admit, pool)


def admit_everywhere_on_commit() -> None:
    """As `admit_on_commit`, for a change that concerns several pools."""
    after_commit(wakeup.own_feeder.wake or admit_everywhere)


def after_finish(pool: str) -> None:
    """A slot of this pool has become free: wake the feeder, or admit here where this process has none."""
    wake = wakeup.own_feeder.wake
    if wake is not None:
        wake()
        return
    try:
        admit(pool)
    except Error:
        logger.warning("no admission after a job has finished; the steward will admit", exc_info=True)


def seconds_until_open() -> float | None:
    """Seconds until this process should try again where a rate or the lock was in its way; None where none was."""
    opens = [last.opens_at for last in list(last_passes.values()) if last.opens_at is not None]
    return max(0.0, min(opens) - time.monotonic()) if opens else None


def admit_opened() -> int:
    """Admit in the pools where a rate or the lock was in the way and it is time to try again."""
    now = time.monotonic()
    due = [pool for pool, last in list(last_passes.items()) if last.opens_at is not None and last.opens_at <= now]
    return sum(map(admit, due))


def _admit(pool: str) -> int:
    """Pass after pass, as long as there are jobs to admit."""
    total, empty, until = 0, 0, time.monotonic() + LONGEST
    while not publishing.breaker.is_open:
        done = _admit_batch(pool)
        if done is None:
            break
        publishing.publish([_message(moved) for moved in done.moved])
        total, empty = total + len(done.moved), 0 if done.moved else empty + 1
        if time.monotonic() >= until or empty >= MOST_EMPTY or not _has_more(pool, done):
            break
    return total


def _has_more(pool: str, done: _Pass) -> bool:
    """Whether another pass would move a job, read after the lock is free: other processes may have found it busy.

    A job that has room and does not move in several passes is locked by an open transaction.
    """
    if done.took_every_slot or not limits.has_room(pool):
        return False
    snapshot = limits.take_snapshot(pool, everywhere=bool(last_passes[pool].spanning), start=_start(pool))
    if snapshot is None:
        return False
    plan = limits.plan(snapshot, 1)
    _note_pass(pool, plan)
    return bool(plan.lanes)


@dataclass(frozen=True)
class _Pass:
    """The jobs that one locked pass moved, and whether the number of slots alone kept it from moving more."""

    moved: Sequence[Moved]
    took_every_slot: bool = False


@retry_on_deadlock
def _admit_batch(pool: str) -> _Pass | None:
    """One locked pass; None when another process holds the lock; it reads the pool again after its commit."""
    while True:
        with transaction.atomic(using=settings.DATABASE):
            spanning = last_passes[pool].spanning
            if not _lock(pool, spanning):
                _retry_soon(pool)
                return None
            last_passes[pool].back_in = 0.0
            snapshot = limits.take_snapshot(pool, everywhere=bool(spanning), start=_start(pool))
            if snapshot is None:
                return _Pass(())
            if not _has_locked_all(snapshot, spanning):
                continue  # again from the start: locks are taken in the order of names
            plan = limits.plan(snapshot, BATCH)
            _note_pass(pool, plan)
            moved = _take(pool, plan) if plan.lanes else []
            done = _Pass(moved, bool(moved) and len(moved) == plan.free < BATCH)
            break
    limits.lookahead.note(
        pool, {job.row["task"] for job in moved}, len(moved), snapshot.slots, filled=done.took_every_slot
    )
    return done


def _retry_soon(pool: str) -> None:
    """Retry after 3 ms, doubling up to 0.1 s: a pass takes milliseconds, but its process may be frozen."""
    last = last_passes[pool]
    last.back_in = min(2 * last.back_in, BACK_IN[1]) if last.back_in else BACK_IN[0]
    last.opens_at = time.monotonic() + last.back_in


def _lock(pool: str, spanning: Sequence[str]) -> bool:
    """Lock the pool's row, then the limits that span pools; False, and no limit locked, where the pool is busy.

    Nothing is read before the lock. The snapshot is a later statement, which at READ COMMITTED sees every commit made
    before the lock was taken. On SQLite, BEGIN IMMEDIATE is the lock. This transaction commits without waiting for the
    disk. If the database dies before it is written no job has run: a claim is flushed, and everything before it.
    """
    using = settings.DATABASE
    db = dialect(using)
    if not db.for_update:
        return True
    sql = (
        f"WITH p AS (SELECT name FROM jobs_pool WHERE name = %s{db.skip_locked}),"
        f" l AS (SELECT name FROM jobs_limit WHERE {db.id_in('name')} AND EXISTS (SELECT 1 FROM p)"
        f" ORDER BY name{db.for_update}) SELECT name{db.no_fsync_columns} FROM p WHERE (SELECT count(*) FROM l) >= 0"
    )
    return bool(query(using, sql, [pool, list(spanning)]))


def _has_locked_all(snapshot: Snapshot, spanning: Sequence[str]) -> bool:
    """Whether all limits that span pools were locked, and counted in all pools; if not, the next try locks them."""
    spanning_now = last_passes[snapshot.pool.name].spanning = snapshot.shared
    if settings.MAX_CONCURRENT is not None and limits.SYSTEM_LIMIT not in {rule.name for rule in snapshot.rules.all}:
        raise LookupError("the row of the system-wide limit is missing: run `manage.py migrate`, which puts it back")
    return set(spanning_now) <= set(spanning)


def _start(pool: str) -> UUID:
    """The lane to start at: a random one where there are more than one snapshot reads."""
    return uuid4() if last_passes[pool].is_crowded else FIRST_LANE


def _note_pass(pool: str, plan: AdmissionPlan) -> None:
    snapshot, last = plan.tally.snapshot, last_passes[pool]
    last.is_crowded = snapshot.is_crowded
    last.opens_at = None if plan.opens_at is None else time.monotonic() + plan.opens_at - snapshot.now


def _take(pool: str, plan: AdmissionPlan) -> list[Moved]:
    """Move the best jobs; returns them best first, the order in which their messages are sent."""
    db = dialect(settings.DATABASE)
    if plan.is_simple:
        best, lane = "pool = %s AND lane = {} AND state = 'pending' ORDER BY rank, id LIMIT %s", plan.lanes[0].lane
        count = limits.how_many(plan)
        where = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE {best.format(db.uuid)}")
        moved = _move(where, [pool, lane, count])
        by_rank = sorted(moved, key=lambda job: (job.row["rank"], job.id))
        order = {job.id: place for place, job in enumerate(by_rank)}
    else:
        lanes = limits.first_lanes(plan)
        picked = limits.pick(plan, queries.best_of(pool, lanes), lanes)
        order, count = {UUID(job.id): place for place, job in enumerate(picked)}, len(picked)
        # COALESCE rules out all indexes but the primary key: before the first ANALYZE the whole pool would be read
        still = f"{db.id_in('id')} AND pool = %s AND {db.id_in('lane')} AND COALESCE(state, '') = 'pending'"
        where = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE {still} ORDER BY rank, id")
        moved = _move(where, [db.id_list(order), pool, db.id_list(map(UUID, lanes))])
    _count_starts(plan, moved, count)
    return sorted(moved, key=lambda job: order[job.id])


def _move(where: str, params: list[object]) -> list[Moved]:
    return transitions.move("admit", where, params, actor="admission", returning=("rank", "lane"))


def _count_starts(plan: AdmissionPlan, moved: Sequence[Moved], planned: int) -> None:
    """Advance the rates by the jobs that were really moved, from the moment of the move and not of the snapshot.

    Fewer jobs than planned move when other transactions have locked some of them.
    """
    if not moved:
        return
    tally = plan.tally
    if len(moved) < planned:
        heads = {UUID(head.lane): head for head in plan.lanes}
        tally = Tally(tally.snapshot)
        for job in moved:
            tally.take(heads[job.row["lane"]])
    _move_rates_on(tally, moved[0].at.timestamp())
    _note_turns(tally)


def _move_rates_on(tally: Tally, at: float) -> None:
    snapshot = tally.snapshot
    before = {counter: snapshot.next_arrivals.get(counter, 0.0) for counter in tally.usage.next_arrivals}
    changed = [
        (*counter, max(before[counter], at) + tat - max(before[counter], snapshot.now))
        for counter, tat in tally.usage.next_arrivals.items()
        if tat != before[counter]
    ]
    _upsert("jobs_rate", ("limit_name", "partition"), "tat", changed)


def _note_turns(tally: Tally) -> None:
    """Write when each partition was served; only where several partitions wait does this decide anything."""
    snapshot = tally.snapshot
    if any(head.facts.tenant != snapshot.heads[0].facts.tenant for head in snapshot.heads):
        served = [
            (snapshot.pool.name, *who, at)
            for who, at in tally.turns.last_served.items()
            if at != snapshot.last_served.get(who)
        ]
        _upsert("jobs_turn", ("pool", "partition_by", "partition"), "at", served)


def _upsert(table: str, keys: Sequence[str], column: str, rows: Sequence[Sequence[object]]) -> None:
    names, slots = ", ".join([*keys, column]), ", ".join(["%s"] * (len(keys) + 1))
    on_conflict = dialect(settings.DATABASE).on_conflict_update(keys, column)
    if rows:
        execute_many(settings.DATABASE, f"INSERT INTO {table} ({names}) VALUES ({slots}) {on_conflict}", rows)


def _message(admitted: Moved) -> JobMessage:
    assert admitted.attempt_id is not None  # noqa: S101 - the admit edge creates it
    return JobMessage(admitted.row["pool"], admitted.row["task"], ((admitted.id, admitted.attempt_id),))
