"""The reads of admission: one statement for everything about a pool, another for the best jobs of some lanes.

Lanes are found by walking the index, one probe for each lane, so the cost does not grow with the number of jobs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from jobs import states
from jobs.core.conf import settings
from jobs.core.db.dialects import Dialect, dialect
from jobs.core.db.statements import query

MOST_LANES = 10_000  # read by one admission; with more, each admission starts at another lane
FIRST_LANE = UUID(int=0)
_IN_FLIGHT = states.sql_in(states.IN_FLIGHT)


class Candidate(NamedTuple):
    """A waiting job of a lane."""

    lane: str
    rank: float
    id: str
    is_critical: bool


def with_room(pool: str | None, ahead: int) -> list[str]:
    """Names of the pools (or the one pool) that are open and have a job waiting and a slot for it.

    `ahead` is how many jobs may be in flight beyond each slot.
    """
    using = settings.DATABASE
    db = dialect(using)
    only, given = (" WHERE p.name = %s", [pool]) if pool is not None else ("", [])
    sql = _WITH_ROOM.format(
        slots=live_slots_sql(db), without_slot=without_slot_sql(db), in_flight=_IN_FLIGHT, only=only
    )
    silent = -settings.STALE_AFTER
    return [name for (name,) in query(using, sql, [silent, silent, *given, 1 + ahead])]


def read_snapshot(pool: str, rules: Sequence[str], *, everywhere: bool, start: UUID) -> Any:
    """The row that `limits.take_snapshot` parses, lists as JSON text; None when there is no such pool."""
    using = settings.DATABASE
    db = dialect(using)
    sql = _snapshot_sql(db, tuple(rules), everywhere)
    lane = str(start) if db.has_lateral else start.hex
    walk = (pool, lane, pool) if db.has_lateral or db.skips_in_index else (pool, lane, pool, pool)
    flight = (pool,) if everywhere else (pool, pool)
    rows = query(using, sql, (*walk, -settings.STALE_AFTER, -settings.STALE_AFTER, *flight, pool))
    return rows[0] if rows else None


def samples(pool: str, columns: Sequence[str], waiting: Sequence[str], in_flight: Sequence[str]) -> list[Any]:
    """Rows of (lane, columns): one job of each lane, waiting in this pool or in flight in any pool."""
    db = dialect(settings.DATABASE)
    given = db.id_rows()
    first = (
        "SELECT (SELECT id FROM jobs_job WHERE pool = %s AND state = 'pending' AND lane = given.id"
        f" ORDER BY lane, rank, id LIMIT 1) FROM {given} given"
    )
    names = ", ".join(["lane", *columns])
    sql = (
        f"SELECT {names} FROM jobs_job WHERE id IN ({first})"
        f" UNION SELECT {names} FROM jobs_job WHERE {_IN_FLIGHT} AND {db.id_in('lane')}"
    )
    ids = [db.id_list(map(UUID, waiting)), db.id_list(map(UUID, in_flight))]
    return query(settings.DATABASE, sql, [pool, *ids])


def best_of(pool: str, counts: Mapping[str, int]) -> list[Candidate]:
    """The first jobs of some lanes by rank; `counts` says how many of each."""
    using = settings.DATABASE
    columns = "lane, rank, id, priority = 'critical'"
    if dialect(using).has_lateral:
        sql = (
            f"SELECT j.* FROM unnest(%s::uuid[], %s::int[]) AS l(lane, most), LATERAL (SELECT {columns} FROM jobs_job"
            " WHERE pool = %s AND lane = l.lane AND state = 'pending' ORDER BY rank, id LIMIT l.most) j"
        )
        rows = query(using, sql, [list(counts), list(counts.values()), pool])
    else:
        lane_sql = (
            f"SELECT * FROM (SELECT {columns} FROM jobs_job"
            " WHERE pool = %s AND lane = %s AND state = 'pending' ORDER BY rank, id LIMIT %s) b"
        )
        given = [word for lane, most in counts.items() for word in (pool, lane, most)]
        rows = query(using, " UNION ALL ".join([lane_sql] * len(counts)), given)
    return [Candidate(str(lane), rank, str(job_id), bool(critical)) for lane, rank, job_id, critical in rows]


def has_pending(pool: str) -> bool:
    """Whether any job of a pool is pending."""
    sql = "SELECT id FROM jobs_job WHERE pool = %s AND state = 'pending' ORDER BY lane, rank, id LIMIT 1"
    return bool(query(settings.DATABASE, sql, [pool]))


def live_slots(pool: str) -> int:
    """The slots of the live workers that serve a pool."""
    using = settings.DATABASE
    sql = f"SELECT {live_slots_sql(dialect(using))} FROM jobs_pool p WHERE p.name = %s"
    return sum(int(slots) for (slots,) in query(using, sql, [-settings.STALE_AFTER, pool]))


def place(pool: str, lane: Any, rank: float, job_id: Any, most: int) -> int:
    """How many waiting jobs of a lane come before this one; counts up to `most`."""
    before = "pool = %s AND lane = %s AND state = 'pending' AND rank <= %s AND (rank, id) < (%s, %s)"
    sql = f"SELECT count(*) FROM (SELECT 1 FROM jobs_job WHERE {before} LIMIT %s) b"
    return int(query(settings.DATABASE, sql, (pool, lane, rank, rank, job_id, most))[0][0])


def without_slot_sql(db: Dialect) -> str:
    """SQL: how many jobs of pool `p` run on silent or draining workers, whose slots do not count.

    One parameter: minus STALE_AFTER. Starts from those workers, because usually there are none.
    """
    here = (
        "SELECT count(*) FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id AND j.pool = p.name"
        " WHERE a.worker_id = w.boot_id AND a.finished_at IS NULL"
    )
    silent = db.later("{now}")
    return (
        f"(SELECT COALESCE(sum(({here})), 0) FROM jobs_worker w"
        f" WHERE w.fenced_at IS NULL AND (w.draining_at IS NOT NULL OR w.beat_at < {silent}))"
    )


def live_slots_sql(db: Dialect) -> str:
    """SQL: the live slots of pool `p`. One parameter: minus STALE_AFTER."""
    return f"(SELECT COALESCE(sum(slots), 0) FROM jobs_worker w WHERE {serves_sql(db, 'p.name')})"


def serves_sql(db: Dialect, pool: str = "%s") -> str:
    """SQL: whether worker `w` takes jobs of a pool. Parameters: minus the seconds a worker may be silent; the pool."""
    pools = db.contains("w.pools").replace("%s", pool)
    return f"w.fenced_at IS NULL AND w.draining_at IS NULL AND w.beat_at >= {db.later('{now}')} AND {pools}"


# The first waiting job is ordered as the index is: with stale statistics all jobs would be searched for it otherwise.
_WITH_ROOM = """
SELECT name FROM (
    SELECT p.name, p.paused_at, p.draining_at, p.max_concurrent, {slots} AS slots, {without_slot} AS without_slot,
           (SELECT count(*) FROM jobs_job WHERE pool = p.name AND {in_flight}) AS in_flight,
           (SELECT id FROM jobs_job WHERE pool = p.name AND state = 'pending' ORDER BY lane, rank, id LIMIT 1) AS first
      FROM jobs_pool p{only}) seen
 WHERE paused_at IS NULL AND draining_at IS NULL AND first IS NOT NULL AND in_flight - without_slot < %s * slots
   AND (max_concurrent IS NULL OR in_flight < max_concurrent)
 ORDER BY name
