"""Admits jobs, from pending to queued: under the pool's lock, in order, within every limit.

A process that finds the lock busy leaves. The holder of the lock reads the pool once more after its commit, without the
lock, so it sees every row that was committed before another process failed to lock. When the holder has filled every
slot it skips that read: the next free slot wakes a feeder, and a feeder that found the lock busy retries by itself.
Messages are published after each commit. Nothing here waits for a broker longer than `publishing` does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from django.db import Error, transaction

from jobs.admission import limits, publishing, queries, wakeup
from jobs.admission.limits import AdmissionPlan, Snapshot, Tally
from jobs.admission.publishing import JobMessage
from jobs.admission.queries import FIRST_LANE
from jobs.core.conf import settings
from jobs.core.db.deadlock_retry import done_again
from jobs.core.db.dialects import dialect
from jobs.core.db.statements import after_commit, execute_many, query
from jobs.models import transitions
from jobs.models.transitions import Moved

logger = logging.getLogger(__name__)

BATCH = 200  # jobs per admission transaction
MOST_EMPTY = 3  # passes in a row that move nothing, after which a call ends
LONGEST = 0.5  # seconds after which a call ends though there is room: whoever called has other work
BACK_IN = (0.003, 0.1)  # seconds after which a feeder that has found the lock busy tries again: at first, at most

_opens: dict[str, float] = {}  # pool → when (monotonic) to try again: a rate or the lock was in the way
_busy: dict[str, float] = {}  # pool → seconds after which to try again, where the lock was busy the last time
_spanning: dict[str, list[str]] = {}  # pool → the limits spanning pools in its last snapshot
_crowded: set[str] = set()  # pools with more lanes than one snapshot reads


def admit(pool: str) -> int:
    """Admit what has room in a pool and publish it; returns how many jobs were admitted by this call.

    Runs outside the caller's transaction (after its commit). With the broker known to be away it does nothing: what is
    admitted is out of reach of priority and pause, so it had better stay pending. While others finish jobs as fast as
    this admits there is always room, so time ends it; the next end of a job, or the steward's tick, goes on from there.
    """
    _opens.pop(pool, None)
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
    """As `admit_on_commit`, for all pools: what was changed concerns more than one."""
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
        logger.warning("no admission after a finish; the steward will do it", exc_info=True)


def seconds_until_open() -> float | None:
    """How long until a rate, or the lock, that was in the way of this process may let a job start; None: none was."""
    return max(0.0, min(_opens.values()) - time.monotonic()) if _opens else None


def admit_opened() -> int:
    """Admit in the pools where a rate, or the lock, that was in the way may let the next job start by now."""
    now = time.monotonic()
    return sum(admit(pool) for pool, opens in list(_opens.items()) if opens <= now)


def _admit(pool: str) -> int:
    """Pass after pass, for as long as there is somebody to admit."""
    total, empty, until = 0, 0, time.monotonic() + LONGEST
    while not publishing.breaker.is_open:
        done = _admit_batch(pool)
        if done is None:
            break
        publishing.publish([_message(one) for one in done.moved])
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
    snapshot = limits.take_snapshot(pool, everywhere=bool(_spanning.get(pool)), start=_start(pool))
    if snapshot is None:
        return False
    plan = limits.plan(snapshot, 1)
    _remember(pool, plan)
    return bool(plan.lanes)


@dataclass(frozen=True)
class _Pass:
    """What one locked pass has moved, and whether only the number of slots has kept it from more."""

    moved: Sequence[Moved]
    took_every_slot: bool = False


@done_again
def _admit_batch(pool: str) -> _Pass | None:
    """One locked pass; None when another process holds the lock; it reads the pool again after its commit."""
    while True:
        with transaction.atomic(using=settings.DATABASE):
            spanning = _spanning.get(pool, [])
            if not _lock(pool, spanning):
                _come_back(pool)
                return None
            _busy.pop(pool, None)
            snapshot = limits.take_snapshot(pool, everywhere=bool(spanning), start=_start(pool))
            if snapshot is None:
                return _Pass(())
            if not _is_whole(snapshot, spanning):
                continue  # with all locks, from the beginning: they are taken in the order of names
            plan = limits.plan(snapshot, BATCH)
            _remember(pool, plan)
            moved = _take(pool, plan) if plan.lanes else []
            done = _Pass(moved, bool(moved) and len(moved) == plan.free < BATCH)
            break
    limits.lookahead.note(
        pool, {one.row["task"] for one in moved}, len(moved), snapshot.slots, filled=done.took_every_slot
    )
    return done


def _come_back(pool: str) -> None:
    """Soon, for a pass takes milliseconds; later each time, for its holder may have been stopped in the midst of it."""
    _busy[pool] = min(2 * _busy[pool], BACK_IN[1]) if pool in _busy else BACK_IN[0]
    _opens[pool] = time.monotonic() + _busy[pool]


def _lock(pool: str, spanning: Sequence[str]) -> bool:
    """Lock the pool row, with nothing read before it, then the limits that span pools; the busy pool locks none.

    What is counted afterwards is read in a later statement, which at READ COMMITTED sees every commit that came before
    the locks were won. On SQLite BEGIN IMMEDIATE has locked already. The commit is not waited for: should the database
    die before it is on the disk, nobody has run what was admitted, for a claim is flushed, and all before it.
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


