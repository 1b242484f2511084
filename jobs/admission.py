"""The one way from pending to queued: under the pool's lock, in order, within every limit.

Group commit: whoever finds the lock busy leaves; the holder looks once more after its commit, without the lock, so a
row that was committed before a failed try is always seen. Publishing follows each commit. Nothing here waits for a
broker longer than `publishing` does.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from django.db import Error, transaction

from jobs import limits, publishing, transitions
from jobs.conf import settings
from jobs.limits import Look, Plan, Tally
from jobs.models import Pool
from jobs.publishing import Doorbell
from jobs.querysets import lanes as queries
from jobs.querysets.dialect import dialect
from jobs.querysets.lanes import FIRST_LANE
from jobs.querysets.statements import after_commit, execute_many, query
from jobs.transitions import Moved

logger = logging.getLogger(__name__)

BATCH = 200  # jobs per admission transaction
LONGEST = 0.5  # seconds after which a call ends though there is room: whoever called has other work

bell: Callable[[], None] | None = None
"""Wakes this process's feeder, where it has one: set by the worker."""

_opens: dict[str, float] = {}  # pool → when (monotonic) a rate lets its next job start
_spanning: dict[str, list[str]] = {}  # pool → the limits spanning pools that its last look has found
_crowded: set[str] = set()  # pools with more lanes than a look sees


def admit(pool: str) -> int:
    """Admit what has room in a pool and publish it; returns how many jobs were admitted by this call.

    Runs outside the caller's transaction (after its commit). With the broker known to be away it does nothing: what is
    admitted is out of reach of priority and pause, so it had better stay pending. While others finish jobs as fast as
    this admits there is always room, so time ends it; the next end of a job, or the steward's tick, goes on from there.
    """
    _opens.pop(pool, None)
    total, empty, until = 0, 0, time.monotonic() + LONGEST
    while not publishing.breaker.is_open and empty < 2 and limits.has_room(pool):
        admitted = _admit_batch(pool)
        if admitted is None:
            break
        publishing.publish([_doorbell(one) for one in admitted])
        total, empty = total + len(admitted), 0 if admitted else empty + 1
        if time.monotonic() >= until or not (admitted or _has_more(pool)):
            break
    return total


def admit_everywhere() -> int:
    """Admit in every pool; returns how many jobs were admitted."""
    names = Pool.objects.using(settings.DATABASE).order_by("name").values_list("name", flat=True)
    return sum(admit(name) for name in names)


def admit_on_commit(pool: str) -> None:
    """After the caller's commit: wake the feeder where this process has one, admit here where it has none."""
    if bell is not None:
        after_commit(bell)
    else:
        after_commit(admit, pool)


def after_finish(pool: str) -> None:
    """A slot of this pool has become free: wake the feeder, or admit here where this process has none."""
    if bell is not None:
        bell()
        return
    try:
        admit(pool)
    except Error:
        logger.warning("no admission after a finish; the steward will do it", exc_info=True)


def seconds_until_open() -> float | None:
    """How long until a rate that was in the way of this process's last look lets a job start; None where none was."""
    return max(0.0, min(_opens.values()) - time.monotonic()) if _opens else None


def _admit_batch(pool: str) -> list[Moved] | None:
    """One locked pass; None when another process holds the lock, which will look again after its commit."""
    while True:
        with transaction.atomic(using=settings.DATABASE):
            spanning = _spanning.get(pool, [])
            if not _lock(pool, spanning):
                return None
            seen = limits.look(pool, everywhere=bool(spanning), start=_start(pool))
            if seen is None:
                return []
            if not _is_whole(seen, spanning):
                continue  # with all locks, from the beginning: they are taken in the order of names
            plan = limits.plan(seen, BATCH)
            _remember(pool, plan)
            return _take(pool, plan) if plan.lanes else []


def _has_more(pool: str) -> bool:
    """The last look, without the lock: who comes after it finds the lock free, who came before it is seen.

    On SQLite nobody leaves because of a lock.
    """
    if not dialect(settings.DATABASE).skip_locked:
        return False
    seen = limits.look(pool, everywhere=bool(_spanning.get(pool)), start=_start(pool))
    return seen is not None and bool(limits.plan(seen, 1).lanes)