"""


@functools.cache
def _snapshot_sql(db: Dialect, rules: tuple[str, ...], everywhere: bool) -> str:
    now = db.epoch("{now}")
    heads = db.json_columns(
        ("lane", "rank", db.epoch("eligible_at"), "priority = 'critical'"),
        f"(SELECT * FROM walk LIMIT {MOST_LANES}) h",
    )
    limits = db.json_columns(rules, "jobs_limit WHERE pool IN ('', p.name)")
    elsewhere = "SELECT name FROM jobs_limit WHERE kind = 'rate' AND pool NOT IN ('', p.name)"
    rates = db.json_columns(
        ("limit_name", "partition", "tat"), f"jobs_rate WHERE tat > {now} AND limit_name NOT IN ({elsewhere})"
    )
    turns = db.json_columns(("partition_by", "partition", "at"), "jobs_turn WHERE pool = p.name")
    paused = db.json_columns(("task",), "jobs_taskpause")
    return db.long_aggregates(
        f"{_walk(db)} SELECT {now}, p.paused_at IS NOT NULL, p.draining_at IS NOT NULL, p.max_concurrent,"
        f" p.max_memory_mb, p.max_cpu_weight, p.max_disk_mb, {db.as_text('p.resources')},"
        f" {live_slots_sql(db)}, {without_slot_sql(db)}, {limits}, {rates}, {turns}, {paused},"
        f" {_in_flight_by_lane(db, everywhere)}, {heads} FROM jobs_pool p WHERE p.name = %s"
    )


def _in_flight_by_lane(db: Dialect, everywhere: bool) -> str:
    """Jobs in flight by lane: the pool, their number, the newest admission, and when those with a time-out started."""
    starts = db.json_list(db.epoch("COALESCE(started_at, {now})"), "timeout IS NOT NULL AND pool = %s")
    where = _IN_FLIGHT if everywhere else f"{_IN_FLIGHT} AND pool = %s"
    rows = (
        f"(SELECT pool, lane, count(*) AS number, max({db.epoch('queued_at')}) AS newest, {starts} AS starts"
        f" FROM jobs_job WHERE {where} GROUP BY pool, lane) f"
    )
    return db.json_columns(("lane", "pool", "number", "newest", db.json_value("starts")), rows)


def _walk(db: Dialect) -> str:
    """The first job of each lane, by a loose scan of the index (pool, lane, rank, id) of what is pending."""
    if db.has_lateral:
        step = "SELECT lane, rank, eligible_at, priority FROM jobs_job WHERE pool = %s AND state = 'pending' AND lane"
        order = "ORDER BY lane, rank, id LIMIT 1"
        return (
            f"WITH RECURSIVE walk AS (({step} >= %s::uuid {order}) UNION ALL"
            f" SELECT n.* FROM walk w CROSS JOIN LATERAL ({step} > w.lane {order}) n)"
        )
    step = "SELECT lane FROM jobs_job WHERE pool = %s AND state = 'pending' AND lane"
    first = "SELECT id FROM jobs_job WHERE pool = %s AND state = 'pending' AND lane = s.lane ORDER BY rank, id LIMIT 1"
    if db.skips_in_index:  # these are all columns of the index: MariaDB jumps in it; a recursion would read every entry
        jump = f"{step.replace('SELECT lane', 'SELECT DISTINCT pool, state, lane')} >= %s LIMIT {MOST_LANES}"
        return f"WITH steps AS ({jump}), walk AS (SELECT j.* FROM steps s JOIN jobs_job j ON j.id = ({first}))"
    order = "ORDER BY lane LIMIT 1"
    return (
        f"WITH RECURSIVE steps AS (SELECT ({step} >= %s {order}) AS lane UNION ALL"
        f" SELECT ({step} > s.lane {order}) FROM steps s WHERE s.lane IS NOT NULL),"
        f" walk AS (SELECT j.* FROM steps s JOIN jobs_job j ON j.id = ({first}))"
    )