def _is_whole(snapshot: Snapshot, spanning: Sequence[str]) -> bool:
    """Whether every limit that spans pools was locked, and counted everywhere; the next try knows them."""
    found = snapshot.shared
    _spanning[snapshot.pool.name] = found
    if settings.MAX_CONCURRENT is not None and limits.SYSTEM_LIMIT not in {rule.name for rule in snapshot.rules.all}:
        raise LookupError("the row of the system-wide limit is missing: run `manage.py migrate`, which puts it back")
    return set(found) <= set(spanning)


def _start(pool: str) -> UUID:
    """Where to begin among the lanes: at a random one where there are more than one snapshot reads."""
    return uuid4() if pool in _crowded else FIRST_LANE


def _remember(pool: str, plan: AdmissionPlan) -> None:
    snapshot = plan.tally.snapshot
    _crowded.add(pool) if snapshot.is_crowded else _crowded.discard(pool)
    if plan.opens_at is None:
        _opens.pop(pool, None)
    else:
        _opens[pool] = time.monotonic() + plan.opens_at - snapshot.now


def _take(pool: str, plan: AdmissionPlan) -> list[Moved]:
    """Move the best; they come back best first, which is the order of their messages."""
    db = dialect(settings.DATABASE)
    if plan.is_simple:
        best, lane = "pool = %s AND lane = {} AND state = 'pending' ORDER BY rank, id LIMIT %s", plan.lanes[0].lane
        count = limits.how_many(plan)
        where = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE {best.format(db.uuid)}")
        moved = _move(where, [pool, lane, count])
        order = {one.id: place for place, one in enumerate(sorted(moved, key=lambda one: (one.row["rank"], one.id)))}
    else:
        lanes = limits.first_lanes(plan)
        picked = limits.pick(plan, queries.best_of(pool, lanes), lanes)
        order, count = {UUID(one.id): place for place, one in enumerate(picked)}, len(picked)
        # COALESCE leaves no index but the ids': before the first ANALYZE all that waits in the pool would be read
        still = f"{db.id_in('id')} AND pool = %s AND {db.id_in('lane')} AND COALESCE(state, '') = 'pending'"
        where = db.pick_skip_locked(f"SELECT id FROM jobs_job WHERE {still} ORDER BY rank, id")
        moved = _move(where, [db.id_list(order), pool, db.id_list(map(UUID, lanes))])
    _count_starts(plan, moved, count)
    return sorted(moved, key=lambda one: order[one.id])


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
        for one in moved:
            tally.take(heads[one.row["lane"]])
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
    """Whose turn it is matters only where several partitions wait."""
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
    assert admitted.attempt_id is not None  # noqa: S101 - the admit edge draws it
    return JobMessage(admitted.row["pool"], admitted.row["task"], ((admitted.id, admitted.attempt_id),))