def _lock(pool: str, spanning: Sequence[str]) -> bool:
    """Lock the pool row, in a statement of its own with nothing read before it, then the limits that span pools.

    What is counted afterwards is read in a later statement, which at READ COMMITTED sees every commit that came before
    the lock was won. On SQLite BEGIN IMMEDIATE has locked already.
    """
    using = settings.DATABASE
    words = dialect(using)
    if not query(using, f"SELECT name FROM jobs_pool WHERE name = %s{words.skip_locked}", [pool]):
        return False
    if spanning and words.for_update:
        query(
            using, f"SELECT name FROM jobs_limit WHERE name = ANY(%s) ORDER BY name{words.for_update}", [list(spanning)]
        )
    return True


def _is_whole(seen: Look, spanning: Sequence[str]) -> bool:
    """Whether every limit that spans pools was locked, and counted everywhere; the next try knows them."""
    found = seen.shared
    _spanning[seen.pool.name] = found
    if settings.MAX_CONCURRENT is not None and limits.SYSTEM_LIMIT not in {rule.name for rule in seen.rules.all}:
        raise LookupError("the row of the system-wide limit is missing: run `manage.py migrate`, which puts it back")
    return set(found) <= set(spanning)


def _start(pool: str) -> UUID:
    """Where to begin among the lanes: where there are more than one look sees, somewhere else each time."""
    return UUID(bytes=secrets.token_bytes(16)) if pool in _crowded else FIRST_LANE


def _remember(pool: str, plan: Plan) -> None:
    look = plan.tally.look
    _crowded.add(pool) if look.is_crowded else _crowded.discard(pool)
    if plan.opens_at is None:
        _opens.pop(pool, None)
    else:
        _opens[pool] = time.monotonic() + plan.opens_at - look.now


def _take(pool: str, plan: Plan) -> list[Moved]:
    """Move the best; they come back best first, which is the order their doorbells ring in."""
    words = dialect(settings.DATABASE)
    if plan.is_simple:
        best, lane = "pool = %s AND lane = {} AND state = 'pending' ORDER BY rank, id LIMIT %s", plan.lanes[0].lane
        count = limits.how_many(plan)
        where = words.picked(f"SELECT id FROM jobs_job WHERE {best.format(words.uuid)}")
        moved = _move(where, [pool, lane, count])
        order = {one.id: place for place, one in enumerate(sorted(moved, key=lambda one: (one.row["rank"], one.id)))}
    else:
        lanes = limits.first_lanes(plan)
        picked = limits.pick(plan, queries.best_of(pool, lanes))
        order, count = {UUID(one.id): place for place, one in enumerate(picked)}, len(picked)
        # COALESCE leaves no index but the ids': before the first ANALYZE all that waits in the pool would be read
        still = f"{words.among('id')} AND pool = %s AND {words.among('lane')} AND COALESCE(state, '') = 'pending'"
        where = words.picked(f"SELECT id FROM jobs_job WHERE {still} ORDER BY rank, id")
        moved = _move(where, [words.ids(order), pool, words.ids(map(UUID, lanes))])
    _count_starts(plan, moved, count)
    return sorted(moved, key=lambda one: order[one.id])


def _move(where: str, params: list[object]) -> list[Moved]:
    return transitions.move("admit", where, params, actor="admission", returning=("rank", "lane"))


def _count_starts(plan: Plan, moved: Sequence[Moved], planned: int) -> None:
    """Move the rates on by what was really started, from when it was: between the look and the move time has passed.

    Of the planned ones some may have been locked by others.
    """
    if not moved:
        return
    tally = plan.tally
    if len(moved) < planned:
        heads = {UUID(head.lane): head for head in plan.lanes}
        tally = Tally(tally.look)
        for one in moved:
            tally.take(heads[one.row["lane"]])
    look, at = tally.look, moved[0].at.timestamp()
    before = {counter: look.tats.get(counter, 0.0) for counter in tally.tats}
    changed = [
        (*counter, max(before[counter], at) + tat - max(before[counter], look.now))
        for counter, tat in tally.tats.items()
        if tat != before[counter]
    ]
    if changed:
        execute_many(
            settings.DATABASE,
            "INSERT INTO jobs_rate (limit_name, partition, tat) VALUES (%s, %s, %s)"
            " ON CONFLICT (limit_name, partition) DO UPDATE SET tat = excluded.tat",
            changed,
        )


def _doorbell(admitted: Moved) -> Doorbell:
    assert admitted.attempt_id is not None  # noqa: S101 - the admit edge draws it
    return Doorbell(admitted.row["pool"], admitted.row["task"], ((admitted.id, admitted.attempt_id),))
